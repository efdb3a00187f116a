"""Walk a group of points through a flow field, a step of all of them at a time.

What is the same for each point is done for many at once: `_locate_in_volume` and `_locate_in_plane`
find the cells of the grid and the weights, `_move` adds the flows. Their loops have no branches,
and all that they read and write of points is in one array, in rows of a fixed length: so the
compiler makes vector instructions of them. What differs, flows and sinks, is read by `_sample`,
point by point. Points that have stopped make room for others that have not (`_drop`), so no point
waits for another one's last step.

What is rounded where is said in `terapose.algorithms.flows.follow`.
"""

from __future__ import annotations

import numba
import numpy as np

from terapose.algorithms.flows.balls import CENTRE, NEXT
from terapose.algorithms.flows.sampling import (
    HALF,
    ONE,
    RIM,
    TWO,
    ZERO,
    F,
    clamp,
    known,
    sample_plane,
    sample_volume,
    source,
)
from terapose.algorithms.flows.sinks import is_caught, reach_of
from terapose.io.compiled import njit

GROUP = 2048
"""Points that are followed together: what is known of them fits into a processor's second cache."""
_ROW = GROUP + 16
"""Length of a row: no multiple of 4,096 bytes is between two rows, which processors would take for
the same place."""
_Y, _X, _START, _PAST, _FAR, _WEIGHT, _FLOW = (n * _ROW for n in (1, 2, 3, 6, 9, 10, 18))
_ROWS = 21
"""Where rows begin: positions (those along Z at 0); ZYX where points started; positions at the step
that is remembered; excursions; the weights of the corners of a cell; ZYX of flows."""
_LATE = 32
"""The step after which sinks are looked for half as often: every eighth time. A few steps too many
cost less than to look more often."""
_LEFT, _INSIDE, _NOWHERE, _STOPPED = 0, 1, 2, 3
"""States of a point: beyond what is known; inside; where flows are no numbers a position is none
either; it has moved for the last time."""


@njit
def _begin(s, who, starts, halves, planar):  # type: ignore[no-untyped-def]
    """Positions in [-1, 1] of voxels; in a plane z is not followed: it stays 0."""
    for j in range(len(starts)):
        who[j] = j
        for k in range(3):
            start = F(starts[j, k])
            at = ZERO if planar and k == 0 else start / halves[k] * TWO - ONE
            s[k * _ROW + j], s[_START + k * _ROW + j] = at, start
            s[_PAST + k * _ROW + j] = F(9)
        s[_FAR + j] = ZERO


# not inlined by numba itself: of the loop around it there would be no vector instructions
@njit
def _note(s, cells, state, j, iz, iy, ix, z0, y0, x0, low, high):  # type: ignore[no-untyped-def]
    """Note a point's excursion, its cell and whether that is known."""
    dz, dy = abs(iz - s[_START + j]), abs(iy - s[_START + _ROW + j])
    s[_FAR + j] = max(s[_FAR + j], dz, dy, abs(ix - s[_START + 2 * _ROW + j]))
    inside = (z0 >= low[0]) & (z0 <= high[0]) & (y0 >= low[1]) & (y0 <= high[1])
    inside &= (x0 >= low[2]) & (x0 <= high[2])
    nowhere = (iz != iz) | (iy != iy) | (ix != ix)
    state[j] = _INSIDE if inside else (_NOWHERE if nowhere else _LEFT)
    cells[j] = np.int32(z0 if inside else low[0])
    cells[_Y + j] = np.int32(y0 if inside else low[1])
    cells[_X + j] = np.int32(x0 if inside else low[2])


@njit
def _locate_in_plane(s, cells, state, moving, sizes, low, high):  # type: ignore[no-untyped-def]
    """Find the cell of each point, the weights of the corners, and whether the cell is known."""
    for j in range(moving):
        iy, ix = source(s[_Y + j], sizes[1], True), source(s[_X + j], sizes[2], True)
        iz, y0, x0 = s[_START + j], np.floor(iy), np.floor(ix)
        _note(s, cells, state, j, iz, iy, ix, iz, y0, x0, low, high)
        y1, x1 = iy - y0, ix - x0
        y2, x2 = ONE - y1, ONE - x1
        s[_WEIGHT + j], s[_WEIGHT + _ROW + j] = x2 * y2, x1 * y2
        s[_WEIGHT + 2 * _ROW + j], s[_WEIGHT + 3 * _ROW + j] = x2 * y1, x1 * y1


