"""Prove that a voxel, or a ball around a place, is a sink (`terapose.algorithms.flows.sinks`).

- **box**: a step from anywhere in the voxel ends in the voxel. Within a cell of the grid a step is
  linear along each axis, so where the corners of all parts go bounds where all of them go.
- **ball**: near the place, steps bring any two points closer by one of the factors ``SHRINK``, in a
  norm that is made for the place. So a point that is in the ball stays in it, and after the steps
  that are left it is closer than the nearest face of the voxel.
- **ball of two steps**: the same where a step leads away and the next one back, as where flows are
  so long that points pass the middle of a cell. Each of two such places has a ball.

The place is one that steps lead back to: Newton's method finds it near the end of a walk. The norm
is ``u' P u``, with ``P = sum of (J' ** k) (J ** k) / g ** 2k`` for the derivative ``J`` of a step
(or of two) at the place and ``g`` somewhat less than the factor: where that sum exists, a step
shrinks it. `proofs.inspect` looks at the rest of the ball, and at where it is after a first step.

Steps are those of the kernel, whose rounding is allowed for: a bound on what it adds to a step
(`proofs.slack`) is taken from each margin.
"""

from __future__ import annotations

import numpy as np

from terapose.algorithms.flows.proofs import (
    UNIT,
    blur_of,
    cuts_of,
    derivative_of,
    index_of,
    inspect,
    length_of,
    longest_in,
    norm_of,
    product,
    slack,
    solve,
    spread_of,
    step,
)
from terapose.algorithms.flows.sampling import within
from terapose.io.compiled import njit

SHRINK = (0.993, 0.985, 0.96, 0.92, 0.85, 0.7, 0.5)
"""How much closer a step brings points in a ball, at least. Weaker ones are proved for larger
balls; rounding adds less where steps shrink more, so a face of the voxel may be nearer."""
LEVELS = len(SHRINK)
_GOAL = (0.987, 0.975, 0.945, 0.9, 0.82, 0.66, 0.45)
"""The same at the middle, for which the norm is made."""
_SIZES = np.array([1.2, 0.6, 0.3, 0.12, 0.04, 0.015, 0.005])
"""Half edges of the balls' boxes that are tried, in voxels."""
BOX = float(LEVELS)
"""The kind of a box; that of a ball is which of the factors it has."""
KIND, CENTRE, SPREAD, NEXT, NORM, RADIUS, ROOM, REACH = 0, 1, 4, 7, 8, 17, 18, 19
"""Columns of a sink: the kind; ZYX; how far the sink reaches along each axis, in voxels; the row of
another sink in the same cells, or -1; the norm; the ball's squared radius; the squared distance,
less what rounding adds, to the nearest face of the voxel; how far from the centre its points get
along any axis."""
COLUMNS = 20
CORNERS = 512
"""Of parts of a box that are looked at, at most."""
_FITS, _TOO_LARGE, _NO_ROOM = 0, 1, 2
_ROUNDS = 4
"""Of Newton's method."""
_WIDEST = 3.0
"""Edge of a box that is looked at, at most, in voxels."""


