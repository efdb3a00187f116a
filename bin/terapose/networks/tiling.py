"""Run a network over whole planes, tile by tile, as `cellpose.core.run_net` does.

1. A plane is padded with zeros and covered with tiles (`terapose.networks.tile_grid`).
2. Tiles are averaged with a logistic taper (20 px from the edge, sigma 7.5), summed in row-major
   order: float32 sums of float64 products, as NumPy computes Cellpose's expression.

A tile's result does not depend on which other tiles are in its batch (see
`terapose.networks.base`), so batches run across planes.

With ``augment`` tiles overlap by half, and every second one along each axis is flipped before it
goes through the network and flipped back after it, flows along the flipped axis negated.

A tile of zeros always has the same answer: it is asked for once, and no such tile is run again. The
same answer can be given to tiles that are nearly empty (``skip_empty``), which is not exact. Tiles
in which nothing is ``wanted`` are not run at all; they add zeros.

A plane that is too large for one task is cut into rectangles. A rectangle needs the tiles of the
plane's grid that touch it, and what is under those tiles: its *window*. Tiles are still added in
row-major order, so each pixel gets the same sum; tiles at a cut are run on both sides of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit
from terapose.networks.tile_grid import Rectangle, tile_grid

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def taper(tile: int) -> NDArray[np.float64]:
    """Weight of each pixel of a tile (`cellpose.transforms._taper_mask`), (tile, tile)."""
    edge = max(224, tile)
    at = np.abs(np.arange(edge) - (edge - 1) / 2)
    line = 1 / (1 + np.exp((at - (edge / 2 - 20)) / 7.5))
    first = edge // 2 - tile // 2
    plane: NDArray[np.float64] = line * line[:, np.newaxis]
    return plane[first : first + tile, first : first + tile]


@njit
def _add_tile(total, tile, weight, row, column):  # type: ignore[no-untyped-def]
    for c in range(tile.shape[0]):
        for y in range(tile.shape[1]):
            for x in range(tile.shape[2]):
                at = total[c, row + y, column + x]
                total[c, row + y, column + x] = np.float32(at + tile[c, y, x] * weight[y, x])


def window(
    shape: tuple[int, int],
    region: Rectangle,
    *,
    tile: int,
    overlap: float = 0.1,
    augment: bool = False,
) -> Rectangle:
    """The part of a plane that the network has to see for a region of it."""
    return tile_grid(shape, tile, overlap, augment=augment).touching(region).window(shape)


def run_planes(
    forward: Forward,
    planes: NDArray[np.float32],
    *,
    tile: int,
    overlap: float = 0.1,
    augment: bool = False,
    skip_empty: float | None = None,
    batch_size: int = 8,
    shape: tuple[int, int] | None = None,
    region: Rectangle | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Run a network over a stack of planes, or over the same region of each.

    Parameters
    ----------
    forward
        The network: (N, C, tile, tile) float32 to (N, 3, tile, tile) float32.
    planes
        (P, C, Y, X) float32 normalised planes; with a region, what `window` says of them.
    tile
        Edge of the network's tiles (px).
    overlap
        Fraction of a tile that neighbours share.
    augment
        Whether tiles are flipped in turn.
    skip_empty
        Tiles without a pixel above this count as empty; None: only tiles of zeros do.
    batch_size
        Tiles a call.
    shape
        (Y, X) of whole planes, where only windows are given.
    region
        The region, in pixels of the whole plane.
    wanted
        (P, Y, X) of the window: pixels whose result is used; tiles without any are not run.

    Returns
    -------
    (P, 3, Y, X) float32
        Flow along the plane's first axis, along its second, and cell probability (logit).
    """
    count = len(planes)
    layout = Layout.of(shape or planes.shape[2:], region, tile, overlap, augment=augment)
    weight, norm = taper(tile), layout.norm()
    total = np.zeros((3, *layout.extent), np.float32)
    result = np.empty((count, 3, *layout.size), np.float32)
    tiles = _cut(planes, layout, wanted)
    for n, output in enumerate(_answers(forward, tiles, batch_size, skip_empty)):
        plane, at = divmod(n, len(layout.corners))
        y, x = layout.flips[at]
        if augment:
            turned = np.array([y, x, 1], np.float32)[:, None, None]
            output = np.ascontiguousarray(output[:, ::y, ::x]) * turned
        _add_tile(total, output, weight, *layout.corners[at])
        if at == len(layout.corners) - 1:
            # one component at a time: the quotient is float64 before it is rounded
            for c in range(3):
                result[plane, c] = total[c][layout.inner] / norm[layout.inner]
            total[:] = 0
    return result