@njit
def _locate_in_volume(s, cells, state, moving, sizes, low, high):  # type: ignore[no-untyped-def]
    """The same with a flow along Z."""
    for j in range(moving):
        iz, iy = source(s[j], sizes[0], False), source(s[_Y + j], sizes[1], False)
        ix = source(s[_X + j], sizes[2], False)
        z0, y0, x0 = np.floor(iz), np.floor(iy), np.floor(ix)
        _note(s, cells, state, j, iz, iy, ix, z0, y0, x0, low, high)
        z1, z2 = iz - z0, z0 + ONE - iz
        y1, y2, x1, x2 = iy - y0, y0 + ONE - iy, ix - x0, x0 + ONE - ix
        a, b, c, d = x2 * y2, x1 * y2, x2 * y1, x1 * y1
        s[_WEIGHT + j], s[_WEIGHT + _ROW + j] = a * z2, b * z2
        s[_WEIGHT + 2 * _ROW + j], s[_WEIGHT + 3 * _ROW + j] = c * z2, d * z2
        s[_WEIGHT + 4 * _ROW + j], s[_WEIGHT + 5 * _ROW + j] = a * z1, b * z1
        s[_WEIGHT + 6 * _ROW + j], s[_WEIGHT + 7 * _ROW + j] = c * z1, d * z1


@njit
def _sample(s, cells, state, moving, who, place, sinks, caught):  # type: ignore[no-untyped-def]
    """Read the flow of each point that is known, unless a sink has caught it."""
    field, origin, shape, planar = place
    rows, marks, shrunk, is_looked = sinks
    base, row = np.uintp(field.ctypes.data), np.int64(field.shape[2])
    plane = row * field.shape[1]
    for j in range(moving):
        if state[j] != _INSIDE:
            continue
        lz, ly = cells[j] - origin[0] + 1, cells[_Y + j] - origin[1] + 1
        lx = cells[_X + j] - origin[2] + 1
        if is_looked:
            sink, z, y, x = np.int64(marks[lz, ly, lx]), s[j], s[_Y + j], s[_X + j]
            while sink >= 0 and not is_caught(rows[sink], z, y, x, shape, planar, shrunk):
                sink = np.int64(rows[sink, NEXT])
            if sink >= 0:
                caught[who[j]], state[j] = sink, _STOPPED
                continue
        at, w = lz * plane + ly * row + lx, _WEIGHT + j
        if planar:
            flow = sample_plane(base, at, row, s[w], s[w + _ROW], s[w + 2 * _ROW], s[w + 3 * _ROW])
            s[_FLOW + _ROW + j], s[_FLOW + 2 * _ROW + j] = flow
        else:
            flow = sample_volume(
                base, at, row, plane, s[w], s[w + _ROW], s[w + 2 * _ROW], s[w + 3 * _ROW],
                s[w + 4 * _ROW], s[w + 5 * _ROW], s[w + 6 * _ROW], s[w + 7 * _ROW],
            )  # fmt: skip
            s[_FLOW + j], s[_FLOW + _ROW + j], s[_FLOW + 2 * _ROW + j] = flow


@njit
def _move(s, state, last, moving, steps, tolerances):  # type: ignore[no-untyped-def]
    """Add the flows, and see which points have come to rest or back to where they were."""
    t, niter, remembered = steps
    # in a cycle of as many steps, of those that are left the remainder is made
    in_cycle = np.int32(t + (niter - t) % (t - remembered))
    for j in range(moving):
        z, y, x, inside = s[j], s[_Y + j], s[_X + j], state[j] == _INSIDE
        mz, my = clamp(z + s[_FLOW + j]), clamp(y + s[_FLOW + _ROW + j])
        mx = clamp(x + s[_FLOW + 2 * _ROW + j])
        back = (mz == s[_PAST + j]) & (my == s[_PAST + _ROW + j]) & (mx == s[_PAST + 2 * _ROW + j])
        end = in_cycle if back & (last[j] == niter) else last[j]
        still = (abs(mz - z) <= tolerances[0]) & (abs(my - y) <= tolerances[1])
        still &= abs(mx - x) <= tolerances[2]
        last[j] = end
        state[j] = _STOPPED if inside & (still | (t >= end)) else state[j]
        s[j], s[_Y + j], s[_X + j] = mz if inside else z, my if inside else y, mx if inside else x


