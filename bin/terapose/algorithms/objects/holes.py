"""Holes: voxels that an object encloses, as `fill_voids.fill` fills them.

In a volume it is `fill_voids` that says what these are. It also fills some voxels at edges of an
object's box that touch no other background: a definition of one's own would be another one. In a
plane holes are just the pixels that cannot be reached from outside through edges of pixels, and
`_enclosed` finds them at a third of the cost. It need not look at an object without a gap in any
row: what is enclosed has a pixel of the object on both sides in the row.
"""

from __future__ import annotations

from typing import Any

import fill_voids
import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.boxes import box_table, cut_out
from terapose.io.compiled import njit


@njit
def _gapped(local, count):  # type: ignore[no-untyped-def]
    """Whether an object of a plane has a gap in a row: by its number, less one."""
    depth, height, width = local.shape
    gapped, rows = np.zeros(count + 1, np.bool_), np.full(count + 1, -1)
    for row in range(depth * height):
        before = 0
        for x in range(width):
            number = local[row // height, row % height, x]
            if number != before and number:
                gapped[number] |= rows[number] == row
                rows[number] = row
            before = number
    return gapped[1:]


@njit
def _enclosed(local, number, box):  # type: ignore[no-untyped-def]
    """Linear indices, in C order, of what an object of a plane encloses."""
    inside, _, row, _ = cut_out(local, number, box, 0)
    # from a corner, all of the margin is reached
    reached = inside.copy()
    waiting = np.empty(len(inside), np.int64)
    waiting[0], count, reached[0] = 0, 1, True
    while count:
        count -= 1
        here = waiting[count]
        for there in (here + 1, here - 1, here + row, here - row):
            if 0 <= there < len(reached) and not reached[there]:
                reached[there] = True
                waiting[count] = there
                count += 1
    places = np.flatnonzero(~reached)
    _, height, width = local.shape
    for i in range(len(places)):
        y, x = places[i] // row - 1, places[i] % row - 1
        places[i] = (box[0] * height + box[1] + y) * width + box[2] + x
    return places


def _filled(local: NDArray[np.int32], number: int, box: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same of an object of a volume."""
    place = tuple(map(slice, box[:3], box[3:]))
    mask = local[place] == number
    added = np.argwhere(fill(mask, flat=False) & ~mask) + box[:3]
    places: NDArray[np.int64] = np.ravel_multi_index(tuple(added.T), local.shape).astype(np.int64)
    return places


def fill(mask: NDArray[np.bool_], *, flat: bool) -> NDArray[np.bool_]:
    """An object with its holes filled (`fill_voids.fill`): 6-connected, in a plane 4-connected."""
    return np.asarray(fill_voids.fill(mask[0])[np.newaxis] if flat else fill_voids.fill(mask), bool)


def find_holes(
    local: NDArray[np.int32], count: int, *, flat: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels that filling each object by itself would add.

    Parameters
    ----------
    local
        (Z, Y, X) int32: object ``n`` has the value ``n + 1``.
    count
        Number of objects.
    flat
        Whether each object is in one plane and is filled there.

    Returns
    -------
    rows : (H,) int64
        Object (``n``) whose hole a voxel is.
    voxels : (H, 3) int64
        ZYX in ``local``; a voxel of a nested object is named for each that encloses it.
    """
    enclosed: Any = _enclosed if flat else _filled
    boxes, nothing = box_table(local, count), np.zeros(0, np.int64)
    asked = _gapped(local, count) if flat else boxes[:, 3] > 0
    found = [
        enclosed(local, n, boxes[n - 1]) if is_asked else nothing
        for n, is_asked in enumerate(asked.tolist(), start=1)
    ]
    rows = np.repeat(np.arange(count), [len(places) for places in found])
    places = np.concatenate([nothing, *found])
    return rows, np.stack(np.unravel_index(places, local.shape), axis=1).astype(np.int64)
