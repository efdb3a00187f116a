"""Which chunks of an array share a file of the store: packs (`terapose.io.store.chunks`).

File systems and quotas count files: a terabyte of voxels would be four million chunks for each sum
of the network's passes. A pack is written as a whole by one task, and dropped by one, so it ends
wherever a box of theirs does; within these it is as large as a task that adds up sums can hold in
memory.
"""

from __future__ import annotations

import math

from terapose.core.geometry import ZYX
from terapose.io.store.arrays import Packs
from terapose.pipeline.sizes import MOST_PACK


def choose_packs(shape: ZYX, chunk: ZYX, itemsize: int, *boxes: ZYX) -> Packs:
    """Which chunks of an array share a file of the store (`terapose.io.store.chunks`).

    Parameters
    ----------
    shape, chunk
        (Z, Y, X) of the array and its chunks.
    itemsize
        Bytes of a voxel, all components.
    boxes
        Shapes of the boxes of whoever writes it, drops it or mostly reads it: a pack is part of
        one of each. Those that do not end where chunks do are rounded.
    """
    edges = []
    for length, c, lengths in zip(shape, chunk, zip(*boxes, strict=True), strict=True):
        ends = {max(c, n // c * c) for n in lengths if n < length}
        edges.append(ends or {-(-length // c) * c})
    while itemsize * math.prod(map(min, shape, map(min, edges))) > MOST_PACK:
        # the axis with most chunks is cut once more
        counts = [min(ends) // c for ends, c in zip(edges, chunk, strict=True)]
        axis = counts.index(max(counts))
        if counts[axis] == 1:
            break
        edges[axis].add(-(-counts[axis] // 2) * chunk[axis])
    z, y, x = (tuple(sorted(ends)) for ends in edges)
    return (z, y, x)
