"""Sinks: where it is certain in which voxel a point ends, long before it comes to rest.

Most points reach the voxel in which they end after a few steps and then move within it, or between
two places, for the rest of them. Of a place where some points have ended it is proved that they
have to (`terapose.algorithms.flows.balls`): a point that is near it can stop. So the end *voxels*
are those of all the steps, bit for bit, whatever sinks are known; only where within the voxel a
point is remains unknown.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.balls import (
    BOX,
    CENTRE,
    COLUMNS,
    CORNERS,
    KIND,
    NEXT,
    NORM,
    RADIUS,
    REACH,
    ROOM,
    SHRINK,
    SPREAD,
    go,
    try_ball,
    try_box,
)
from terapose.algorithms.flows.proofs import UNIT, index_of
from terapose.algorithms.flows.sampling import within
from terapose.io.compiled import njit

_CHAIN = 4
"""Sinks that are looked at in a cell, at most."""


class Sinks(NamedTuple):
    """Sinks, and which of them is to be looked at in a cell of the grid.

    Attributes
    ----------
    rows
        (N, `COLUMNS`) float64.
    marks
        (Z + 3, Y + 3, X + 3) int32: row of the first sink, -1 without one; indices are those of a
        field with its rim. Of shape (0, 0, 0) if there are no sinks.
    """

    rows: NDArray[np.float64]
    marks: NDArray[np.int32]


NONE = Sinks(np.zeros((0, COLUMNS)), np.zeros((0, 0, 0), np.int32))


@njit
def _add(rows, number, shape, origin, planar, marks):  # type: ignore[no-untyped-def]
    """Mark the cells of the grid in which a sink has a part; where one is marked, come after it."""
    row = rows[number]
    first, last = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for a in range(3):
        centre, half = row[CENTRE + a], row[SPREAD + a]
        if a == 0 and planar:
            first[0] = last[0] = np.int64(centre) - origin[0] + 1
            continue
        low, high = (
            index_of(centre - half, float(shape[a])),
            index_of(centre + half, float(shape[a])),
        )
        first[a] = max(np.int64(np.floor(low)) - origin[a] + 1, 0)
        last[a] = min(np.int64(np.floor(high)) - origin[a] + 1, marks.shape[a] - 1)
    for z in range(first[0], last[0] + 1):
        for y in range(first[1], last[1] + 1):
            for x in range(first[2], last[2] + 1):
                sink, length = marks[z, y, x], 1
                if sink < 0:
                    marks[z, y, x] = number
                    continue
                while sink != number and rows[sink, NEXT] >= 0.0:
                    sink, length = np.int64(rows[sink, NEXT]), length + 1
                if sink != number and length < _CHAIN:
                    rows[sink, NEXT] = number


@njit
def _cell_of(voxel, origin, known, cell):  # type: ignore[no-untyped-def]
    """A voxel's index in arrays with a rim; False if it was not read."""
    for a in range(3):
        # a point that is not lost may have left what was read by its last step
        if not within(voxel[a] - origin[a], known[a]):
            return False
        cell[a] = np.int64(voxel[a]) - origin[a] + 1
    return True


@njit
def _try(where, place, fastest, found, tables, seen):  # type: ignore[no-untyped-def]
    """Try what is around a place; returns how many sinks there are then.

    Where points go between two places there are two.
    """
    rows, marks, tried = tables
    _, shape, origin, planar, known = where
    row = rows[found]
    if try_box(where, np.floor(place), fastest, row, seen) or try_ball(
        where, 1, place, fastest, row, seen
    ):
        _add(rows, found, shape, origin, planar, marks)
        return found + 1
    other, cell, derivative = place.copy(), np.zeros(3, np.int64), np.zeros((3, 3))
    for _ in range(2):
        if not try_ball(where, 2, other, fastest, rows[found], seen):
            break
        _add(rows, found, shape, origin, planar, marks)
        go(where, 1, rows[found, CENTRE : CENTRE + 3].copy(), other, derivative)
        found += 1
        if _cell_of(np.floor(other), origin, known, cell):
            tried[cell[0], cell[1], cell[2]] = True
    return found


