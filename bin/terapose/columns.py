"""Long columns in the store, of which parts are read: sorted tables without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.geometry import Box
from terapose.store import INTEGER, Store

_CHUNK = 2**18


def put_column(store: Store, name: str, values: NDArray[np.integer[Any]]) -> None:
    """Write a long column as an array, so that parts of it can be read."""
    # a store array is ZYX: a column lies along X, padded so that there is one
    length = max(1, len(values))
    store.create(name, (1, 1, length), (1, 1, _CHUNK), str(values.dtype), INTEGER)
    padded = np.zeros((1, 1, length), values.dtype)
    padded[0, 0, : len(values)] = values
    store.write(name, Box((0, 0, 0), (1, 1, length)), padded)


def put_columns(store: Store, name: str, table: Mapping[str, NDArray[np.integer[Any]]]) -> None:
    """Write columns of one length under a name."""
    for column, values in table.items():
        put_column(store, f"{name}/{column}", values)


def columns_in(
    store: Store, name: str, columns: Sequence[str], total: int, span: tuple[int, int]
) -> dict[str, NDArray[np.int64]]:
    """Rows of columns, the first of which is sorted and lies in ``span``."""
    names = [f"{name}/{column}" for column in columns]
    _, found = _rows(store, names, total, span)
    return dict(zip(columns, found, strict=True))


def column_in(
    store: Store, names: tuple[str, str], total: int, span: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two columns where the first, which is sorted, lies in ``span``."""
    return rows(store, names, total, span)[1:]


def rows(
    store: Store, names: tuple[str, str], total: int, span: tuple[int, int]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Like `column_in`, with the number of the first of these rows."""
    first, (key, value) = _rows(store, names, total, span)
    return first, key, value


def _rows(
    store: Store, names: Sequence[str], total: int, span: tuple[int, int]
) -> tuple[int, list[NDArray[np.int64]]]:
    """Number of the first row whose first column lies in ``span``, and all such rows."""
    first, stop = (_bisect(store, names[0], total, value) for value in span)
    if first == stop:
        return first, [np.zeros(0, np.int64) for _ in names]
    run = Box((0, 0, first), (1, 1, stop))
    return first, [store.read(name, run)[0, 0].astype(np.int64) for name in names]


def _bisect(store: Store, name: str, total: int, value: int) -> int:
    """First row of a sorted column that is at least ``value``, reading a chunk at a time."""
    low, high = 0, total
    while high - low > _CHUNK:
        middle = (low + high) // 2
        at = store.read(name, Box((0, 0, middle), (1, 1, middle + 1)))[0, 0, 0]
        low, high = (middle, high) if at < value else (low, middle + 1)
    if low == high:
        return low
    rows = store.read(name, Box((0, 0, low), (1, 1, high)))[0, 0]
    return low + int(np.searchsorted(rows, value))
