"""Reading an image once, block by block, a little ahead of who uses it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Grid, zyx

K = TypeVar("K")

_ENOUGH = 2**21
"""Voxels worth a read of their own: 4 MiB of a 16-bit image."""
_FIT = 4


def blocks_of(shape: ZYX, *chunks: ZYX) -> Grid:
    """Blocks that cut no chunk of an image, or of several, so that each chunk is decoded once.

    Small chunks are joined along X first, then along Y: a table of cells mostly follows the rows
    of the image. Of chunks that do not fit into one another the larger ones stay whole.

    Parameters
    ----------
    shape
        (Z, Y, X) of the image.
    chunks
        (Z, Y, X) of the chunks of each image.
    """
    edges = []
    for axis, length in enumerate(shape):
        sizes = [min(chunk[axis], length) for chunk in chunks]
        common = math.lcm(*sizes)
        edges.append(min(length, common if common <= _FIT * max(sizes) else max(sizes)))
    for axis in (2, 1, 0):
        times = max(1, _ENOUGH // math.prod(edges))
        edges[axis] = min(shape[axis], edges[axis] * times)
    return Grid(shape, zyx(edges))


def read_ahead(
    requests: Iterable[tuple[K, Callable[[], NDArray[Any]]]], pool: Executor, ahead: int
) -> Iterator[tuple[K, NDArray[Any]]]:
    """Answer requests in their order, with some of them read ahead.

    Parameters
    ----------
    requests
        What is read, and the function that reads it.
    pool
        Who reads.
    ahead
        How many answers may wait, beside the one in use.
    """
    waiting: deque[tuple[K, Future[NDArray[Any]]]] = deque()
    for key, read in requests:
        waiting.append((key, pool.submit(read)))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()