@njit
def _inspect_plane(where, low, high, seen):  # type: ignore[no-untyped-def]
    """Do what `proofs.inspect` does, but for derivatives, for a pixel of a plane; False if unknown.

    Most sinks of planes are pixels, and this takes a quarter of the time. Slopes are those between
    pixels, which is as steep as it gets between them.
    """
    field, shape, origin, _, known = where
    _, hull, _, blurred, _ = seen
    cuts, blur, z = np.empty((2, 6)), np.zeros(3), np.int64(low[0]) - origin[0]
    blur_of(shape, high, blur)
    hull[0], hull[1], blurred[:] = np.inf, -np.inf, 0.0
    height, width = float(shape[1]), float(shape[2])
    rows = cuts_of(low[1], high[1], height, cuts[0])
    columns = cuts_of(low[2], high[2], width, cuts[1])
    for i in range(rows - 1):
        y = np.int64(np.floor(index_of((cuts[0, i] + cuts[0, i + 1]) / 2.0, height)))
        for j in range(columns - 1):
            x = np.int64(np.floor(index_of((cuts[1, j] + cuts[1, j + 1]) / 2.0, width)))
            at = y - origin[1], x - origin[2]
            if not (within(z, known[0]) and within(at[0], known[1]) and within(at[1], known[2])):
                return False
            for a in range(1, 3):
                half = (shape[a] - 1.0) / 2.0
                f = field[z + 1, at[0] + 1 : at[0] + 3, at[1] + 1 : at[1] + 3, a - 1]
                f0, f1, f2, f3 = f[0, 0] * half, f[0, 1] * half, f[1, 0] * half, f[1, 1] * half
                steps = max(abs(f2 - f0), abs(f3 - f1)), max(abs(f1 - f0), abs(f3 - f2))
                slope = steps[0] * height / (height - 1.0) * blur[1]
                blurred[a] = max(blurred[a], slope + steps[1] * width / (width - 1.0) * blur[2])
                for corner in range(4):
                    v, u = cuts[0, i + corner // 2], cuts[1, j + corner % 2]
                    q = min(max(index_of(v, height) - y, 0.0), 1.0)
                    p = min(max(index_of(u, width) - x, 0.0), 1.0)
                    flow = (1.0 - q) * ((1.0 - p) * f0 + p * f1) + q * ((1.0 - p) * f2 + p * f3)
                    moved = (v if a == 1 else u) + flow
                    hull[0, a], hull[1, a] = min(hull[0, a], moved), max(hull[1, a], moved)
    return True


@njit
def try_box(where, voxel, fastest, row, seen):  # type: ignore[no-untyped-def]
    """Try a whole voxel."""
    shape, planar = where[1], where[3]
    low, high, hull = voxel.copy(), voxel + 1.0, seen[1]
    if planar:
        high[0] = low[0]
        if not _inspect_plane(where, low, high, seen):
            return False
    elif inspect(where, low, high, seen[4][0], 0.0, seen[4][:0], seen) < 0:
        return False
    margin = 2.0 * slack(max(shape[0], shape[1], shape[2]), seen[3].max(), fastest)
    for a in range(1 if planar else 0, 3):
        if not (hull[0, a] >= low[a] + margin and hull[1, a] <= high[a] - margin):
            return False
    row[KIND] = BOX
    row[CENTRE : CENTRE + 3] = voxel + 0.5
    row[SPREAD : SPREAD + 3] = 0.5 - margin
    row[REACH], row[NEXT] = 0.5, -1.0
    return margin < 0.5


@njit
def go(where, steps, place, moved, derivative):  # type: ignore[no-untyped-def]
    """Where a few steps lead and their derivative; False where that is not known."""
    field, shape, origin, planar, known = where
    cell, slopes = np.zeros(3, np.int64), np.zeros((3, 3))
    next_one, moved[:], derivative[:] = np.zeros((3, 3)), place, np.eye(3)
    for _ in range(steps):
        at = moved.copy()
        for a in range(3):
            is_held = a == 0 and planar
            cell[a] = np.int64(at[a] if is_held else np.floor(index_of(at[a], float(shape[a]))))
            if not within(cell[a] - origin[a], known[a]):
                return False
        step(field, shape, origin, planar, at, cell, moved, slopes)
        derivative_of(slopes, planar, next_one)
        product(next_one, derivative.copy(), derivative)
    return True


@njit
def _settle(where, steps, place, moved, derivative):  # type: ignore[no-untyped-def]
    """Go to where steps lead back to (Newton's method), as close as may be; False if unknown."""
    voxel, nearer = np.floor(place), np.zeros(3)
    if not go(where, steps, place, moved, derivative):
        return False
    for _ in range(_ROUNDS):
        best = np.abs(moved - place).max()
        solve(derivative, moved - place, nearer)
        nearer += place
        if not (np.floor(nearer) == voxel).all() or not go(where, steps, nearer, moved, derivative):
            break
        if not np.abs(moved - nearer).max() < best:
            break
        place[:] = nearer
    return go(where, steps, place, moved, derivative)


@njit
def try_ball(where, steps, place, fastest, row, seen):  # type: ignore[no-untyped-def]
    """Try balls around where one or two steps lead back to, the largest first."""
    moved, derivative = np.zeros(3), np.zeros((3, 3))
    norm, spread = np.zeros((3, 3)), np.zeros(3)
    place = place.copy()
    if not _settle(where, steps, place, moved, derivative):
        return False
    level, size, made = 0, 0, -1
    while level < LEVELS and size < len(_SIZES):
        if made < level:
            if not norm_of(derivative, _GOAL[level] ** steps, norm):
                return False
            spread_of(norm, spread)
            made = level
        found = _fits(where, steps, place, moved, fastest, _SIZES[size], level, norm, spread, seen)
        if found[0] == _FITS:
            _write(row, level, place, norm, spread, found)
            return True
        if found[0] == _NO_ROOM:
            level += 1
        else:
            size += 1
    return False


@njit
def _fits(  # type: ignore[no-untyped-def]
    where, steps, place, moved, fastest, size, level, norm, spread, seen
):
    """Try a ball; returns whether it is one, its radius, its room, and how far its points get."""
    shape, planar = where[1], where[3]
    first = 1 if planar else 0
    room, radius, low, high = np.inf, size / spread[first:].max(), place.copy(), place.copy()
    for a in range(first, 3):
        face = min(place[a] - np.floor(place[a]), np.floor(place[a]) + 1.0 - place[a])
        room = min(room, (face - 2.0 * shape[a] * UNIT) / spread[a])
        low[a], high[a] = place[a] - radius * spread[a], place[a] + radius * spread[a]
    shrink, off = SHRINK[level] ** steps, length_of(norm, moved - place)
    if not off / (1.0 - shrink) < min(room, radius):
        return _NO_ROOM, radius, room, size
    derivatives, hull, steep, blurred, before = seen
    far, more, wrong = size, np.zeros(3), np.zeros(3)
    for n in range(1, steps + 1):
        for a in range(first, 3):
            if not (low[a] >= 0.0 and high[a] <= shape[a] - 1.0 and high[a] - low[a] <= _WIDEST):
                return _TOO_LARGE, radius, room, size
            far = max(far, place[a] - low[a], high[a] - place[a])
        count = inspect(
            where, low, high, norm, shrink**2, before if n == steps else before[:0], seen
        )
        if count < 0:
            return _TOO_LARGE, radius, room, size
        worst = wrong.max()
        for a in range(first, 3):
            more[a] = slack(shape[a], blurred[a], fastest)
            wrong[a] += worst * steep[a] + more[a]
            low[a], high[a] = hull[0, a] - more[a], hull[1, a] + more[a]
        before = derivatives[:count].copy()
    kept = (off + longest_in(norm, wrong)) / (1.0 - shrink)
    is_kept = kept < min(room, radius)
    return _FITS if is_kept else _NO_ROOM, radius, room - kept, far


@njit
def _write(row, kind, place, norm, spread, found):  # type: ignore[no-untyped-def]
    """Describe a ball that fits."""
    _, radius, room, far = found
    row[KIND], row[RADIUS], row[ROOM] = kind, radius * radius, room * room
    row[REACH], row[NEXT] = far, -1.0
    row[CENTRE : CENTRE + 3] = place
    row[SPREAD : SPREAD + 3] = spread * radius
    for a in range(9):
        row[NORM + a] = norm[a // 3, a % 3]
