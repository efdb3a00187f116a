"""Tiles are cut, tapered and added up where the network is: on a GPU.

It is what `terapose.networks.tiling.run_planes` does, bit for bit for the same network outputs. A
plane goes to the device once, and its result comes back once; nothing in between waits for the
CPU, which prepares the next plane meanwhile.

1. Planes are copied into one of two pinned buffers, and from there to the padded plane on the
   device.
2. Tiles that have to be run are copied into the slots of a batch (`terapose.networks.batches`),
   across planes. Which ones, the CPU decides while it has the plane: a question to the device
   would wait for it.
3. When a batch is full the network runs, and its tiles are added in row-major order: each pixel's
   float32 sum of float64 products has the order of the CPU's, and is not fused (one operation of
   torch multiplies, another one adds).
4. A finished plane is divided by the sum of weights, and copied to pinned memory on a second
   stream while the next one is computed.

The size of a batch decides on the last bits, so it is the same in all tasks where memory suffices.
Where it does not, `fit` finds a smaller one, a half, a quarter and so on, before anything is
computed, and receipts record it (`terapose.pipeline.machine`). A process never goes back to a size
that was refused in it: cuDNN would give other bits than in one where it was not.

Devices are NVIDIA's and AMD's, which torch calls "cuda". On the CPU, where this is tested, copies
wait.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terapose.core.errors import GPUMemoryError
from terapose.io.compiled import njit
from terapose.networks.base import Network, enough_memory
from terapose.networks.tile_grid import Rectangle
from terapose.networks.tiling import Layout, run_planes, taper, window

log = logging.getLogger(__name__)

RUN, BLANK, UNUSED = range(3)
"""What is done with a tile: it is run; its output is that for zeros; its output is not used."""

BESIDE = ("cpu",)
"""Devices whose planes are cut into tiles, and added up, beside the network: by numba."""


@njit
def _has_any(plane, top, left, bottom, right, least):  # type: ignore[no-untyped-def]
    # a ``least`` that is not a number asks for anything but zeros
    for c in range(plane.shape[0]):
        for y in range(top, bottom):
            for x in range(left, right):
                value = plane[c, y, x]
                if value > least or (np.isnan(least) and value != 0):
                    return True
    return False


def fates(
    plane: NDArray[np.float32],
    wanted: NDArray[np.bool_] | None,
    layout: Layout,
    empty: float | None,
) -> list[int]:
    """What is done with each tile of a plane.

    Parameters
    ----------
    plane
        (C, Y, X) float32: the window.
    wanted
        (Y, X) of it: what is used; None: all.
    layout
        Where the tiles are.
    empty
        Tiles without a pixel above this are empty; None: only tiles of zeros are.
    """
    (top, _), (left, _) = ((part.start, part.stop) for part in layout.source)
    height, width = plane.shape[1:]
    least = np.float32(np.nan if empty is None else empty)
    found = []
    for row, column in layout.corners:
        y, x = row - top, column - left
        part = max(y, 0), max(x, 0), min(y + layout.tile, height), min(x + layout.tile, width)
        # the zeros around a plane are part of its tiles
        padded = part != (y, x, y + layout.tile, x + layout.tile)
        if wanted is not None and not wanted[part[0] : part[2], part[1] : part[3]].any():
            found.append(UNUSED)
        elif (padded and least < 0) or _has_any(plane, *part, least):
            found.append(RUN)
        else:
            found.append(BLANK)
    return found


def run_network(
    network: Network, planes: NDArray[np.float32], *, batch_size: int | None = None, **how: Any
) -> NDArray[np.float32]:
    """Run a network over a stack of planes: with `run_on_device` unless its weights are on the CPU.

    Parameters
    ----------
    network, planes, how
        See `terapose.networks.tiling.run_planes`.
    batch_size
        Tiles a call on the CPU; None: what suits it.
    """
    if network.module.device.type not in BESIDE:
        return run_on_device(network, planes, **how)
    size = batch_size or network.best_batch()
    return run_planes(network, planes, tile=network.tile, batch_size=size, **how)


def run_on_device(
    network: Network,
    planes: NDArray[np.float32],
    *,
    overlap: float = 0.1,
    augment: bool = False,
    skip_empty: float | None = None,
    shape: tuple[int, int] | None = None,
    region: Rectangle | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Run a network over a stack of planes, or over the same region of each, where its weights are.

    Parameters and result are those of `terapose.networks.tiling.run_planes`; batches have the size
    that suits the device.

    Raises
    ------
    GPUMemoryError
        The memory of a GPU does not suffice.
    """
    layout = Layout.of(shape or planes.shape[2:], region, network.tile, overlap, augment=augment)
    result = np.empty((len(planes), 3, *layout.size), np.float32)
    with enough_memory(network), network.module.exact(), _current(network.module.device):
        work = _Work(network, layout, planes.shape[1:], result)
        for n, plane in enumerate(planes):
            used = None if wanted is None else wanted[n]
            work.add(plane, fates(plane, used, layout, skip_empty))
        work.finish()
    return result


