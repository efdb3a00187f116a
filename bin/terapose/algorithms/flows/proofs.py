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
_MOST = 512
"""Products of derivatives that are looked at in a box, at most."""


@njit(inline="always")
def index_of(v, length):  # type: ignore[no-untyped-def]
    return v * length / (length - 1.0) - 0.5


@njit
def cuts_of(low, high, length, found):  # type: ignore[no-untyped-def]
    """Where a range of positions is cut by cells of the grid, both ends included; how many.

    A range is at most three voxels long: so there is room for all.
    """
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
def _rounding(x):  # type: ignore[no-untyped-def]
    """By how much a float32 may be rounded that is at most x."""
    return 2.0 ** (np.floor(np.log2(max(x, 1e-30))) - 24.0)


@njit
def blur_of(shape, high, blur):  # type: ignore[no-untyped-def]
    """How far the kernel's index may be from the real one, at positions up to ``high``.

    ``p + 1`` is rounded, which the length makes larger; the product; and the difference.
    """
    for a in range(3):
        length = float(shape[a])
        product = 2.000001 * max(high[a], 0.0) * length / max(length - 1.0, 1.0)
        blur[a] = length * _rounding(product / length) / 2.0 + _rounding(product)


@njit
def slack(length, blurred, fastest):  # type: ignore[no-untyped-def]
    """How far the kernel's step may be from the real one, along an axis, in voxels.

    The flow at a blurred index is wrong by as much as ``blurred`` says, and by the rounding of
    weights and sums; the new position by another quarter of the length's unit.
    """
    return blurred + length * UNIT * 0.5 + fastest * 32.0 * UNIT


@njit
def derivative_of(slopes, planar, derivative):  # type: ignore[no-untyped-def]
    """One more than the slopes; in a plane nothing is left of a distance along Z."""
    derivative[:] = slopes
    for a in range(3):
        derivative[a, a] += 1.0
    if planar:
        derivative[0, 0] = 0.0


@njit
def product(a, b, c):  # type: ignore[no-untyped-def]
    for i in range(3):
        for j in range(3):
            c[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@njit
def solve(derivative, gap, found):  # type: ignore[no-untyped-def]
    """Solve ``(1 - J) found = gap`` by Cramer's rule; no numbers where there is no solution."""
    m = -derivative
    for a in range(3):
        m[a, a] += 1.0
    whole = _determinant(m)
    for a in range(3):
        column = m[:, a].copy()
        m[:, a] = gap
        found[a] = _determinant(m) / whole if whole != 0.0 else np.nan
        m[:, a] = column


@njit
def _determinant(m):  # type: ignore[no-untyped-def]
    total = 0.0
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        total += m[0, a] * (m[1, b] * m[2, c] - m[1, c] * m[2, b])
    return total


@njit
def _rest(norm, j, factor, a, b):  # type: ignore[no-untyped-def]
    total = factor * norm[a, b]
    for c in range(3):
        for d in range(3):
            total -= j[c, a] * norm[c, d] * j[d, b]
    return total


@njit
def _is_less(norm, j, factor):  # type: ignore[no-untyped-def]
    """Whether ``J' P J`` is less than ``factor * P``: the pivots of Cholesky's method say so."""
    first = _rest(norm, j, factor, 0, 0)
    if not first > 0.0:
        return False
    below, last = _rest(norm, j, factor, 1, 0), _rest(norm, j, factor, 2, 0)
    m, n = below / first, last / first
    second = _rest(norm, j, factor, 1, 1) - m * below
    if not second > 0.0:
        return False
    mixed = _rest(norm, j, factor, 2, 1) - n * below
    return _rest(norm, j, factor, 2, 2) - n * last - mixed * mixed / second > 0.0


@njit
def norm_of(derivative, goal, norm):  # type: ignore[no-untyped-def]
    """The sum of powers, by doubling; False if it does not exist."""
    power = derivative / goal
    norm[:] = 0.0
    for a in range(3):
        norm[a, a] = 1.0
    more, square = np.zeros((3, 3)), np.zeros((3, 3))
    for _ in range(10):
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
def longest_in(norm, edges):  # type: ignore[no-untyped-def]
    """The largest length in a box around zero, from its half edges: that of a corner."""
    longest, corner = 0.0, np.zeros(3)
    for signs in range(4):
        corner[0] = edges[0]
        corner[1] = edges[1] if signs & 1 else -edges[1]
        corner[2] = edges[2] if signs & 2 else -edges[2]
        longest = max(longest, length_of(norm, corner))
    return longest


@njit
def inspect(where, low, high, norm, factor, before, seen):  # type: ignore[no-untyped-def]
    """Look at the derivatives at all corners of a box, and at where the corners go.

    ``where`` is the field, the shape, the origin, whether points move in the plane, and the cells
    that are known. In ``norm``, each derivative after each of those ``before`` has to shrink to
    the square root of ``factor``. What is ``seen`` is written: derivatives, the box of where the
    corners go, of each axis the steepest slope (the sum of those along all axes), and how wrong a
    flow is where its index is blurred.

    Returns how many derivatives there are, -1 where nothing is proved.
    """
    field, shape, origin, planar, known = where
    derivatives, hull, steep, blurred = seen[:4]
    cuts, count = np.zeros((3, 6)), np.ones(3, np.int64)
    cell, place, moved = np.zeros(3, np.int64), np.zeros(3), np.zeros(3)
    slopes, both, n = np.zeros((3, 3)), np.zeros((3, 3)), 0
    steep[:], blurred[:], blur = 0.0, 0.0, np.zeros(3)
    blur_of(shape, high, blur)
    hull[0], hull[1] = np.inf, -np.inf
    for a in range(3):
        if a == 0 and planar:
            cell[0] = np.int64(low[0])
            cuts[0, 0] = cuts[0, 1] = low[0]
            count[0] = 2
        else:
            count[a] = cuts_of(low[a], high[a], float(shape[a]), cuts[a])
    parts = (count[0] - 1) * (count[1] - 1) * (count[2] - 1)
    if 8 * parts > len(derivatives) or 8 * parts * len(before) > _MOST:
        return -1
    for part in range(parts):
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
                return -1
        for corner in range(4 if planar else 8):
            for a in range(3):
                place[a] = cuts[a, at[a] + (corner >> (2 - a) & 1)]
            step(field, shape, origin, planar, place, cell, moved, slopes)
            for a in range(3):
                z, y, x = abs(slopes[a, 0]), abs(slopes[a, 1]), abs(slopes[a, 2])
                steep[a] = max(steep[a], z + y + x)
                blurred[a] = max(blurred[a], z * blur[0] + y * blur[1] + x * blur[2])
                hull[0, a], hull[1, a] = min(hull[0, a], moved[a]), max(hull[1, a], moved[a])
            derivative_of(slopes, planar, derivatives[n])
            for k in range(len(before)):
                product(derivatives[n], before[k], both)
                if not _is_less(norm, both, factor):
                    return -1
            n += 1
    return n
