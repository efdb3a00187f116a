"""Linear resizing of a region as if the whole image had been resized.

Cellpose resizes with ``cv2.resize(..., INTER_LINEAR)``: a new voxel ``i`` lies at
``(i + 0.5) * old / new - 0.5`` in the old image and is the weighted mean of its two neighbours
(no smoothing when shrinking). Which voxels those are depends on the sizes of the *whole* image;
a block resized by itself would be shifted. So everything here takes whole lengths and a range.

Axes are resized one after another in the order X, Y, Z, each rounded to float32, as OpenCV does
with planes and Cellpose with stacks (`cellpose.transforms.resize_image_3d`). OpenCV 5 finds
positions in float64 and adds ``a + (b - a) * weight`` with one rounding; so do we, and the bits are
the same. (OpenCV 4 finds positions in float32: up to 2e-5 of the intensities off.) Halo: one voxel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.geometry import ZYX, Box


def taps(
    old: int, new: int, start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Neighbours and weights of new voxels ``start..stop`` along one axis.

    Returns
    -------
    left, right : int64
        Indices into the whole old axis.
    weight : float32
        Weight of ``right``; that of ``left`` is ``1 - weight``.
    """
    # 1 / (new / old), not old / new: the last bit of OpenCV's scale
    at = (np.arange(start, stop) + 0.5) * (1.0 / (new / old)) - 0.5
    left = np.floor(at).astype(np.int64)
    weight = (at - left).astype(np.float32)
    outside = (left < 0) | (left >= old - 1)
    weight[outside] = 0
    left = np.clip(left, 0, old - 1)
    return left, np.minimum(left + 1, old - 1), weight


def source_box(box: Box, old: ZYX, new: ZYX) -> Box:
    """The box of the old image that `resize` needs for ``box`` of the new one."""
    start, stop = [], []
    for n_old, n_new, a, b in zip(old, new, box.start, box.stop, strict=True):
        if n_old == n_new:
            start.append(a)
            stop.append(b)
            continue
        left, right, _ = taps(n_old, n_new, a, b)
        start.append(int(left[0]))
        stop.append(int(right[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def resize(values: NDArray[np.float32], box: Box, old: ZYX, new: ZYX) -> NDArray[np.float32]:
    """Resize a region.

    Parameters
    ----------
    values
        (..., Z, Y, X) float32: the old image in ``source_box(box, old, new)``.
    box
        Region of the new image.
    old, new
        Shapes of the whole images.

    Returns
    -------
    (..., Z, Y, X) float32
        The new image in ``box``.
    """
    origin = source_box(box, old, new).start
    for axis in (2, 1, 0):
        if old[axis] == new[axis]:
            continue
        left, right, weight = taps(old[axis], new[axis], box.start[axis], box.stop[axis])
        along = [1, 1, 1]
        along[axis] = -1
        w = weight.reshape(along)
        shape = list(values.shape)
        shape[axis - 3] = len(left)
        result = np.empty(shape, np.float32)
        # one component at a time: sums are float64 before they are rounded
        for part in np.ndindex(*values.shape[:-3]):
            a = np.take(values[part], left - origin[axis], axis=axis)
            b = np.take(values[part], right - origin[axis], axis=axis)
            result[part] = a + (b - a).astype(np.float64) * w
        values = result
    return values
