"""Bounding boxes of the objects of a label image.

`scipy.ndimage.find_objects` does the same, but importing it takes a quarter of a second of the half
that a task otherwise needs to start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    if count is None:
        count = int(labels.max(initial=0))
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)
    start = np.full((count, 3), np.iinfo(np.int64).max, np.int64)
    stop = np.zeros((count, 3), np.int64)
    _extend(volume, start, stop)
    return [
        tuple(slice(a, b) for a, b in zip(first, last, strict=True)) if last[-1] else None
        for first, last in zip(
            start[:, 3 - labels.ndim :].tolist(), stop[:, 3 - labels.ndim :].tolist(), strict=True
        )
    ]


@njit
def _extend(volume, start, stop):  # type: ignore[no-untyped-def]
    """Extend boxes by the voxels of a label image; stretches of one label are taken at once."""
    depth, height, width = volume.shape
    for z in range(depth):
        for y in range(height):
            x = 0
            while x < width:
                label = volume[z, y, x]
                end = x + 1
                while end < width and volume[z, y, end] == label:
                    end += 1
                if 0 < label <= len(start):
                    n = label - 1
                    start[n, 0] = min(start[n, 0], z)
                    start[n, 1] = min(start[n, 1], y)
                    start[n, 2] = min(start[n, 2], x)
                    stop[n, 0] = max(stop[n, 0], z + 1)
                    stop[n, 1] = max(stop[n, 1], y + 1)
                    stop[n, 2] = max(stop[n, 2], end)
                x = end
