"""Run a network over whole planes, tile by tile, as `cellpose.core.run_net` does.

1. A plane is padded with zeros: 8 px or more on each side, to a multiple of 16, at least one tile.
2. Tiles start at ``linspace(0, L - tile, ceil((1 + 2 * overlap) * L / tile))``: the grid belongs to
   the plane, so whole planes need no halo along the axis they are stacked on.
3. Tiles are averaged with a logistic taper (20 px from the edge, sigma 7.5), summed in row-major
   order: float32 sums of float64 products, as NumPy computes Cellpose's expression.

A tile's result does not depend on which other tiles are in its batch (see
`terapose.networks.base`), so batches run across planes.

A plane that is too large for one task is cut into rectangles. A rectangle needs the tiles of the
plane's grid that touch it, and what lies under those tiles: its *window*. Tiles are still added in
row-major order, so each pixel gets the same sum; tiles at a cut are run on both sides of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Rectangle = tuple[tuple[int, int], tuple[int, int]]
"""Part of a plane: (start, stop) along Y and along X."""


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a plane lie.

    Attributes
    ----------
    pad
        Zeros before the plane along Y and X.
    padded
        Size of the padded plane (Y, X).
    starts
        First row of the tiles along Y, first column along X, in the padded plane.
    tile
        Edge of a tile (px).
    """

    pad: tuple[int, int]
    padded: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    tile: int

    @property
    def corners(self) -> list[tuple[int, int]]:
        """First row and column of each tile, in row-major order."""
        return [(y, x) for y in self.starts[0] for x in self.starts[1]]

    def touching(self, region: Rectangle) -> TileGrid:
        """The same grid with only the tiles that touch a region of the plane."""
        starts = tuple(
            tuple(s for s in along if s < stop + pad and s + self.tile > start + pad)
            for along, pad, (start, stop) in zip(self.starts, self.pad, region, strict=True)
        )
        return replace(self, starts=(starts[0], starts[1]))

    def window(self, shape: tuple[int, int]) -> Rectangle:
        """The part of the plane that lies under the tiles."""
        (y, x) = (
            (max(along[0] - pad, 0), min(along[-1] + self.tile - pad, length))
            for along, pad, length in zip(self.starts, self.pad, shape, strict=True)
        )
        return (y, x)


def _pad(length: int, tile: int) -> tuple[int, int]:
    """Zeros before and after an axis (`cellpose.transforms.get_pad_yx`)."""
    fill = -length % 16 if length >= tile else max(0, tile - length - 16)
    return 8 + fill // 2, 8 + fill - fill // 2


def tile_grid(shape: tuple[int, int], tile: int, overlap: float) -> TileGrid:
    """Tiles of a plane.

    Parameters
    ----------
    shape
        Plane (Y, X) in pixels.
    tile
        Edge of a tile (px).
    overlap
        Fraction of a tile that neighbours share; 0.05 to 0.5.
    """
    share = min(0.5, max(0.05, overlap))
    pads = [_pad(n, tile) for n in shape]
    padded = [n + before + after for n, (before, after) in zip(shape, pads, strict=True)]
    starts = []
    for length in padded:
        count = 1 if length <= tile else math.ceil((1.0 + 2 * share) * length / tile)
        starts.append(tuple(int(v) for v in np.linspace(0, length - tile, count)))
    return TileGrid(
        pad=(pads[0][0], pads[1][0]),
        padded=(padded[0], padded[1]),
        starts=(starts[0], starts[1]),
        tile=tile,
    )


def taper(tile: int) -> NDArray[np.float64]:
    """Weight of each pixel of a tile (`cellpose.transforms._taper_mask`), (tile, tile)."""
    edge = max(224, tile)
    at = np.abs(np.arange(edge) - (edge - 1) / 2)
    line = 1 / (1 + np.exp((at - (edge / 2 - 20)) / 7.5))
    first = edge // 2 - tile // 2
    plane: NDArray[np.float64] = line * line[:, np.newaxis]
    return plane[first : first + tile, first : first + tile]


@numba.njit(nogil=True, cache=True)
def _add_tile(total, tile, weight, row, column):  # type: ignore[no-untyped-def]
    for c in range(tile.shape[0]):
        for y in range(tile.shape[1]):
            for x in range(tile.shape[2]):
                at = total[c, row + y, column + x]
                total[c, row + y, column + x] = np.float32(at + tile[c, y, x] * weight[y, x])


def window(
    shape: tuple[int, int], region: Rectangle, *, tile: int, overlap: float = 0.1
) -> Rectangle:
    """The part of a plane that the network has to see for a region of it."""
    return tile_grid(shape, tile, overlap).touching(region).window(shape)


def run_planes(
    forward: Forward,
    planes: NDArray[np.float32],
    *,
    tile: int,
    overlap: float = 0.1,
    batch_size: int = 8,
    shape: tuple[int, int] | None = None,
    region: Rectangle | None = None,
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
    batch_size
        Tiles a call.
    shape
        (Y, X) of whole planes, where only windows are given.
    region
        The region, in pixels of the whole plane.

    Returns
    -------
    (P, 3, Y, X) float32
        Flow along the plane's first axis, along its second, and cell probability (logit).
    """
    count, channels, height, width = planes.shape
    height, width = shape or (height, width)
    region = region or ((0, height), (0, width))
    grid = tile_grid((height, width), tile, overlap).touching(region)
    # everything below is laid out from the first tile's corner on
    origin = (grid.starts[0][0], grid.starts[1][0])
    extent = tuple(s[-1] - o + tile for s, o in zip(grid.starts, origin, strict=True))
    corners = [(y - origin[0], x - origin[1]) for y, x in grid.corners]
    weight = taper(tile)
    norm = np.zeros(extent)
    for row, column in corners:
        norm[row : row + tile, column : column + tile] += weight
    source, inner = (
        tuple(slice(a + p - o, b + p - o) for (a, b), p, o in zip(r, grid.pad, origin, strict=True))
        for r in (grid.window((height, width)), region)
    )
    result = np.empty((count, 3, *(b - a for a, b in region)), np.float32)
    jobs = [(plane, corner) for plane in range(count) for corner in corners]
    padded = np.zeros((channels, *extent), np.float32)
    total = np.zeros((3, *extent), np.float32)
    loaded = -1
    for begin in range(0, len(jobs), batch_size):
        batch = jobs[begin : begin + batch_size]
        tiles = np.empty((len(batch), channels, tile, tile), np.float32)
        for i, (plane, (row, column)) in enumerate(batch):
            if plane != loaded:
                padded[:, *source] = planes[plane]
                loaded = plane
            tiles[i] = padded[:, row : row + tile, column : column + tile]
        outputs = forward(tiles)
        for (plane, (row, column)), output in zip(batch, outputs, strict=True):
            _add_tile(total, output, weight, row, column)
            if (row, column) == corners[-1]:
                # one component at a time: the quotient is float64 before it is rounded
                for c in range(3):
                    result[plane, c] = total[c][inner] / norm[inner]
                total[:] = 0
    return result
