"""Sinks: where it is certain in which voxel a point ends, long before it comes to rest.

Most points reach the voxel in which they end after a few steps and then move within it for the
rest of them. Of a place where some points have ended, one of two things is proved:

- **box**: a step from anywhere in the voxel ends in the voxel. Within a cell of the grid a step is
  linear along each axis, so where the corners of all parts go bounds where all of them go;
- **ball**: near the place, steps bring any two points closer by one of the factors ``SHRINK``, in a
  norm that is made for the place. So a point that is in the ball stays in it, and after the steps
  that are left it is closer than the nearest face of the voxel.

Steps are those of the kernel, whose rounding is allowed for: a bound on what it adds to a step
(`proofs.slack`) is taken from each margin. So the end *voxels* are those of all the steps, bit for
bit, whatever sinks are known; only where within the voxel a point is remains unknown.

The norm is ``u' P u``, with ``P = sum of (J' ** k) (J ** k) / g ** 2k`` for the derivative ``J`` of
a step at the place and ``g`` somewhat less than the factor: where that sum exists, a step shrinks
it. `terapose.algorithms.flows.proofs` looks at the rest of the ball.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.proofs import (
    UNIT,
    index_of,
    inspect,
    length_of,
    norm_of,
    slack,
    spread_of,
    step,
)
from terapose.algorithms.flows.sampling import within
from terapose.io.compiled import njit

SHRINK = (0.985, 0.9, 0.6)
"""How much closer a step brings points in a ball, at least. Weaker ones are proved for larger
balls; rounding adds less where steps shrink more, so a face of the voxel may be nearer."""
LEVELS = len(SHRINK)
_GOAL = (0.97, 0.85, 0.5)
"""The same at the middle, for which the norm is made."""
_SIZES = np.array([1.2, 0.6, 0.3, 0.12, 0.04])
"""Half edges of the balls' boxes that are tried, in voxels."""
BOX = 3.0
"""The kind of a box; that of a ball is which of the factors it has."""
_KIND, CENTRE, _NORM, _RADIUS, _ROOM, _REACH = 0, 1, 4, 13, 14, 15
"""Columns of a sink: the kind; ZYX; the norm; the ball's squared radius, or half the edge of the
box; the squared distance, less what rounding adds, to the nearest face of the voxel; how far the
norm's unit ball reaches along any axis, in voxels."""
COLUMNS = 16
_TRIES = 2
"""Places that are tried in a voxel."""


class Sinks(NamedTuple):
    """Sinks, and which of them is to be looked at in a cell of the grid.

    Attributes
    ----------
    rows
        (N, `COLUMNS`) float64.
    marks
        (Z + 3, Y + 3, X + 3) int32: row of a sink, -1 without one; indices are those of a field
        with its rim. Of shape (0, 0, 0) if there are no sinks.
    """

    rows: NDArray[np.float64]
    marks: NDArray[np.int32]


NONE = Sinks(np.zeros((0, COLUMNS)), np.zeros((0, 0, 0), np.int32))


@njit
def _box(field, shape, origin, planar, known, voxel, fastest, row):  # type: ignore[no-untyped-def]
    """Try a whole voxel."""
    low, high, steepest = voxel.copy(), voxel + 1.0, 8.0
    if planar:
        high[0] = low[0]
    margin = 2.0 * slack(shape, steepest, fastest)
    found = inspect(field, shape, origin, planar, known, low, high, np.zeros((3, 3)), 0.0, margin)
    if not 0.0 <= found <= steepest:
        return False
    row[_KIND] = BOX
    row[CENTRE : CENTRE + 3] = voxel + 0.5
    row[_RADIUS] = 0.5 - margin
    return row[_RADIUS] > 0.0


