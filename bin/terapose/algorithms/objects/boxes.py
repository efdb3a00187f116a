"""Bounding boxes of the objects of a label image.

`scipy.ndimage.find_objects` does the same, but importing it takes a quarter of a second of the half
that a task otherwise needs to start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.windows import grow_boxes


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
    if count is None:
        count = int(labels.max(initial=0))
    lacking = 3 - labels.ndim
    boxes = np.zeros((count, 6), np.int64)
    ids = np.arange(1, count + 1, dtype=np.int64)
    grow_boxes(labels.reshape((1,) * lacking + labels.shape), (0, 0, 0), ids, boxes)
    return [
        tuple(map(slice, box[lacking:3], box[3 + lacking :])) if box[-1] else None
        for box in boxes.tolist()
    ]
