"""Count end points, find seeds, grow them, and give every voxel its seed.

As `cellpose.dynamics.get_masks_torch` does it on the whole image:

1. the histogram counts how many points end in each voxel;
2. a seed is a voxel that holds more than 10 end points and as many as any other voxel of the
   5-wide window around it;
3. a seed grows five times by one voxel in all directions, into voxels that hold more than 2;
4. where grown seeds meet, the one with more end points wins, and between equals the one with the
   larger linear index (Cellpose leaves equals to an unstable sort);
5. a voxel belongs to the seed that holds its end point.

Planes that are segmented by themselves (``flat``) have windows and growth in the plane alone.

All of it depends on nothing farther than ``WINDOW + GROWTH`` voxels from an end point, so a box
with that margin gives the same result as the whole image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit

LEAST_SEED = 10
LEAST_GROWN = 2
GROWTH = 5
PEAK = 2
"""Half width of the window in which a seed has to be the maximum."""


@njit
def _count(ends, origin, shape, counts):  # type: ignore[no-untyped-def]
    for i in range(ends.shape[0]):
        z, y, x = ends[i, 0] - origin[0], ends[i, 1] - origin[1], ends[i, 2] - origin[2]
        if 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]:
            counts[z, y, x] += 1


def count_ends(
    ends: NDArray[np.int32], origin: tuple[int, int, int], shape: tuple[int, int, int]
) -> NDArray[np.int32]:
    """Histogram of end points in a box; points that end elsewhere are left out.

    Parameters
    ----------
    ends
        (N, 3) int32 voxels of the image (ZYX).
    origin, shape
        The box.

    Returns
    -------
    (Z, Y, X) int32
    """
    counts = np.zeros(shape, np.int32)
    _count(ends, origin, shape, counts)
    return counts


@njit
def _is_highest(counts, z, y, x, deep):  # type: ignore[no-untyped-def]
    depth, height, width = counts.shape
    for k in range(max(z - deep, 0), min(z + deep + 1, depth)):
        for j in range(max(y - PEAK, 0), min(y + PEAK + 1, height)):
            for i in range(max(x - PEAK, 0), min(x + PEAK + 1, width)):
                if counts[k, j, i] > counts[z, y, x]:
                    return False
    return True


@njit
def _find(counts, deep, seeds):  # type: ignore[no-untyped-def]
    depth, height, width = counts.shape
    n = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if counts[z, y, x] > LEAST_SEED and _is_highest(counts, z, y, x, deep):
                    seeds[n, 0], seeds[n, 1], seeds[n, 2] = z, y, x
                    n += 1
    return n


def find_seeds(counts: NDArray[np.int32], *, flat: bool = False) -> NDArray[np.int64]:
    """Voxels of a histogram that are seeds, in C order.

    Parameters
    ----------
    counts
        (Z, Y, X) int32 histogram. Within `PEAK` voxels of a cut face the answer may be wrong.
    flat
        Whether planes are independent.

    Returns
    -------
    (N, 3) int64 ZYX, relative to ``counts``.
    """
    seeds = np.empty((int(np.count_nonzero(counts > LEAST_SEED)), 3), np.int64)
    return seeds[: _find(counts, 0 if flat else PEAK, seeds)].copy()


@njit
def _grow(counts, seeds, order, owner, deep):  # type: ignore[no-untyped-def]
    nz, ny, nx = counts.shape
    width = 2 * GROWTH + 1
    seen = np.zeros((width, width, width), np.int32)
    front = np.empty((width**3, 3), np.int64)
    for turn in range(order.shape[0]):
        seed = order[turn]
        cz, cy, cx = seeds[seed, 0], seeds[seed, 1], seeds[seed, 2]
        front[0, 0], front[0, 1], front[0, 2] = cz, cy, cx
        seen[GROWTH, GROWTH, GROWTH] = turn + 1
        owner[cz, cy, cx] = seed
        begin, end = 0, 1
        for _ in range(GROWTH):
            last = end
            for k in range(begin, last):
                for dz in range(-deep, deep + 1):
                    z = front[k, 0] + dz
                    if z < 0 or z >= nz:
                        continue
                    for dy in range(-1, 2):
                        y = front[k, 1] + dy
                        if y < 0 or y >= ny:
                            continue
                        for dx in range(-1, 2):
                            x = front[k, 2] + dx
                            if x < 0 or x >= nx or counts[z, y, x] <= LEAST_GROWN:
                                continue
                            wz, wy, wx = z - cz + GROWTH, y - cy + GROWTH, x - cx + GROWTH
                            if seen[wz, wy, wx] == turn + 1:
                                continue
                            seen[wz, wy, wx] = turn + 1
                            owner[z, y, x] = seed
                            front[end, 0], front[end, 1], front[end, 2] = z, y, x
                            end += 1
            begin = last


def grow_seeds(
    counts: NDArray[np.int32],
    seeds: NDArray[np.int64],
    rank: NDArray[np.int64],
    *,
    flat: bool = False,
) -> NDArray[np.int32]:
    """Grow seeds in a histogram.

    Parameters
    ----------
    counts
        (Z, Y, X) int32 histogram.
    seeds
        (N, 3) int64 ZYX, relative to ``counts`` and inside of it.
    rank
        (N,) int64: who wins where grown seeds meet; the higher one does.
    flat
        Whether planes are independent.

    Returns
    -------
    (Z, Y, X) int32
        Row of the seed that owns each voxel, -1 where none does.
    """
    owner = np.full(counts.shape, -1, np.int32)
    if len(seeds):
        _grow(counts, seeds, np.argsort(rank, kind="stable"), owner, 0 if flat else 1)
    return owner


@njit
def _assign(starts, ends, owner, origin, ids, label_origin, labels):  # type: ignore[no-untyped-def]
    for i in range(starts.shape[0]):
        seed = owner[ends[i, 0] - origin[0], ends[i, 1] - origin[1], ends[i, 2] - origin[2]]
        if seed >= 0:
            labels[
                starts[i, 0] - label_origin[0],
                starts[i, 1] - label_origin[1],
                starts[i, 2] - label_origin[2],
            ] = ids[seed]


def assign(
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
    owner: NDArray[np.int32],
    owner_origin: tuple[int, int, int],
    ids: NDArray[np.unsignedinteger],
    labels: NDArray[np.unsignedinteger],
    label_origin: tuple[int, int, int],
) -> None:
    """Write the ID of the seed that holds its end point into each start voxel.

    Parameters
    ----------
    starts, ends
        (N, 3) int32 voxels of the image (ZYX); all ends are in the box of ``owner``.
    owner, owner_origin
        Box of grown seeds from `grow_seeds` and where it starts in the image.
    ids
        (S,) ID of each seed.
    labels, label_origin
        Label image to write to and where it starts in the image.
    """
    _assign(starts, ends, owner, owner_origin, ids, label_origin, labels)
