"""What is certain of all steps from a box: where they lead, and that they bring points closer.

Positions are in voxels of the whole image, ``v = (p + 1) / 2 * (L - 1)``, as truncated at the end.
Flows are sampled at ``v * L / (L - 1) - 0.5``, so a voxel holds parts of up to four cells of the
grid along each axis, in arrays with a rim of one voxel before. Within a cell a step is linear along
each axis: where the corners of a part of it go bounds where all of it goes. Its derivative ``J`` is
a mean of those at the corners, and ``J' P J`` is convex in ``J``: a norm that shrinks at the
corners shrinks everywhere between them.

Steps are those of the kernel, with a bound on what rounding adds to each.
"""

from __future__ import annotations

import numpy as np

from terapose.algorithms.flows.sampling import within
from terapose.io.compiled import njit

UNIT = 2.0**-24
"""Relative error of a rounded float32."""


@njit(inline="always")
def index_of(v, length):  # type: ignore[no-untyped-def]
    return v * length / (length - 1.0) - 0.5


@njit
def _cuts(low, high, length, found):  # type: ignore[no-untyped-def]
    """Where a range of positions is cut by cells of the grid, both ends included; how many."""
    found[0], n = low, 1
    k = np.floor(index_of(low, length)) + 1.0
    while n < len(found) - 1:
        at = (k + 0.5) * (length - 1.0) / length
        if not at < high:
            break
        if at > low:
            found[n] = at
            n += 1
        k += 1.0
    found[n] = high
    return n + 1


@njit
def step(field, shape, origin, planar, place, cell, moved, slopes):  # type: ignore[no-untyped-def]
    """Where a step leads from a position in a cell, and its slopes: the derivative, less one."""
    width = 2 if planar else 3
    moved[:], slopes[:] = place, 0.0
    z1 = 0.0 if planar else min(max(index_of(place[0], shape[0]) - cell[0], 0.0), 1.0)
    y1 = min(max(index_of(place[1], shape[1]) - cell[1], 0.0), 1.0)
    x1 = min(max(index_of(place[2], shape[2]) - cell[2], 0.0), 1.0)
    w = ((1.0 - z1, z1), (1.0 - y1, y1), (1.0 - x1, x1))
    for dz in range(1 if planar else 2):
        for dy in range(2):
            for dx in range(2):
                z, y, x = cell[0] - origin[0] + 1 + dz, cell[1] - origin[1] + 1 + dy, 0
                x = cell[2] - origin[2] + 1 + dx
                for c in range(width):
                    a = c + 3 - width
                    flow = field[z, y, x, c] * (shape[a] - 1.0) / 2.0
                    moved[a] += w[0][dz] * w[1][dy] * w[2][dx] * flow
                    if not planar:
                        slopes[a, 0] += (2 * dz - 1) * w[1][dy] * w[2][dx] * flow
                    slopes[a, 1] += (2 * dy - 1) * w[0][dz] * w[2][dx] * flow
                    slopes[a, 2] += (2 * dx - 1) * w[0][dz] * w[1][dy] * flow
    for a in range(3):
        for b in range(3):
            slopes[a, b] *= shape[b] / (shape[b] - 1.0) if shape[b] > 1 else 0.0


@njit
def slack(shape, steep, fastest):  # type: ignore[no-untyped-def]
    """How far the kernel's step may be from the real one, along any axis, in voxels.

    An index is wrong by at most 2.5 L units: those of ``p + 1``, of the product and of the
    difference. The flow there is wrong by that times its slope, by the rounding of weights and
    sums, and the new position by another quarter.
    """
    longest = float(max(shape[0], shape[1], shape[2]))
    return longest * UNIT * (2.5 * steep + 0.5) + fastest * 32.0 * UNIT


@njit
def _is_less(norm, slopes, factor):  # type: ignore[no-untyped-def]
    """Whether ``J' P J`` is less than ``factor * P``, with ``J`` one more than the slopes."""
    j = slopes.copy()
    for a in range(3):
        j[a, a] += 1.0
    rest = np.zeros((3, 3))
    for a in range(3):
        for b in range(a + 1):
            total = factor * norm[a, b]
            for c in range(3):
                for d in range(3):
                    total -= j[c, a] * norm[c, d] * j[d, b]
            rest[a, b] = total
    # Cholesky's pivots
    if not rest[0, 0] > 0.0:
        return False
    m, n = rest[1, 0] / rest[0, 0], rest[2, 0] / rest[0, 0]
    second = rest[1, 1] - m * rest[1, 0]
    if not second > 0.0:
        return False
    mixed = rest[2, 1] - n * rest[1, 0]
    return rest[2, 2] - n * rest[2, 0] - mixed * mixed / second > 0.0


