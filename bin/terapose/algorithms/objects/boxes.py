"""Bounding boxes of the objects of a label image.

`scipy.ndimage.find_objects` does the same, but importing it takes a quarter of a second of the half
that a task otherwise needs to start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.windows import grow_boxes
from terapose.io.compiled import njit


def object_boxes(labels: NDArray[np.integer], count: int | None = None) -> list[Any]:
    """Bounding box of each object.

    Parameters
    ----------
    labels
        Label image, shape (Z, Y, X) or (Y, X), any integer type; 0 is background.
    count
        Labels above it are left out; None takes all.

    Returns
    -------
    list
        For the labels from 1 on, a tuple of slices, one for each axis; None where there is no such
        object.
    """
    lacking = 3 - labels.ndim
    return [
        tuple(map(slice, box[lacking:3], box[3 + lacking :])) if box[-1] else None
        for box in box_table(labels, count).tolist()
    ]


def box_table(labels: NDArray[np.integer], count: int | None = None) -> NDArray[np.int64]:
    """Bounding boxes as a table.

    Parameters
    ----------
    labels, count
        As of `object_boxes`.

    Returns
    -------
    (N, 6) int64
        For the labels from 1 on, the first voxel and the first after the box (ZYX, ZYX); zeros
        where there is no such object.
    """
    if count is None:
        count = int(labels.max(initial=0))
    boxes = np.zeros((count, 6), np.int64)
    ids = np.arange(1, count + 1, dtype=np.int64)
    grow_boxes(labels.reshape((1,) * (3 - labels.ndim) + labels.shape), (0, 0, 0), ids, boxes)
    return boxes


@njit
def cut_out(local, number, box, deep):  # type: ignore[no-untyped-def]
    """An object in its own box, for kernels.

    Parameters
    ----------
    local
        (Z, Y, X) objects.
    number, box
        The object, and its row of `box_table`.
    deep
        Voxels of padding along Z, 0 or 1; along Y and X there is one.

    Returns
    -------
    inside : (N,) bool
        The padded box, flat.
    places : (M,) int64
        Where that is True.
    row, plane : int
        How far apart neighbours along Y and Z are.
    """
    z0, y0, x0, z1, y1, x1 = box
    height, width = y1 - y0 + 2, x1 - x0 + 2
    inside = np.zeros((z1 - z0 + 2 * deep) * height * width, np.bool_)
    for z in range(z0, z1):
        for y in range(y0, y1):
            first = ((z - z0 + deep) * height + y - y0 + 1) * width + 1 - x0
            for x in range(x0, x1):
                inside[first + x] = local[z, y, x] == number
    return inside, np.flatnonzero(inside), width, width * height
