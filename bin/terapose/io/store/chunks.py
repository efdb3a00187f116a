"""Which chunks of an array in a store hold a box, and what their files are called.

The leading axis of an array with components is one chunk.
"""

from __future__ import annotations

import itertools

from terapose.core.geometry import Box, zyx
from terapose.io.store.arrays import ArrayInfo


def chunks_of(array: ArrayInfo, box: Box) -> list[tuple[str, Box]]:
    """The chunks of an array that hold a ZYX box.

    Returns
    -------
    list of (str, Box)
        The name of each file within the array, and the ZYX box of the chunk, cut off at the end of
        the array.
    """
    edges, shape = array.chunks[-3:], zyx(array.shape[-3:])
    lead = "0/" * (array.ndim - 3)
    found = []
    for place in itertools.product(*_runs(array, box)):
        start = zyx(n * c for n, c in zip(place, edges, strict=True))
        chunk = Box(start, zyx(a + c for a, c in zip(start, edges, strict=True)))
        found.append((f"c/{lead}{'/'.join(map(str, place))}", chunk.clip(shape)))
    return found


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