@njit
def norm_of(slopes, planar, goal, norm):  # type: ignore[no-untyped-def]
    """The sum of powers, by doubling; False if it does not exist."""
    power = slopes / goal
    for a in range(3):
        power[a, a] += 1.0 / goal
    if planar:
        power[0, 0] = 0.0
    norm[:] = 0.0
    for a in range(3):
        norm[a, a] = 1.0
    more, square = np.zeros((3, 3)), np.zeros((3, 3))
    for _ in range(8):
        more[:], square[:] = 0.0, 0.0
        for a in range(3):
            for b in range(3):
                for c in range(3):
                    square[a, b] += power[a, c] * power[c, b]
                    for d in range(3):
                        more[a, b] += power[c, a] * norm[c, d] * power[d, b]
        norm += more
        power[:] = square
        if not np.abs(power).max() < 1e6:
            return False
    return np.abs(power).max() < 1e-3


@njit
def spread_of(norm, spread):  # type: ignore[no-untyped-def]
    """How far the unit ball of a norm reaches along each axis: roots of the inverse's diagonal."""
    minors = np.zeros(3)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        minors[a] = norm[b, b] * norm[c, c] - norm[b, c] * norm[c, b]
    whole = norm[0, 0] * minors[0]
    whole -= norm[0, 1] * (norm[1, 0] * norm[2, 2] - norm[1, 2] * norm[2, 0])
    whole += norm[0, 2] * (norm[1, 0] * norm[2, 1] - norm[1, 1] * norm[2, 0])
    for a in range(3):
        spread[a] = np.sqrt(minors[a] / whole)


@njit
def length_of(norm, gap):  # type: ignore[no-untyped-def]
    total = 0.0
    for a in range(3):
        for b in range(3):
            total += gap[a] * norm[a, b] * gap[b]
    return np.sqrt(total)


@njit
def inspect(  # type: ignore[no-untyped-def]
    field, shape, origin, planar, known, low, high, norm, factor, inside
):
    """Look at all corners of a box; returns the steepest slope, or -1 where nothing is proved.

    ``inside`` is how much nearer to the middle than the faces all have to get; without it,
    ``norm`` has to shrink to its ``factor``.
    """
    cuts, count = np.zeros((3, 6)), np.ones(3, np.int64)
    cell, place, moved = np.zeros(3, np.int64), np.zeros(3), np.zeros(3)
    slopes, steepest = np.zeros((3, 3)), 0.0
    for a in range(3):
        if a == 0 and planar:
            cell[0] = np.int64(low[0])
            cuts[0, 0] = cuts[0, 1] = low[0]
            count[0] = 2
        else:
            count[a] = _cuts(low[a], high[a], float(shape[a]), cuts[a])
    for part in range((count[0] - 1) * (count[1] - 1) * (count[2] - 1)):
        at = (
            part // ((count[1] - 1) * (count[2] - 1)),
            part // (count[2] - 1) % (count[1] - 1),
            part % (count[2] - 1),
        )
        for a in range(3):
            if not (a == 0 and planar):
                middle = (cuts[a, at[a]] + cuts[a, at[a] + 1]) / 2.0
                cell[a] = np.int64(np.floor(index_of(middle, float(shape[a]))))
            if not within(cell[a] - origin[a], known[a]):
                return -1.0
        for corner in range(4 if planar else 8):
            for a in range(3):
                place[a] = cuts[a, at[a] + (corner >> (2 - a) & 1)]
            step(field, shape, origin, planar, place, cell, moved, slopes)
            for a in range(3):
                steep = abs(slopes[a, 0]) + abs(slopes[a, 1]) + abs(slopes[a, 2])
                steepest = max(steepest, steep)
                is_inside = low[a] + inside <= moved[a] <= high[a] - inside
                if inside >= 0.0 and not is_inside and not (a == 0 and planar):
                    return -1.0
            if inside < 0.0:
                if planar:
                    slopes[0, 0] = -1.0
                if not _is_less(norm, slopes, factor):
                    return -1.0
    return steepest
