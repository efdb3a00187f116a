"""What every network looks like to the stages: tiles in, flows and cell probability out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terapose.errors import InputError


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
        raise InputError(
            "the file lacks weights", where=path, got=f"{len(lost)} missing, first {lost[0]}"
        )


class Tilewise(nn.Module):
    """Runs a network on a CPU one tile at a time, each tile on one thread, tiles side by side.

    oneDNN and BLAS pick other kernels, which sum in another order, for another batch size or
    thread count: measured differences up to 4e-7 of either. Here neither can matter, because every
    tile is computed alone on one thread; as many tiles as torch has threads run at once. On other
    devices the whole batch goes through the network.

    Parameters
    ----------
    net
        Module with ``device`` and ``dtype`` that returns (output, style).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.eval()

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

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Output, shape (N, 3, Y, X), and style, shape (N, 256), of tiles, shape (N, C, Y, X)."""
        if tiles.device.type != "cpu":
            return self._run(tiles)
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
        Of its file, or files (`terapose.networks.ModelInfo`).
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

        On a CPU the result for a tile depends neither on the other tiles nor on torch's number of
        threads; give at least as many tiles at once as there are threads to keep all of them busy.

        Parameters
        ----------
        tiles
            float32, shape (N, C, Y, X).

        Returns
        -------
        output
            float32, shape (N, 3, Y, X): 5 x Y flow, 5 x X flow, logit of the cell probability.
        """
        if len(tiles) == 0:
            return np.zeros((0, 3, *tiles.shape[2:]), np.float32)
        try:
            batch = torch.from_numpy(np.ascontiguousarray(tiles))
            output, _ = self.module(batch.to(self.module.device, self.module.dtype))
            return np.ascontiguousarray(output.to("cpu", torch.float32).numpy())
        except torch.cuda.OutOfMemoryError:
            if len(tiles) == 1:
                raise
        # outside of the handler, which would hold on to what did not fit
        torch.cuda.empty_cache()
        half = len(tiles) // 2
        return np.concatenate([self(tiles[:half]), self(tiles[half:])])

    def best_batch(self) -> int:
        """Tiles a call that suit the device: on a CPU 8 or one a thread, on a GPU as many as fit.

        A tile's need is that of the second of two tiles in a trial.
        """
        device = self.module.device
        if device.type != "cuda":
            return max(8, torch.get_num_threads())
        peaks = []
        for count in (1, 2):
            torch.cuda.reset_peak_memory_stats(device)
            self(np.zeros((count, self.channels, self.tile, self.tile), np.float32))
            peaks.append(torch.cuda.max_memory_allocated(device))
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return int(min(max(0.8 * free // max(1, peaks[1] - peaks[0]), 1), 256))
