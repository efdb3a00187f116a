"""Which chunks of an array in a store hold a box, and what their files are called.

The leading axis of an array with components is one chunk.
"""

from __future__ import annotations

import itertools
from typing import Any

import zarr

from terapose.core.geometry import Box, zyx


def chunk_boxes(array: zarr.Array[Any], box: Box) -> list[Box]:
    """The ZYX boxes of the chunks that hold a ZYX box, cut off at the end of the array."""
    edges, shape = array.chunks[-3:], zyx(array.shape[-3:])
    places = itertools.product(*_runs(array, box))
    starts = [zyx(n * c for n, c in zip(at, edges, strict=True)) for at in places]
    return [
        Box(start, zyx(a + c for a, c in zip(start, edges, strict=True))).clip(shape)
        for start in starts
    ]


def chunk_names(array: zarr.Array[Any], name: str, box: Box) -> list[str]:
    """Names of the files of these chunks, in the same order.

    Parameters
    ----------
    array, name
        The array, and its name in the store.
    box
        ZYX box.
    """
    lead = "0/" * (array.ndim - 3)
    return [f"{name}/c/{lead}{z}/{y}/{x}" for z, y, x in itertools.product(*_runs(array, box))]


def _runs(array: zarr.Array[Any], box: Box) -> list[range]:
    """Numbers of the chunks, along each axis, that hold a ZYX box."""
    return [
        range(a // c, -(-b // c))
        for a, b, c in zip(box.start, box.stop, array.chunks[-3:], strict=True)
    ]
