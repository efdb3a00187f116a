"""Which chunks of an array in a store hold a box, and what their files are called.

The leading axis of an array with components is one chunk.
"""

from __future__ import annotations

import itertools

from terapose.core.geometry import Box, zyx
from terapose.io.store.arrays import ArrayInfo


def chunk_boxes(array: ArrayInfo, box: Box) -> list[Box]:
    """The ZYX boxes of the chunks that hold a ZYX box, cut off at the end of the array."""
    edges, shape = array.chunks[-3:], zyx(array.shape[-3:])
    places = itertools.product(*_runs(array, box))
    starts = [zyx(n * c for n, c in zip(at, edges, strict=True)) for at in places]
    return [
        Box(start, zyx(a + c for a, c in zip(start, edges, strict=True))).clip(shape)
        for start in starts
    ]


def chunk_keys(array: ArrayInfo, box: Box) -> list[str]:
    """Names of the files of these chunks within the array, in the same order."""
    lead = "0/" * (array.ndim - 3)
    return [f"c/{lead}{z}/{y}/{x}" for z, y, x in itertools.product(*_runs(array, box))]


def is_aligned(array: ArrayInfo, box: Box) -> bool:
    """Whether a ZYX box cuts no chunk."""
    axes = zip(box.start, box.stop, array.chunks[-3:], array.shape[-3:], strict=True)
    return all(a % c == 0 and (b % c == 0 or b == n) for a, b, c, n in axes)


def _runs(array: ArrayInfo, box: Box) -> list[range]:
    """Numbers of the chunks, along each axis, that hold a ZYX box."""
    return [
        range(a // c, -(-b // c))
        for a, b, c in zip(box.start, box.stop, array.chunks[-3:], strict=True)
    ]