@njit
def _ball(field, shape, origin, planar, known, place, fastest, row):  # type: ignore[no-untyped-def]
    """Try balls around a position, the largest first."""
    cell, moved, slopes = np.zeros(3, np.int64), np.zeros(3), np.zeros((3, 3))
    norms, spreads = np.zeros((LEVELS, 3, 3)), np.zeros((LEVELS, 3))
    for a in range(3):
        is_held = a == 0 and planar
        cell[a] = np.int64(place[a] if is_held else np.floor(index_of(place[a], float(shape[a]))))
        if not within(cell[a] - origin[a], known[a]):
            return False
    step(field, shape, origin, planar, place, cell, moved, slopes)
    gap = np.abs(moved - place).max()
    for level in range(LEVELS):
        if norm_of(slopes, planar, _GOAL[level], norms[level]):
            spread_of(norms[level], spreads[level])
    for size in _SIZES:
        for level in range(LEVELS):
            if spreads[level, 2] > 0.0 and gap < size and _fits(
                field, shape, origin, planar, known, place, moved, fastest,
                size, level, norms[level], spreads[level], row,
            ):  # fmt: skip
                return True
    return False


@njit
def _fits(  # type: ignore[no-untyped-def]
    field, shape, origin, planar, known, place, moved, fastest, size, level, norm, spread, row
):
    """Try a ball."""
    first = 1 if planar else 0
    widest, room = spread[first:].max(), np.inf
    radius, low, high = size / widest, place.copy(), place.copy()
    for a in range(first, 3):
        face = min(place[a] - np.floor(place[a]), np.floor(place[a]) + 1.0 - place[a])
        room = min(room, (face - 2.0 * shape[a] * UNIT) / spread[a])
        low[a], high[a] = place[a] - radius * spread[a], place[a] + radius * spread[a]
        if not (low[a] >= 0.0 and high[a] <= shape[a] - 1.0):
            return False
    trace, rest = norm[0, 0] + norm[1, 1] + norm[2, 2], 1.0 - SHRINK[level]
    off = length_of(norm, moved - place)
    if not off / rest < room:
        return False
    factor = SHRINK[level] ** 2
    steepest = inspect(field, shape, origin, planar, known, low, high, norm, factor, -1.0)
    kept = (off + slack(shape, steepest, fastest) * np.sqrt(3.0 * trace)) / rest
    if not (steepest >= 0.0 and kept < room and kept < radius):
        return False
    row[_KIND], row[_RADIUS], row[_ROOM] = level, radius * radius, (room - kept) ** 2
    row[CENTRE : CENTRE + 3] = place
    for a in range(9):
        row[_NORM + a] = norm[a // 3, a % 3]
    row[_REACH] = widest
    return True


@njit
def _mark(row, number, shape, origin, planar, marks):  # type: ignore[no-untyped-def]
    """Mark the cells of the grid in which a sink has a part."""
    first, last = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for a in range(3):
        centre = row[CENTRE + a]
        if a == 0 and planar:
            first[0] = last[0] = np.int64(centre) - origin[0] + 1
            continue
        half = 0.5 if row[_KIND] == BOX else np.sqrt(row[_RADIUS]) * row[_REACH]
        low, high = (
            index_of(centre - half, float(shape[a])),
            index_of(centre + half, float(shape[a])),
        )
        first[a] = max(np.int64(np.floor(low)) - origin[a] + 1, 0)
        last[a] = min(np.int64(np.floor(high)) - origin[a] + 1, marks.shape[a] - 1)
    for z in range(first[0], last[0] + 1):
        for y in range(first[1], last[1] + 1):
            for x in range(first[2], last[2] + 1):
                if marks[z, y, x] < 0:
                    marks[z, y, x] = number


@njit
def _find(  # type: ignore[no-untyped-def]
    field, shape, origin, planar, known, places, balls, rows, marks
):
    """Try where points have come to; returns how many sinks there are."""
    found, fastest = 0, 0.0
    for z in range(field.shape[0]):
        for y in range(field.shape[1]):
            for x in range(field.shape[2]):
                for c in range(2 if planar else 3):
                    fastest = max(fastest, abs(field[z, y, x, c]))
    fastest *= (max(shape[0], shape[1], shape[2]) - 1.0) / 2.0
    tries = np.zeros(marks.shape, np.int8)
    place = np.zeros(3)
    for n in range(len(places)):
        for a in range(3):
            place[a] = places[n, a]
        if not np.isfinite(place).all():
            continue
        voxel = np.floor(place)
        # a point that is not lost may have left what was read by its last step
        is_read = True
        for a in range(3):
            is_read &= within(voxel[a] - origin[a], known[a])
        if not is_read:
            continue
        z, y = np.int64(voxel[0]) - origin[0] + 1, np.int64(voxel[1]) - origin[1] + 1
        x = np.int64(voxel[2]) - origin[2] + 1
        if tries[z, y, x] >= _TRIES:
            continue
        row = rows[found]
        first = tries[z, y, x] == 0
        tries[z, y, x] += 1
        if (first and _box(field, shape, origin, planar, known, voxel, fastest, row)) or (
            balls and _ball(field, shape, origin, planar, known, place, fastest, row)
        ):
            _mark(row, found, shape, origin, planar, marks)
            tries[z, y, x] = _TRIES
            found += 1
    return found


@njit(inline="always")
def is_caught(row, z, y, x, shape, planar, decay):  # type: ignore[no-untyped-def]
    """Whether a point ends in a sink's voxel, from its position in [-1, 1].

    ``decay`` has, for each factor of `SHRINK`, its power of twice the steps that are left.
    """
    half_y, half_x = (shape[1] - 1.0) / 2.0, (shape[2] - 1.0) / 2.0
    dz, dy = 0.0, (np.float64(y) + 1.0) * half_y - row[CENTRE + 1]
    dx = (np.float64(x) + 1.0) * half_x - row[CENTRE + 2]
    if not planar:
        dz = (np.float64(z) + 1.0) * (shape[0] - 1.0) / 2.0 - row[CENTRE]
    if row[_KIND] == BOX:
        half = row[_RADIUS]
        return abs(dz) <= half and abs(dy) <= half and abs(dx) <= half
    a = row[_NORM] * dz + row[_NORM + 1] * dy + row[_NORM + 2] * dx
    b = row[_NORM + 3] * dz + row[_NORM + 4] * dy + row[_NORM + 5] * dx
    c = row[_NORM + 6] * dz + row[_NORM + 7] * dy + row[_NORM + 8] * dx
    square = a * dz + b * dy + c * dx
    return square <= row[_RADIUS] and square * decay[np.int64(row[_KIND])] <= row[_ROOM]


@njit
def reach_of(row, start, shape, planar):  # type: ignore[no-untyped-def]
    """How far from its start a point of a sink can be sampled at most, in voxels."""
    half = 0.5 if row[_KIND] == BOX else np.sqrt(row[_RADIUS]) * row[_REACH]
    most = 0.0
    for a in range(1 if planar else 0, 3):
        length = float(shape[a])
        gap = abs(index_of(row[CENTRE + a], length) - start[a]) + half * length / (length - 1.0)
        most = max(most, gap + 0.01 + 4.0 * length * UNIT)
    return np.float32(most)


def find_sinks(
    field: NDArray[np.float32],
    shape: tuple[int, int, int],
    origin: tuple[int, int, int],
    known: NDArray[np.int64],
    places: NDArray[np.float32],
    *,
    planar: bool,
    balls: bool,
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
    balls
        Whether to look for balls, too; boxes hold for points that stop early as well.
    """
    rows, marks = np.zeros((len(places) + 1, COLUMNS)), np.full(field.shape[:3], -1, np.int32)
    count = _find(field, shape, origin, planar, known, places, balls, rows, marks)
    return Sinks(rows[:count], marks) if count else NONE
