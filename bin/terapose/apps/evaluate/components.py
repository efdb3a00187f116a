"""The pieces of labels in a label image of any size: voxels of one label that touch.

Voxels touch if they share a face, an edge or a corner (26 neighbours).

1. The image is read slab by slab, whole planes along Z, and the pieces in each slab are numbered.
2. Pieces of neighbouring slabs are linked where voxels of one label touch across the two planes.
3. Linked pieces are one component. Reading a slab again gives the same pieces, so that nothing but
   the links is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.pieces import joined
from terapose.io.images.array_like import Voxels

SLAB = 1 << 25
"""Voxels that are read at once, if a plane is not larger."""
_STEPS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))

Slab = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Components:
    """Components of a label image.

    Attributes
    ----------
    labels
        (Z, Y, X).
    slab
        Planes that are read at once.
    first
        Number of the last piece before each slab.
    number
        Component of each piece, from 1; that of piece 0, the background, is 0.
    """

    labels: Voxels
    slab: int
    first: tuple[int, ...]
    number: NDArray[np.int64]

    def read(self) -> Iterator[tuple[Slab, NDArray[np.int64]]]:
        """Components of each voxel, slab by slab."""
        for region, first in zip(_slabs(self.labels, self.slab), self.first, strict=True):
            pieces, _ = pieces_of(np.asarray(self.labels[region]))
            pieces[pieces > 0] += first
            yield region, self.number[pieces]


def components_of(labels: Voxels, slab: int | None = None) -> Components:
    """Find the components of a label image.

    Parameters
    ----------
    labels
        (Z, Y, X) label image, read by slices.
    slab
        Planes that are read at once; the components do not depend on it.
    """
    slab = slab or planes_at_once(labels.shape)
    links, firsts, total = [np.empty((0, 2), np.int64)], [], 0
    before: tuple[NDArray[np.generic], NDArray[np.int64]] | None = None
    for region in _slabs(labels, slab):
        values = np.asarray(labels[region])
        pieces, count = pieces_of(values)
        pieces[pieces > 0] += total
        if before is not None:
            links.append(_links(*before, values[0], pieces[0]))
        before = values[-1].copy(), pieces[-1].copy()
        firsts.append(total)
        total += count
    # the background is a component of its own, and the first
    numbers = joined(total, np.concatenate(links)).astype(np.int64)
    return Components(labels, slab, tuple(firsts), numbers)


def planes_at_once(
    shape: tuple[int, ...], scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> int:
    """Planes of a label image that are read at once.

    Parameters
    ----------
    shape
        (Z, Y, X).
    scale
        Voxels of it that one of the file takes along each axis: of a finer file as many voxels are
        read at once as of any other.
    """
    plane = math.prod(shape[1:]) / math.prod(min(step, 1.0) for step in scale)
    return max(1, int(SLAB / max(plane, 1)))


def pieces_of(labels: NDArray[np.generic]) -> tuple[NDArray[np.int64], int]:
    """Number the pieces of labels in an array, from 1 in C order, and count them."""
    from skimage.measure import label

    pieces, count = label(labels, background=0, return_num=True, connectivity=labels.ndim)
    return np.asarray(pieces, np.int64), int(count)


def _slabs(labels: Voxels, slab: int) -> Iterator[Slab]:
    depth, height, width = labels.shape
    for start in range(0, depth, slab):
        yield slice(start, min(start + slab, depth)), slice(0, height), slice(0, width)


def _links(
    upper: NDArray[np.generic],
    upper_pieces: NDArray[np.int64],
    lower: NDArray[np.generic],
    lower_pieces: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(N, 2) pieces of two neighbouring planes that touch and have the same label."""
    found = []
    for dy, dx in _STEPS:
        here, there = (_shifted(upper.shape, step) for step in ((dy, dx), (-dy, -dx)))
        same = (upper[here] == lower[there]) & (upper_pieces[here] > 0)
        found.append(np.stack([upper_pieces[here][same], lower_pieces[there][same]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _shifted(shape: tuple[int, ...], step: tuple[int, int]) -> tuple[slice, slice]:
    """The part of a plane from which a step leads to a pixel of the plane."""
    y, x = (slice(max(-d, 0), n - max(d, 0)) for d, n in zip(step, shape, strict=True))
    return y, x
