"""Long columns in the store: arrays of numbers, of which parts are written and read.

Chunks are small, for what belongs to one block of an image is spread over a long column. On a local
disk, many of them share a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store

CHUNK = 2**14
"""Values of a chunk."""
_FILE = 2**18
"""Values of a file on a local disk, and those that are written together."""
Run = tuple[int, int]
"""The first of a run of rows, and the one after its last."""


class ColumnWriter:
    """Writes a long column as an array, some values at a time, so that parts of it can be read.

    Parameters
    ----------
    store, name
        Where to.
    total
        Number of values.
    dtype
        Their type.
    """

    def __init__(self, store: Store, name: str, total: int, dtype: Any) -> None:
        # a store array is ZYX: a column lies along X, padded so that there is one
        self._store, self._name, self._total = store, name, max(1, total)
        self._waiting: list[NDArray[Any]] = [np.zeros(0, dtype)]
        self._held = self._done = 0
        number = str(np.dtype(dtype))
        # a column below one chunk has a chunk of its own length
        packs = ((1,), (1,), (_FILE,)) if self._total > CHUNK else None
        store.create(name, (1, 1, self._total), (1, 1, CHUNK), number, INTEGER, packs)

    def add(self, values: NDArray[np.integer[Any]]) -> None:
        """Append values."""
        self._waiting.append(values)
        self._held += len(values)
        if self._held >= _FILE:
            self._write(self._held - self._held % _FILE)

    def close(self) -> None:
        """Write what is left; the column is complete then."""
        if self._done + self._held == 0:
            self.add(np.zeros(1, np.int64))
        self._write(self._held)
        if self._done != self._total:
            raise AssertionError(f"{self._name}: {self._done} values of {self._total}")

    def _write(self, count: int) -> None:
        """Write the first values of those that wait: whole files, or the end."""
        values = np.concatenate(self._waiting)
        if count:
            run = Box((0, 0, self._done), (1, 1, self._done + count))
            self._store.write(self._name, run, values[np.newaxis, np.newaxis, :count])
        # a copy: a view would keep all that has been written
        self._waiting, self._done = [values[count:].copy()], self._done + count
        self._held -= count


def put_column(store: Store, name: str, values: NDArray[np.integer[Any]]) -> None:
    """Write a long column that is in memory."""
    writer = ColumnWriter(store, name, len(values), values.dtype)
    writer.add(values)
    writer.close()


def get_run(store: Store, name: str, run: Run) -> NDArray[Any]:
    """Values of a run of rows."""
    values: NDArray[Any] = store.read(name, Box((0, 0, run[0]), (1, 1, run[1])))[0, 0]
    return values


def get_runs(store: Store, name: str, runs: Sequence[Run]) -> NDArray[Any]:
    """Values of several runs of rows, one after the other.

    Parameters
    ----------
    store, name
        Where the column is.
    runs
        Rising, none of them over another. Between those that are near each other everything is
        read: fewer requests matter more than a few values.
    """
    found = [np.zeros(0, store.info(name).dtype)]
    for group in _near(runs):
        start = group[0][0]
        values = get_run(store, name, (start, group[-1][1]))
        found += [values[a - start : b - start] for a, b in group]
    return np.concatenate(found)


def _near(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs that have rows, those together that are less than a chunk from each other."""
    group: list[Run] = []
    for run in runs:
        if run[0] == run[1]:
            continue
        if group and run[0] - group[-1][1] >= CHUNK:
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def looked_up(store: Store, name: str, ids: NDArray[Any]) -> NDArray[Any]:
    """Values of a column by number, of which only chunks of the numbers that occur are read.

    Parameters
    ----------
    store, name
        Where the column is; its entry 0 is 0.
    ids
        Numbers of any shape, with 0 for background.
    """
    high = int(ids.max(initial=0))
    if not high:
        return np.zeros(ids.shape, store.info(name).dtype)
    # background is nearly everywhere: from 0 on, it would be all of the column before these
    low = int(ids.min(where=ids > 0, initial=high))
    # memory of the parts that nothing is written to is never taken
    values = np.zeros(high - low + 2, store.info(name).dtype)
    for first, stop in _chunks_of(ids, low, high):
        values[first - low + 1 : stop - low + 1] = get_run(store, name, (first, stop))
    return values[np.where(ids > 0, ids - (low - 1), 0)]


def _chunks_of(ids: NDArray[Any], low: int, high: int) -> list[Run]:
    """Runs of neighbouring chunks with any of these numbers, cut off at ``low`` and ``high``."""
    base = low // CHUNK
    hit = np.zeros(high // CHUNK - base + 3, bool)
    # most blocks need one chunk: their voxels are not gone through once more
    if len(hit) > 3:
        hit[np.maximum(ids, low) // CHUNK - base + 1] = True
    else:
        hit[1] = True
    edges = np.flatnonzero(hit[1:] != hit[:-1]) + base
    ends = np.clip(edges * CHUNK, low, high + 1).reshape(-1, 2)
    return [(a, b) for a, b in ends.tolist()]