@njit
def _drop(s, state, who, last, moving, found):  # type: ignore[no-untyped-def]
    """Note where points have stopped, and put the last ones in their places; how many move on."""
    places, far, lost = found
    j = 0
    while j < moving:
        if state[j] == _INSIDE:
            j += 1
            continue
        i = who[j]
        for k in range(3):
            places[i, k] = s[k * _ROW + j]
        far[i], lost[i] = s[_FAR + j], state[j] == _LEFT
        moving -= 1
        state[j], who[j], last[j] = state[moving], who[moving], last[moving]
        for k in range(_FAR // _ROW + 1):
            s[k * _ROW + j] = s[k * _ROW + moving]
    return moving


@njit
def _finish(starts, planar, halves, rows, caught, places):  # type: ignore[no-untyped-def]
    """Positions in voxels; of points in sinks the voxel's."""
    for i in range(len(starts)):
        for k in range(3):
            if caught[i] >= 0:
                places[i, k] = np.floor(rows[caught[i], CENTRE + k])
            elif planar and k == 0:
                places[i, k] = F(starts[i, k])
            else:
                places[i, k] = (places[i, k] + ONE) * HALF * halves[k]


@njit
def _walk(starts, walk, sinks, found):  # type: ignore[no-untyped-def]
    """Follow a group of points."""
    field, origin, shape, niter, planar, tolerance = walk
    rows, marks, decay = sinks
    places, far, lost, most = found
    sizes = F(shape[0]), F(shape[1]), F(shape[2])
    halves = F(shape[0] - 1), F(shape[1] - 1), F(shape[2] - 1)
    # in units of positions; an axis that is not followed may have a single voxel
    tz = ZERO if planar else tolerance * TWO / halves[0]
    tolerances = tz, tolerance * TWO / halves[1], tolerance * TWO / halves[2]
    nz, ny, nx = field.shape[0] - RIM, field.shape[1] - RIM, field.shape[2] - RIM
    kz = (0, nz - 1) if planar else known(origin[0], nz, shape[0])
    ky, kx = known(origin[1], ny, shape[1]), known(origin[2], nx, shape[2])
    low = F(kz[0] + origin[0]), F(ky[0] + origin[1]), F(kx[0] + origin[2])
    high = F(kz[1] + origin[0]), F(ky[1] + origin[1]), F(kx[1] + origin[2])
    moving = len(starts)
    s, cells = np.zeros(_ROWS * _ROW, np.float32), np.zeros(3 * _ROW, np.int32)
    state, who = np.zeros(moving, np.uint8), np.zeros(moving, np.int32)
    last, caught = np.full(moving, niter, np.int32), np.full(moving, -1, np.int64)
    _begin(s, who, starts, halves, planar)
    remembered, next_time = 0, 1
    for t in range(1, niter + 1):
        if moving == 0:
            break
        if planar:
            _locate_in_plane(s, cells, state, moving, sizes, low, high)
        else:
            _locate_in_volume(s, cells, state, moving, sizes, low, high)
        place, left = (field, origin, shape, planar), niter - t + 1
        # only where an even number of steps is left: points may go between two places
        is_looked = marks.size > 0 and left % (4 if t < _LATE else 8) == 0
        _sample(s, cells, state, moving, who, place, (rows, marks, decay[left], is_looked), caught)
        _move(s, state, last, moving, (t, niter, remembered), tolerances)
        moving = _drop(s, state, who, last, moving, (places, far, lost))
        if t == next_time:
            for k in range(3):
                for j in range(moving):
                    s[_PAST + k * _ROW + j] = s[k * _ROW + j]
            remembered, next_time = t, t + (8 if t < 32 else 24)
    state[:moving] = _STOPPED
    _drop(s, state, who, last, moving, (places, far, lost))
    for i in range(len(starts)):
        most[i] = far[i]
        if caught[i] >= 0:
            most[i] = max(far[i], reach_of(rows[caught[i]], starts[i], shape, planar))
    _finish(starts, planar, halves, rows, caught, places)


@njit(parallel=True)
def walk_all(  # type: ignore[no-untyped-def]
    field,
    origin,
    shape,
    starts,
    niter,
    planar,
    tolerance,
    rows,
    marks,
    decay,
    places,
    far,
    lost,
    most,
):
    """Follow all points; see `terapose.algorithms.flows.follow`."""
    for group in numba.prange((len(starts) + GROUP - 1) // GROUP):
        at = slice(group * GROUP, (group + 1) * GROUP)
        walk = (field, origin, shape, niter, planar, tolerance)
        _walk(starts[at], walk, (rows, marks, decay), (places[at], far[at], lost[at], most[at]))
