"""Long columns in the store, of which parts are read: sorted tables without a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Box
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store

_CHUNK = 2**18


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
        store.create(name, (1, 1, self._total), (1, 1, _CHUNK), str(np.dtype(dtype)), INTEGER)

    def add(self, values: NDArray[np.integer[Any]]) -> None:
        """Append values."""
        self._waiting.append(values)
        self._held += len(values)
        if self._held >= _CHUNK:
            self._write(self._held - self._held % _CHUNK)

    def close(self) -> None:
        """Write what is left; the column is complete then."""
        if self._done + self._held == 0:
            self.add(np.zeros(1, np.int64))
        self._write(self._held)
        if self._done != self._total:
            raise AssertionError(f"{self._name}: {self._done} values of {self._total}")

    def _write(self, count: int) -> None:
        """Write the first values of those that wait: whole chunks, or the end."""
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


def pieces(
    store: Store, name: str, columns: Sequence[str], total: int, span: tuple[int, int]
) -> Iterator[tuple[int, dict[str, NDArray[np.int64]]]]:
    """Rows of columns, the first of which is sorted and within ``span``, a chunk at a time.

    Yields
    ------
    first : int
        Number of the first of these rows, from 0.
    rows : dict
        Their values by column.
    """
    first, stop = (_bisect(store, f"{name}/{columns[0]}", total, value) for value in span)
    while first < stop:
        end = min(stop, (first // _CHUNK + 1) * _CHUNK)
        run = Box((0, 0, first), (1, 1, end))
        yield first, {c: store.read(f"{name}/{c}", run)[0, 0].astype(np.int64) for c in columns}
        first = end


def looked_up(store: Store, name: str, ids: NDArray[Any]) -> NDArray[Any]:
    """Values of a column by number, of which only those of the numbers that occur are read.

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
    values = store.read(name, Box((0, 0, low), (1, 1, high + 1)))[0, 0]
    found: NDArray[Any] = np.concatenate([np.zeros(1, values.dtype), values])
    return found[np.where(ids > 0, ids - (low - 1), 0)]


def span_of(box: Box, shape: ZYX) -> tuple[int, int]:
    """First linear index in a box of an array, and the one after its last; boxes are cut to it."""
    inside = box.clip(shape)
    return (
        int(np.ravel_multi_index(inside.start, shape)),
        int(np.ravel_multi_index([end - 1 for end in inside.stop], shape)) + 1,
    )


def rows_within(
    store: Store, name: str, columns: Sequence[str], total: int, box: Box, shape: ZYX
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Rows whose voxel is in a box, a chunk of two columns at a time: linear index, and a value.

    Parameters
    ----------
    store, name, columns, total
        As of `pieces`; the first column has the linear indices of voxels.
    box, shape
        Of an array, and the shape of it.

    Yields
    ------
    numbers : (N,) int64
        Of these rows, from 0.
    voxels : (N, 3) int64
        ZYX.
    values : (N,) int64
        Of the second column.
    """
    for first, rows in pieces(store, name, columns, total, span_of(box, shape)):
        index, value = (rows[column] for column in columns)
        voxels = np.stack(np.unravel_index(index, shape), axis=1)
        inside = np.flatnonzero(((voxels >= box.start) & (voxels < box.stop)).all(axis=1))
        yield first + inside, voxels[inside], value[inside]


def columns_in(
    store: Store, name: str, columns: Sequence[str], total: int, span: tuple[int, int]
) -> dict[str, NDArray[np.int64]]:
    """Rows of columns, the first of which is sorted and within ``span``."""
    found = [rows for _, rows in pieces(store, name, columns, total, span)]
    nothing = np.zeros(0, np.int64)
    return {c: np.concatenate([nothing, *(rows[c] for rows in found)]) for c in columns}


def _bisect(store: Store, name: str, total: int, value: int) -> int:
    """First row of a sorted column that is at least ``value``, reading a chunk at a time.

    The first rows that are looked at are the same ones for any value, and are kept.
    """
    low, high = 0, total
    while high - low > _CHUNK:
        middle = (low + high) // 2
        if (name, middle) not in store.probed:
            one = Box((0, 0, middle), (1, 1, middle + 1))
            store.probed[name, middle] = int(store.read(name, one)[0, 0, 0])
        is_before = store.probed[name, middle] < value
        low, high = (middle, high) if is_before else (low, middle + 1)
    if low == high:
        return low
    rows = store.read(name, Box((0, 0, low), (1, 1, high)))[0, 0]
    return low + int(np.searchsorted(rows, value))
