"""Points and where they end, as lists and as images of displacements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit

NOWHERE = -(2**15)
"""Displacement of voxels from which no point starts."""


@njit
def _places(inside, places):  # type: ignore[no-untyped-def]
    depth, height, width = inside.shape
    n = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if inside[z, y, x]:
                    places[n, 0], places[n, 1], places[n, 2] = z, y, x
                    n += 1


@njit
def _starts_and_ends(displacement, origin, starts, ends):  # type: ignore[no-untyped-def]
    _, depth, height, width = displacement.shape
    n = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if displacement[0, z, y, x] == NOWHERE:
                    continue
                starts[n, 0], starts[n, 1] = z + origin[0], y + origin[1]
                starts[n, 2] = x + origin[2]
                for axis in range(3):
                    ends[n, axis] = starts[n, axis] + displacement[axis, z, y, x]
                n += 1


@njit
def _displaced(cells, displacement, written):  # type: ignore[no-untyped-def]
    for n in range(len(cells)):
        z, y, x = cells[n]
        for axis in range(3):
            written[axis, z, y, x] = displacement[n, axis]


def places_of(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(N, 3) ZYX of the voxels that are True, in C order: `np.argwhere`, several times faster."""
    places = np.empty((int(np.count_nonzero(inside)), 3), np.int32)
    _places(inside, places)
    return places


def displaced(
    cells: NDArray[np.int32], displacement: NDArray[np.int32], shape: tuple[int, int, int]
) -> NDArray[np.int16]:
    """An image of displacements: (3, Z, Y, X), `NOWHERE` where no point starts.

    Parameters
    ----------
    cells
        (N, 3) ZYX in the image.
    displacement
        (N, 3) how far each gets.
    shape
        Of the image (ZYX).
    """
    written = np.full((3, *shape), NOWHERE, np.int16)
    _displaced(cells, displacement, written)
    return written


def points_in(
    displacement: NDArray[np.int16], origin: tuple[int, int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Start and end voxels of all points of an image of displacements, in C order.

    Parameters
    ----------
    displacement
        Of `displaced`.
    origin
        Where it starts in the whole image (ZYX).

    Returns
    -------
    starts, ends : (N, 3) int32
        ZYX in the whole image.
    """
    count = int(np.count_nonzero(displacement[0] != NOWHERE))
    # in memory of their own: who needs one of them need not keep the other
    starts, ends = np.empty((count, 3), np.int32), np.empty((count, 3), np.int32)
    _starts_and_ends(displacement, origin, starts, ends)
    return starts, ends
