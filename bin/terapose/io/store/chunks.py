"""Which chunks of an array in a store hold a box, and what their files are called.

The leading axis of an array with components is one chunk. A file holds one chunk, or, on a local
disk, a *pack* of neighbouring ones: file systems and quotas count files. A pack ends, along each
axis, wherever a multiple of one of a few numbers is (`terapose.core.geometry.cut`): where boxes of
those who write and drop it end, so that nobody ever has a part of one. It is called like the first
chunk in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from terapose.core.geometry import Box, cut, zyx
from terapose.io.store.arrays import ArrayInfo


class File(NamedTuple):
    """A file of an array.

    Attributes
    ----------
    key
        Its name within the array.
    box
        The ZYX box that it holds, cut off at the end of the array.
    chunks
        The names of the chunks in it, in order, and their boxes.
    """

    key: str
    box: Box
    chunks: list[tuple[str, Box]]


def files_of(array: ArrayInfo, box: Box) -> list[File]:
    """The files of an array that hold a ZYX box."""
    if array.packs is None:
        return [File(key, chunk, [(key, chunk)]) for key, chunk in chunks_of(array, box)]
    if not box.size:
        return []
    shape = zyx(array.shape[-3:])
    sides = list(zip(box.start, box.stop, array.packs, strict=True))
    start = zyx(max(a // n * n for n in edges) for a, _, edges in sides)
    stop = zyx(min(-(-b // n) * n for n in edges) for _, b, edges in sides)
    found = []
    for part in cut(Box(start, stop).clip(shape), array.packs):
        chunks = chunks_of(array, part)
        found.append(File(chunks[0][0], part, chunks))
    return found


def chunks_of(array: ArrayInfo, box: Box) -> list[tuple[str, Box]]:
    """The chunks of an array that hold a ZYX box.

    Returns
    -------
    list of (str, Box)
        The name of each chunk within the array, and its ZYX box, cut off at the end of the array.
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
    """Whether a ZYX box cuts no file."""
    packs: Sequence[Sequence[int]] = array.packs or [(c,) for c in array.chunks[-3:]]
    axes = zip(box.start, box.stop, packs, array.shape[-3:], strict=True)
    return all(
        any(a % n == 0 for n in edges) and (b == length or any(b % n == 0 for n in edges))
        for a, b, edges, length in axes
    )


def _runs(array: ArrayInfo, box: Box) -> list[range]:
    """Numbers of the chunks, along each axis, that hold a ZYX box."""
    return [
        range(a // c, -(-b // c))
        for a, b, c in zip(box.start, box.stop, array.chunks[-3:], strict=True)
    ]