@njit
def _find(where, places, fastest, rows, marks):  # type: ignore[no-untyped-def]
    """Try where points have come to, once in each voxel; returns how many sinks there are."""
    _, _, origin, _, known = where
    found = 0
    tried, none = np.zeros(marks.shape, np.bool_), np.zeros((1, 3, 3))
    none[0] = np.eye(3)
    seen = (np.zeros((CORNERS, 3, 3)), np.zeros((2, 3)), np.zeros(3), np.zeros(3), none)
    place, cell = np.zeros(3), np.zeros(3, np.int64)
    for n in range(len(places)):
        if found + 2 > len(rows):
            break
        for a in range(3):
            place[a] = places[n, a]
        if not np.isfinite(place).all():
            continue
        if not _cell_of(np.floor(place), origin, known, cell):
            continue
        at = cell[0], cell[1], cell[2]
        if not tried[at]:
            tried[at] = True
            found = _try(where, place, fastest, found, (rows, marks, tried), seen)
    return found


@njit(inline="always")
def is_caught(row, z, y, x, shape, planar, decay):  # type: ignore[no-untyped-def]
    """Whether a point ends in a sink's voxel, from its position in [-1, 1].

    An even number of steps is left. ``decay`` is the row of `decays` for the steps that are left.
    """
    half_y, half_x = (shape[1] - 1.0) / 2.0, (shape[2] - 1.0) / 2.0
    dz, dy = 0.0, (np.float64(y) + 1.0) * half_y - row[CENTRE + 1]
    dx = (np.float64(x) + 1.0) * half_x - row[CENTRE + 2]
    if not planar:
        dz = (np.float64(z) + 1.0) * (shape[0] - 1.0) / 2.0 - row[CENTRE]
    if row[KIND] == BOX:
        return abs(dz) <= row[SPREAD] and abs(dy) <= row[SPREAD + 1] and abs(dx) <= row[SPREAD + 2]
    a = row[NORM] * dz + row[NORM + 1] * dy + row[NORM + 2] * dx
    b = row[NORM + 3] * dz + row[NORM + 4] * dy + row[NORM + 5] * dx
    c = row[NORM + 6] * dz + row[NORM + 7] * dy + row[NORM + 8] * dx
    square = a * dz + b * dy + c * dx
    return square <= row[RADIUS] and square * decay[np.int64(row[KIND])] <= row[ROOM]


@njit
def reach_of(row, start, shape, planar):  # type: ignore[no-untyped-def]
    """How far from its start a point of a sink can be sampled at most, in voxels."""
    most = 0.0
    for a in range(1 if planar else 0, 3):
        length = float(shape[a])
        gap = abs(index_of(row[CENTRE + a], length) - start[a]) + row[REACH] * length / (
            length - 1.0
        )
        most = max(most, gap + 0.01 + 4.0 * length * UNIT)
    return np.float32(most)


def decays(niter: int) -> NDArray[np.float64]:
    """How squares of distances in balls shrink, by the steps left: (niter + 1, `LEVELS`)."""
    return np.array(SHRINK) ** (2 * np.arange(niter + 1)[:, None])


def find_sinks(
    field: NDArray[np.float32],
    shape: tuple[int, int, int],
    origin: tuple[int, int, int],
    known: NDArray[np.int64],
    places: NDArray[np.float32],
    *,
    planar: bool,
) -> Sinks:
    """Look for sinks where points have come to.

    Parameters
    ----------
    field
        Interleaved flows in a rim, of a box of the image.
    shape, origin
        Of the whole image, and where the box starts in it (ZYX).
    known
        (3, 2) first and last cell in the box along each axis.
    places
        (N, 3) where some points are after all steps, in voxels of the image.
    planar
        Whether points move in the plane.
    """
    rows, marks = np.zeros((len(places) + 2, COLUMNS)), np.full(field.shape[:3], -1, np.int32)
    # the longest step along any axis, in voxels
    fastest = max(float(field.max()), -float(field.min())) * (max(shape) - 1.0) / 2.0
    count = _find((field, shape, origin, planar, known), places, fastest, rows, marks)
    return Sinks(rows[:count], marks) if count else NONE