def fit(
    network: Network,
    shape: tuple[int, int],
    region: Rectangle | None = None,
    *,
    overlap: float = 0.1,
    augment: bool = False,
) -> None:
    """Find how many tiles at once the free memory of a GPU suffices for, beside a plane.

    A plane that is empty but for one pixel is run, with half as many tiles until it can be: this
    takes what any other plane of that size takes. The network keeps the number that is found.

    Parameters
    ----------
    network
        The network, on a GPU.
    shape, region, overlap, augment
        See `run_on_device`.

    Raises
    ------
    GPUMemoryError
        The memory does not suffice for a single one.
    """
    module = network.module
    kind = (str(module.device), network.family, network.precision)
    module.resize(_HELD.get(kind, module.most))
    how: dict[str, Any] = {"overlap": overlap, "augment": augment}
    region = region or ((0, shape[0]), (0, shape[1]))
    (top, bottom), (left, right) = window(shape, region, tile=network.tile, **how)
    plane = np.zeros((1, network.channels, bottom - top, right - left), np.float32)
    plane[..., 0, 0] = 1
    while not _runs(network, plane, shape=shape, region=region, **how):
        module.resize(module.batch // 2)
        _HELD[kind] = module.batch
    if module.batch < module.most:
        log.warning(
            "%s: the memory of the GPU suffices for %d tiles at once instead of %d, which changes "
            "the last bits of the result",
            *(module.device, module.batch, module.most),
        )


_HELD: dict[tuple[str, str, str], int] = {}
"""Tiles at once for which memory sufficed where it did not for more, by device and network."""


def _runs(network: Network, plane: NDArray[np.float32], **how: Any) -> bool:
    """Whether a plane can be run with as many tiles at once as the network's batches have."""
    try:
        run_on_device(network, plane, **how)
    except GPUMemoryError:
        if network.module.batch == 1:
            raise
        return False
    return True


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Use a GPU that may not be the first: streams, events and graphs are of the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@dataclass
class _Page:
    """Memory of the CPU that a device copies from or to by itself.

    Attributes
    ----------
    memory
        The values: pinned, if the device is a GPU.
    copied
        When the device has copied them.
    holds
        Number of the plane in it; -1: none.
    """

    memory: Tensor
    copied: torch.cuda.Event | None
    holds: int = -1

    @classmethod
    def of(cls, shape: tuple[int, ...], device: torch.device) -> _Page:
        """Empty memory."""
        gpu = device.type == "cuda"
        return cls(torch.empty(shape, pin_memory=gpu), torch.cuda.Event() if gpu else None)  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Wait until it may be read or filled by the CPU."""
        if self.copied is not None:
            self.copied.synchronize()

    def mark(self) -> None:
        """All that the current stream has been asked for precedes what `wait` waits for."""
        if self.copied is not None:
            self.copied.record()


class _Work:
    """A device's memory for one stack of planes, and what it has been asked for."""

    def __init__(
        self,
        network: Network,
        layout: Layout,
        shape: tuple[int, ...],
        result: NDArray[np.float32],
    ) -> None:
        device = network.module.device
        self._network, self._layout, self._result = network, layout, result
        self._batch = network.module.batch_for(network.channels, network.tile)
        self._filled = 0
        self._waiting: list[tuple[int, int]] = []
        """Fate and slot of tiles that have not been added yet."""
        self._added = 0
        self._turns = any(flip != (1, 1) for flip in layout.flips)
        self._padded = torch.zeros((network.channels, *layout.extent), device=device)
        self._total = torch.zeros((3, *layout.extent), device=device)
        self._weight = torch.from_numpy(taper(layout.tile)).to(device)
        self._norm = torch.from_numpy(layout.norm()[layout.inner]).to(device)
        self._ups = [_Page.of(shape, device) for _ in range(2)]
        self._downs = [_Page.of((3, *layout.size), device) for _ in range(2)]
        self._aside = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self._planes = 0

    def add(self, plane: NDArray[np.float32], fate: list[int]) -> None:
        """Send a plane, (C, Y, X), to the device, and ask for what is to be done with its tiles."""
        page = self._ups[self._planes % 2]
        self._planes += 1
        page.wait()
        page.memory.numpy()[...] = plane
        self._padded[:, *self._layout.source].copy_(page.memory, non_blocking=True)
        page.mark()
        corners, flips = self._layout.corners, self._layout.flips
        for what, corner, flip in zip(fate, corners, flips, strict=True):
            self._waiting.append((what, self._filled))
            if what == RUN:
                tile = _turned(_part(self._padded, corner, self._layout.tile), flip)
                self._batch.tiles[self._filled].copy_(tile)
                self._filled += 1
                if self._filled == len(self._batch.tiles):
                    self._run()

    def finish(self) -> None:
        """Run what is left, and wait for all results."""
        self._run()
        for page in self._downs:
            self._keep(page)

    def _run(self) -> None:
        """Run the slots that are filled, and add all tiles that wait for them."""
        if self._filled:
            output = self._batch.run()[0].float()
            plain = None if self._turns else output.double() * self._weight
        for what, slot in self._waiting:
            at = self._added % len(self._layout.corners)
            corner, flip = self._layout.corners[at], self._layout.flips[at]
            if what == RUN and plain is not None:
                product: Tensor | None = plain[slot]
            elif what == UNUSED:
                product = None
            else:
                answer = output[slot] if what == RUN else self._batch.blank
                product = _restored(answer, flip).double() * self._weight
            if product is not None:
                # in float64, and then rounded
                _part(self._total, corner, self._layout.tile).add_(product)
            self._added += 1
            if at == len(self._layout.corners) - 1:
                self._return(self._added // len(self._layout.corners) - 1)
        self._waiting, self._filled = [], 0

    def _return(self, number: int) -> None:
        """Divide the sum of a plane, and send it back."""
        found = torch.empty((3, *self._layout.size), device=self._total.device)
        for c in range(3):
            # one component at a time: the quotient is float64 before it is rounded
            found[c] = self._total[c][self._layout.inner] / self._norm
        self._total.zero_()
        page = self._downs[number % 2]
        self._keep(page)
        with nullcontext() if self._aside is None else self._on_the_side(found):
            page.memory.copy_(found, non_blocking=True)
            page.mark()
        page.holds = number

    @contextmanager
    def _on_the_side(self, found: Tensor) -> Iterator[None]:
        """Copy while the device goes on with the next plane."""
        assert self._aside is not None
        self._aside.wait_stream(torch.cuda.current_stream(found.device))
        with torch.cuda.stream(self._aside):
            yield
        found.record_stream(self._aside)

    def _keep(self, page: _Page) -> None:
        """Take a plane that has come back out of the memory that the next one comes to."""
        if page.holds >= 0:
            page.wait()
            self._result[page.holds] = page.memory.numpy()
            page.holds = -1


def _part(array: Tensor, corner: tuple[int, int], tile: int) -> Tensor:
    """A tile of an array (C, Y, X)."""
    y, x = corner
    return array[:, y : y + tile, x : x + tile]


def _turned(tile: Tensor, flip: tuple[int, int]) -> Tensor:
    """A tile, (C, Y, X), read in steps of 1 or -1 along Y and X."""
    axes = [axis for axis, step in zip((1, 2), flip, strict=True) if step < 0]
    return tile.flip(axes) if axes else tile


def _restored(output: Tensor, flip: tuple[int, int]) -> Tensor:
    """The output for a tile that was flipped: flipped back, and its flows with it."""
    if flip == (1, 1):
        return output
    return _turned(output, flip) * output.new_tensor([*flip, 1])[:, None, None]
