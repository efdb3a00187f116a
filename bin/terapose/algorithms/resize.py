"""Linear resizing of a region as if the whole image were resized.

Cellpose resizes with ``cv2.resize(..., INTER_LINEAR)``: a new voxel ``i`` is at
``(i + 0.5) * old / new - 0.5`` in the old image and is the weighted mean of the two neighbours
(no smoothing when shrinking). Which voxels those are depends on the sizes of the *whole* image;
a block resized by itself would be shifted. So everything here takes whole lengths and a range.

Axes are resized one after another in the order X, Y, Z, each rounded to float32, as OpenCV does
with planes and Cellpose with stacks (`cellpose.transforms.resize_image_3d`: planes YX, then ZX).
OpenCV 5 has two ways, and we follow the bits of both:

1. planes of 1, 3 or 4 channels that are at least 2 voxels long both ways (Intel's library):
   positions in float64, ``a + (b - a) * weight`` with one rounding;
2. all other planes (its own loops): positions in float32, ``a * (1 - weight) + b * weight`` with
   every step rounded; where both axes shrink to exactly a half, the mean of four voxels.

Way 1 is that of processors with AVX2 or AVX-512. There, planes of 3 or 4 channels enlarged ninefold
or more along X have bits of their own in the columns left of the first and right of the last old
voxel, in runs that depend on the processor; there we are up to one unit in the last place off.
Halo: one voxel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Box


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
    at = (np.arange(start, stop) + 0.5) * (old / new) - 0.5
    left = np.floor(at).astype(np.int64)
    weight = (at - left).astype(np.float32)
    outside = (left < 0) | (left >= old - 1)
    weight[outside] = 0
    left = np.clip(left, 0, old - 1)
    return left, np.minimum(left + 1, old - 1), weight


def _own_taps(
    old: int, new: int, start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """`taps` of OpenCV's own loops; outside, both neighbours are the same voxel."""
    # 1 / (new / old), not old / new: the last bit of OpenCV's scale
    at = ((np.arange(start, stop) + 0.5) * (1.0 / (new / old)) - 0.5).astype(np.float32)
    left = np.floor(at).astype(np.int64)
    weight = at - left.astype(np.float32)
    return np.clip(left, 0, old - 1), np.clip(left + 1, 0, old - 1), weight


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


def resize(
    values: NDArray[np.float32], box: Box, old: ZYX, new: ZYX, channels: int = 1
) -> NDArray[np.float32]:
    """Resize a region.

    Parameters
    ----------
    values
        (..., Z, Y, X) float32: the old image in ``source_box(box, old, new)``.
    box
        Region of the new image.
    old, new
        Shapes of the whole images.
    channels
        Number of channels of the array that Cellpose resizes: 1, 3 and 4 are alike.

    Returns
    -------
    (..., Z, Y, X) float32
        The new image in ``box``.
    """
    origin = source_box(box, old, new).start
    between = (old[0], new[1], new[2])
    values = _planes(values, 1, box, origin, old, between, channels)
    return _planes(values, 0, box, origin, between, new, channels)


def _planes(
    values: NDArray[np.float32],
    row: int,
    box: Box,
    origin: ZYX,
    old: ZYX,
    new: ZYX,
    channels: int,
) -> NDArray[np.float32]:
    """One ``cv2.resize`` of the planes whose axes are ``row`` and X."""
    fused = channels in (1, 3, 4) and min(old[row], old[2]) > 1
    if not fused and old[row] == 2 * new[row] and old[2] == 2 * new[2]:
        return _halve(values, row)
    for axis in (2, row):
        if old[axis] == new[axis]:
            continue
        find = taps if fused else _own_taps
        left, right, weight = find(old[axis], new[axis], box.start[axis], box.stop[axis])
        if axis == 2:
            weight[left == right] = 0  # OpenCV does so along rows, but not across
        # float32 positions can round up to the last voxel read: weight 0, neighbour not needed
        right = np.minimum(right, origin[axis] + values.shape[axis - 3] - 1)
        along = [1, 1, 1]
        along[axis] = -1
        w = weight.reshape(along)
        shape = list(values.shape)
        shape[axis - 3] = len(left)
        result = np.empty(shape, np.float32)
        # one component at a time: fused sums are float64 before they are rounded
        for part in np.ndindex(*values.shape[:-3]):
            a = np.take(values[part], left - origin[axis], axis=axis)
            b = np.take(values[part], right - origin[axis], axis=axis)
            if fused:
                result[part] = a + (b - a).astype(np.float64) * w
            else:
                result[part] = a * (1 - w) + b * w
        values = result
    return values


def _halve(values: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    """Mean of two by two voxels, added in the order of OpenCV."""
    axis = row - 3
    even = np.arange(0, values.shape[axis], 2)
    top, bottom = np.take(values, even, axis), np.take(values, even + 1, axis)
    total = top[..., ::2] + top[..., 1::2] + bottom[..., ::2] + bottom[..., 1::2]
    return total * np.float32(0.25)
