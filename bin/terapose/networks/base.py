"""What every network looks like to the stages: tiles in, flows and cell probability out."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terapose.core.amounts import in_bytes
from terapose.core.errors import GPUMemoryError, InputError, behind
from terapose.networks.batches import Batch
from terapose.networks.files import lacking


def fill(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a network.

    Cellpose itself would run with random numbers in place of what is missing. Only the diameters
    may be: files of Cellpose 1 lack them. What the network has no place for is ignored.

    Parameters
    ----------
    net
        Network to fill.
    state
        Weights by name.
    path
        Where the weights came from, for messages.

    Raises
    ------
    InputError
        The weights do not fit, or some are missing.
    """
    try:
        missing, _ = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InputError("the weights do not fit their network", where=path) from error
    lost = [name for name in missing if not name.startswith("diam_")]
    if lost:
        raise lacking(path, lost)


BATCHES = {"unet": 32, "cellpose4": 16}
"""Tiles that go through a network at once on a GPU: at least 7/8 of the rate of an H100 with large
batches, in at most 5 GiB."""


class Tilewise(nn.Module):
    """Runs a network so that the result for a tile depends on that tile alone.

    On a CPU each tile is computed by itself on one thread, tiles side by side: for another batch
    size or thread count oneDNN and BLAS pick other kernels, which sum in another order (measured
    differences up to 4e-7 of either). As many tiles as torch has threads run at once.

    On other devices all batches of a task have one size, and those of a run as well where memory
    suffices, for the same reason: measured on an H100,
    another size changes results by 1e-5 (in bfloat16 by 0.1), while neither the place in the batch
    nor the other tiles in it change a bit. The last batch is filled up with zeros. Float32 means
    float32 there: without TF32, which would change results by 5e-3.

    Parameters
    ----------
    net
        Module with ``device`` and ``dtype`` that returns (output, style).
    batch
        Tiles at once on devices other than the CPU.

    Attributes
    ----------
    most, batch
        The same, and how many there are: less where memory is short
        (`terapose.networks.on_device.fit`).
    fitted
        The plan for which that was found; empty: none.
    """

    def __init__(self, net: nn.Module, batch: int) -> None:
        super().__init__()
        self.net = net.eval()
        self.batch = self.most = batch
        self.fitted = ""
        self._batches: dict[tuple[int, int], Batch] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.device  # type: ignore[return-value]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.net.dtype  # type: ignore[return-value]

    def _run(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():  # holds for one thread only, so it is set in each
            output, style = self.net(tiles)[:2]
        return output, style

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Kernels of a GPU that always give the same bits, in the precision that is asked for."""
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_tf32
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            # the package cellpose allows it as soon as it is imported
            matmul.allow_tf32 = False
            try:
                yield
            finally:
                matmul.allow_tf32 = before

    def batch_for(self, channels: int, tile: int) -> Batch:
        """The memory of a batch of tiles (channels, tile, tile) on the device; call within `exact`.

        It is made once: recording a network's kernels takes a moment.
        """
        if (channels, tile) not in self._batches:
            like = torch.zeros((channels, tile, tile), device=self.device, dtype=self.dtype)
            self._batches[channels, tile] = Batch(self._run, like, self.batch)
        return self._batches[channels, tile]

    def resize(self, batch: int) -> None:
        """Run so many tiles at once from now on; gives back the memory of all batches."""
        self.batch = batch
        self._batches.clear()
        # networks that are not used any more are part of cycles
        gc.collect()
        torch.cuda.empty_cache()

    def in_batches(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, in batches of one size."""
        missing = -len(tiles) % self.batch
        full = torch.cat([tiles, tiles.new_zeros(missing, *tiles.shape[1:])])
        results = [self._run(part) for part in torch.split(full, self.batch)]
        outputs, styles = zip(*results, strict=True)
        return torch.cat(outputs)[: len(tiles)], torch.cat(styles)[: len(tiles)]

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Output, shape (N, 3, Y, X), and style, shape (N, 256), of tiles, shape (N, C, Y, X)."""
        if tiles.device.type != "cpu":
            with self.exact():
                return self.in_batches(tiles)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(self._run, torch.split(tiles, 1)))
        finally:
            torch.set_num_threads(threads)
        outputs, styles = zip(*results, strict=True)
        return torch.cat(outputs), torch.cat(styles)


class Average(nn.Module):
    """The mean of several networks' outputs, added up in float32 in the order given.

    Parameters
    ----------
    nets
        Modules as :class:`Tilewise` takes them, all on one device and in one precision.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.nets[0].device  # type: ignore[return-value]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.nets[0].dtype  # type: ignore[return-value]

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Mean output, float32, shape (N, 3, Y, X), and the first network's style."""
        output, style = self.nets[0](tiles)[:2]
        total = output.float()
        for net in list(self.nets)[1:]:
            total = total + net(tiles)[0].float()
        return total / len(self.nets), style


@dataclass(frozen=True)
class Network:
    """A loaded network.

    Attributes
    ----------
    family
        "unet" (Cellpose 1 to 3 and our own) or "cellpose4".
    digest
        Of the file, or files (`terapose.networks.files.ModelInfo`).
    tile
        Edge in pixels of the tiles it is run on.
    channels
        Number of input channels.
    diam_mean
        Object diameter in pixels at which it works: images are scaled by diam_mean / diameter.
    precision
        "float32" or "bfloat16".
    module
        The torch module, with ``device`` and ``dtype``, returning (output, style): what
        ``cellpose.core.run_net`` and ``run_3D`` take.
    """

    family: str
    digest: str
    tile: int
    channels: int
    diam_mean: float
    precision: str
    module: Tilewise

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run normalised tiles.

        The result for a tile depends neither on the other tiles nor on torch's number of threads;
        give as many tiles at once as :meth:`best_batch` says to keep the device busy.

        Parameters
        ----------
        tiles
            float32, shape (N, C, Y, X).

        Returns
        -------
        output
            float32, shape (N, 3, Y, X): 5 x Y flow, 5 x X flow, logit of the cell probability.

        Raises
        ------
        GPUMemoryError
            The memory of a GPU does not suffice.
        """
        if len(tiles) == 0:
            return np.zeros((0, 3, *tiles.shape[2:]), np.float32)
        with enough_memory(self):
            batch = torch.from_numpy(np.ascontiguousarray(tiles))
            output, _ = self.module(batch.to(self.module.device, self.module.dtype))
        return np.ascontiguousarray(output.to("cpu", torch.float32).numpy())

    def best_batch(self) -> int:
        """Tiles a call that suit the device: on a CPU 8 or one a thread, else some full batches."""
        if self.module.device.type == "cpu":
            return max(8, torch.get_num_threads())
        return 4 * self.module.batch


@contextmanager
def enough_memory(network: Network) -> Iterator[None]:
    """Say what to do where the memory of a GPU does not suffice.

    cuDNN does not say so itself if it lacks memory for the way it prefers: it takes another one,
    with other bits, and keeps to it as long as the process lasts. The allocator of torch counts it.

    Raises
    ------
    GPUMemoryError
        It does not.
    """
    device, tile = network.module.device, network.tile
    allowed = f"memory for tiles of {tile} x {tile}, {network.module.batch} at once"
    before = _refused(device)
    try:
        yield
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        raise too_little(device, error, allowed=allowed) from error
    if _refused(device) > before:
        raise too_little(device, allowed=allowed)


def _refused(device: torch.device) -> int:
    """How often there was not enough memory so far."""
    return int(torch.cuda.memory_stats(device).get("num_ooms", 0)) if device.type == "cuda" else 0


def too_little(
    device: torch.device, error: BaseException | None = None, *, allowed: str | None = None
) -> GPUMemoryError:
    """That a GPU has too little free memory, with what it says itself."""
    found = [] if error is None else [str(error).partition("\n")[0]]
    if device.type == "cuda":
        # one that is full may not even answer this
        with suppress(RuntimeError, AssertionError):
            free, total = torch.cuda.mem_get_info(device)
            found.append(f"{in_bytes(free)} of {in_bytes(total)} free")
    return GPUMemoryError(
        "the GPU has too little free memory for the network",
        where=device,
        got="; ".join(found) or None,
        allowed=allowed,
        remedy="stop other programs that use it and run again, use a larger GPU, or run without "
        "use_gpu",
    )


def lacks_gpu_memory(error: BaseException) -> bool:
    """Whether an error of torch, or one behind it, says that a GPU has too little memory.

    It may be another fault with the same words: they are part of the sentence (`too_little`).
    """
    return any(
        isinstance(one, torch.cuda.OutOfMemoryError) or any(sign in str(one) for sign in _SIGNS)
        for one in behind(error)
    )


_SIGNS = (
    *("CUDA error: out of memory", "HIP error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
    *("CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_ALLOC_FAILED", "unable to find an engine"),
)
"""Of CUDA and ROCm, of cuBLAS, and of cuDNN."""
