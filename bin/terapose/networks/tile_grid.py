"""Where the tiles of a plane are, as `cellpose.core.run_net` has them.

1. A plane is padded with zeros: 8 px or more on each side, to a multiple of 16, at least one tile.
2. Tiles start at ``linspace(0, L - tile, ceil((1 + 2 * overlap) * L / tile))``: the grid belongs to
   the plane, so whole planes need no halo along the axis they are stacked on.

Planning needs no more than this; it does without numba, which `terapose.networks.tiling` needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

Rectangle = tuple[tuple[int, int], tuple[int, int]]
"""Part of a plane: (start, stop) along Y and along X."""


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a plane are.

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
    first
        Number along Y and X of the first of these tiles in the grid of the whole plane.
    """

    pad: tuple[int, int]
    padded: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    tile: int
    first: tuple[int, int] = (0, 0)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """First row and column of each tile, in row-major order."""
        return [(y, x) for y in self.starts[0] for x in self.starts[1]]

    @property
    def flips(self) -> list[tuple[int, int]]:
        """Steps along Y and X, 1 or -1, in which augmentation reads each tile, in that order."""
        rows, columns = (range(f, f + len(s)) for f, s in zip(self.first, self.starts, strict=True))
        # an odd column flips Y and an odd row flips X, as Cellpose has it
        return [(-1 if i % 2 else 1, -1 if j % 2 else 1) for j in rows for i in columns]

    def touching(self, region: Rectangle) -> TileGrid:
        """The same grid with only the tiles that touch a region of the plane."""
        found = [
            [n for n, s in enumerate(along) if s < stop + pad and s + self.tile > start + pad]
            for along, pad, (start, stop) in zip(self.starts, self.pad, region, strict=True)
        ]
        rows, columns = (
            tuple(along[n] for n in numbers)
            for along, numbers in zip(self.starts, found, strict=True)
        )
        return replace(self, starts=(rows, columns), first=(found[0][0], found[1][0]))

    def window(self, shape: tuple[int, int]) -> Rectangle:
        """The part of the plane that is under the tiles."""
        (y, x) = (
            (max(along[0] - pad, 0), min(along[-1] + self.tile - pad, length))
            for along, pad, length in zip(self.starts, self.pad, shape, strict=True)
        )
        return (y, x)


def _pad(length: int, tile: int) -> tuple[int, int]:
    """Zeros before and after an axis (`cellpose.transforms.get_pad_yx`)."""
    fill = -length % 16 if length >= tile else max(0, tile - length - 16)
    return 8 + fill // 2, 8 + fill - fill // 2


def tile_grid(
    shape: tuple[int, int], tile: int, overlap: float, *, augment: bool = False
) -> TileGrid:
    """Tiles of a plane.

    Parameters
    ----------
    shape
        Plane (Y, X) in pixels.
    tile
        Edge of a tile (px).
    overlap
        Fraction of a tile that neighbours share; 0.05 to 0.5.
    augment
        Whether tiles are laid out for augmentation: two or more along each axis, half overlapping.
    """
    share = min(0.5, max(0.05, overlap))
    pads = [_pad(n, tile) for n in shape]
    padded = [n + before + after for n, (before, after) in zip(shape, pads, strict=True)]
    starts = []
    for length in padded:
        count = 1 if length <= tile else math.ceil((1.0 + 2 * share) * length / tile)
        if augment:
            count = max(2, math.ceil(2.0 * length / tile))
        starts.append(tuple(int(v) for v in np.linspace(0, length - tile, count)))
    return TileGrid(
        pad=(pads[0][0], pads[1][0]),
        padded=(padded[0], padded[1]),
        starts=(starts[0], starts[1]),
        tile=tile,
    )
