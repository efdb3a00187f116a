"""Blocks and boxes: pure integers, checked when made.

A *box* is a half-open region of a ZYX grid. A *grid* cuts a shape into blocks, numbered in
C order. What a task may write and what it has to read are two boxes: ``block`` and
``block.grow(halo).clip(shape)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what only describes an image needs no NumPy
    import numpy as np
    from numpy.typing import NDArray

ZYX = tuple[int, int, int]


AXES = ("yx", "zx", "zy")
"""Orientation of the network's passes, in Cellpose's order; pass ``i`` runs across axis ``i``."""


def zyx(values: Iterable[int]) -> ZYX:
    """Three numbers as a tuple of three."""
    z, y, x = values
    return (z, y, x)


@dataclass(frozen=True, order=True)
class Box:
    """A half-open region ``start <= index < stop`` of a ZYX grid."""

    start: ZYX
    stop: ZYX

    def __post_init__(self) -> None:
        if any(a > b for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"box ends before it starts: {self}")

    @property
    def shape(self) -> ZYX:
        """Number of voxels along each axis."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return (d - a, e - b, f - c)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of the whole array."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return (slice(a, d), slice(b, e), slice(c, f))

    def grow(self, margin: int | ZYX) -> Box:
        """Widen by ``margin`` voxels on both sides of each axis."""
        m = (margin, margin, margin) if isinstance(margin, int) else margin
        (a, b, c), (d, e, f) = self.start, self.stop
        return Box((a - m[0], b - m[1], c - m[2]), (d + m[0], e + m[1], f + m[2]))

    def moved(self, by: ZYX) -> Box:
        """The same box elsewhere."""
        (a, b, c), (d, e, f), (z, y, x) = self.start, self.stop, by
        return Box((a + z, b + y, c + x), (d + z, e + y, f + x))

    def clip(self, shape: ZYX) -> Box:
        """The part inside an array of ``shape``."""
        return self.intersect(Box((0, 0, 0), shape))

    def intersect(self, other: Box) -> Box:
        """The common part; empty (size 0) when there is none."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(max, start, map(min, self.stop, other.stop)))
        return Box(start, stop)  # type: ignore[arg-type]

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """This box as an index of an array that holds ``outer``."""
        (a, b, c), (d, e, f), (oz, oy, ox) = self.start, self.stop, outer.start
        return (slice(a - oz, d - oz), slice(b - oy, e - oy), slice(c - ox, f - ox))

    def distance(self, other: Box) -> int:
        """Chebyshev distance between the nearest voxels of both boxes; 0 if they overlap."""
        gaps = (
            max(b0 - a1 + 1, a0 - b1 + 1, 0)
            for a0, a1, b0, b1 in zip(self.start, self.stop, other.start, other.stop, strict=True)
        )
        return max(gaps)

    @staticmethod
    def whole(shape: ZYX) -> Box:
        """The box of a whole array."""
        return Box((0, 0, 0), shape)


def cut(box: Box, edges: Sequence[Sequence[int]]) -> list[Box]:
    """Cut a box wherever, along an axis, a multiple of one of several numbers is; C order.

    Parameters
    ----------
    box
        The box.
    edges
        For each axis the numbers, all of them at least 1.
    """
    axes = []
    for start, stop, numbers in zip(box.start, box.stop, edges, strict=True):
        inside = {m for n in numbers for m in range((start // n + 1) * n, stop, n)}
        axes.append(list(itertools.pairwise(sorted({start, stop, *inside}))))
    return [
        Box(zyx(a for a, _ in place), zyx(b for _, b in place))
        for place in itertools.product(*axes)
    ]


def even(length: int, most: int) -> int:
    """Length of as few parts as there can be of at most ``most``, about as long as one another."""
    return -(-length // -(-length // most))


@dataclass(frozen=True)
class Grid:
    """A shape cut into blocks, numbered in C order."""

    shape: ZYX
    block: ZYX

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.block) < 1:
            raise ValueError(f"a grid needs a shape and a block of at least 1 voxel: {self}")

    @property
    def counts(self) -> ZYX:
        """Number of blocks along each axis."""
        z, y, x = (math.ceil(n / b) for n, b in zip(self.shape, self.block, strict=True))
        return (z, y, x)

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, number: int) -> Box:
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} of {len(self)}")
        _, ny, nx = self.counts
        index = (number // (ny * nx), number // nx % ny, number % nx)
        a, b, c = (i * n for i, n in zip(index, self.block, strict=True))
        bz, by, bx = self.block
        return Box((a, b, c), (a + bz, b + by, c + bx)).clip(self.shape)

    def __iter__(self) -> Iterator[Box]:
        return (self[i] for i in range(len(self)))

    def touching(self, box: Box) -> list[int]:
        """Numbers of the blocks that share a voxel with ``box``."""
        inside = box.clip(self.shape)
        if not inside.size:
            return []
        ranges = [
            range(a // n, -(-b // n))
            for a, b, n in zip(inside.start, inside.stop, self.block, strict=True)
        ]
        _, ny, nx = self.counts
        return [(z * ny + y) * nx + x for z, y, x in itertools.product(*ranges)]


def batches(items: int, most: int, least: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(items)`` into at most ``most`` even runs of at least ``least`` items."""
    count = max(1, min(most, items // max(1, least)))
    edges = [items * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def reach(grid: Grid, distances: NDArray[np.integer[Any]], here: Box, extra: int) -> int:
    """How far outside a box anything can start that ends within ``extra`` of it.

    Parameters
    ----------
    grid
        The blocks.
    distances
        (blocks,) the farthest that anything starting in each block gets (voxels, max norm).
    here
        The box that receives.
    extra
        How far from the box's voxels an arrival still counts.

    Returns
    -------
    int
        The margin to read: the largest ``distance + extra`` of all blocks that come that near.
    """
    near = grid.touching(here.grow(int(distances.max()) + extra))
    margins = zip(near, (distances[near] + extra).tolist(), strict=True)
    return max((far for n, far in margins if here.distance(grid[n]) <= far), default=extra)