@dataclass(frozen=True)
class Layout:
    """Where things are in an array that begins at the first tile's corner.

    Attributes
    ----------
    tile
        Edge of a tile (px).
    extent
        Shape of the array (Y, X).
    corners, flips
        First row and column of each tile, and in which steps it is read.
    source, inner
        Where the window and the region are.
    """

    tile: int
    extent: tuple[int, int]
    corners: list[tuple[int, int]]
    flips: list[tuple[int, int]]
    source: tuple[slice, slice]
    inner: tuple[slice, slice]

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        region: Rectangle | None,
        tile: int,
        overlap: float,
        *,
        augment: bool,
    ) -> Layout:
        """The layout of the tiles that touch a region of planes (Y, X), or all of them."""
        height, width = shape
        region = region or ((0, height), (0, width))
        grid = tile_grid((height, width), tile, overlap, augment=augment).touching(region)
        top, left = grid.starts[0][0], grid.starts[1][0]

        def placed(part: Rectangle) -> tuple[slice, slice]:
            (a, b), (c, d) = part
            y, x = grid.pad[0] - top, grid.pad[1] - left
            return slice(a + y, b + y), slice(c + x, d + x)

        return cls(
            tile=tile,
            extent=(
                grid.starts[0][-1] - top + grid.tile,
                grid.starts[1][-1] - left + grid.tile,
            ),
            corners=[(y - top, x - left) for y, x in grid.corners],
            flips=grid.flips if augment else [(1, 1)] * len(grid.corners),
            source=placed(grid.window((height, width))),
            inner=placed(region),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Shape of the region (Y, X)."""
        y, x = self.inner
        return y.stop - y.start, x.stop - x.start

    def norm(self) -> NDArray[np.float64]:
        """The sum of the weights that each pixel gets, (Y, X) of the array."""
        weight, total = taper(self.tile), np.zeros(self.extent)
        for row, column in self.corners:
            total[row : row + self.tile, column : column + self.tile] += weight
        return total


class _Tile(NamedTuple):
    """A tile, (C, tile, tile) float32, and whether its result is used."""

    values: NDArray[np.float32]
    wanted: bool


def _cut(
    planes: NDArray[np.float32], layout: Layout, wanted: NDArray[np.bool_] | None
) -> Iterator[_Tile]:
    """The tiles of all planes, in order."""
    tile = layout.tile
    padded = np.zeros((planes.shape[1], *layout.extent), np.float32)
    used = np.full(layout.extent, wanted is None)
    for number, plane in enumerate(planes):
        padded[:, *layout.source] = plane
        if wanted is not None:
            used[layout.source] = wanted[number]
        for (row, column), (y, x) in zip(layout.corners, layout.flips, strict=True):
            place = slice(row, row + tile), slice(column, column + tile)
            yield _Tile(padded[:, *place][:, ::y, ::x].copy(), bool(used[place].any()))


def _answers(
    forward: Forward, tiles: Iterator[_Tile], batch_size: int, empty: float | None
) -> Iterator[NDArray[np.float32]]:
    """The network's output for each tile, in order; full batches of those that have to be run."""
    blank: NDArray[np.float32] | None = None
    unused: NDArray[np.float32] | None = None
    waiting: list[tuple[NDArray[np.float32], bool]] = []
    for tile, wanted in tiles:
        runs = wanted and bool(tile.any() if empty is None else (tile > empty).any())
        if runs:
            waiting.append((tile, True))
        elif not wanted:
            if unused is None:
                unused = np.zeros((3, *tile.shape[1:]), np.float32)
            waiting.append((unused, False))
        else:
            if blank is None:
                blank = forward(np.zeros((1, *tile.shape), np.float32))[0]
            waiting.append((blank, False))
        if sum(runs for _, runs in waiting) == batch_size:
            yield from _batch(forward, waiting)
            waiting = []
    yield from _batch(forward, waiting)


def _batch(
    forward: Forward, tiles: list[tuple[NDArray[np.float32], bool]]
) -> Iterator[NDArray[np.float32]]:
    """Outputs of a batch: of tiles that run, and those that are known."""
    full = [tile for tile, runs in tiles if runs]
    outputs = iter(forward(np.stack(full))) if full else iter(())
    for known, runs in tiles:
        yield next(outputs) if runs else known
