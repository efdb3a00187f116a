"""Long tables in the store: written, read, joined and sorted without ever being whole in memory.

Rows have numbers (``id``), from 1. A long table is kept in *windows* of `ROWS` numbers each, a
table for every window, so tables with the same numbers can be gone through side by side.

The tasks of a stage leave a table each, in the order of their blocks. Numbers follow positions, so
a run of numbers is found in few of these tables: in those of about two layers of blocks (where
there is a single plane, two rows of them). `ByNumber` opens a table when its first row is due and
puts it away after its last.

What has to be in another order goes through a `Sorter`.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Grid
from terapose.core.tables import Table, by_number, empty, merged, select, window, windows
from terapose.io.store.rows_by_block import put_by_block
from terapose.io.store.store import Store

# -- windows -----------------------------------------------------------------------------------


def put_window(store: Store, name: str, number: int, rows: Table) -> None:
    """Write the rows of a window."""
    store.put_table(f"{name}/{number}.npz", rows)


def get_window(store: Store, name: str, number: int) -> Table:
    """Read the rows of a window."""
    return store.get_table(f"{name}/{number}.npz")


def put_whole(store: Store, name: str, table: Table, last: int) -> None:
    """Write a table that is in memory; its numbers go up to ``last``."""
    table = by_number(table)
    for number, (first, stop) in enumerate(windows(last)):
        put_window(store, name, number, window(table, first, stop))


def get_whole(store: Store, name: str, last: int) -> Table:
    """Read all of a table."""
    return merged([get_window(store, name, n) for n in range(len(windows(last)))])


# -- tables of tasks ---------------------------------------------------------------------------


def put_rows(store: Store, name: str, tables: Sequence[Table]) -> dict[str, int]:
    """Write the rows that a task found as a table by rising number; returns its `span`."""
    rows = by_number(merged(tables))
    store.put_table(name, rows)
    return span(rows["id"])


def span(ids: NDArray[np.int64]) -> dict[str, int]:
    """Smallest and largest number of a task's rows: what its receipt says for `ByNumber`."""
    return {"first": int(ids.min(initial=2**62)), "last": int(ids.max(initial=0))}


class ByNumber:
    """Tables that the tasks of a stage left, each by rising number.

    Parameters
    ----------
    store
        Where the tables are.
    results
        What the tasks' receipts say: `span`, and the table's name.
    name
        Under which name they have that of the table.
    """

    def __init__(self, store: Store, results: Sequence[Mapping[str, Any]], name: str) -> None:
        self._waiting = sorted(results, key=lambda r: int(r["first"]), reverse=True)
        self._open: list[tuple[int, Table]] = []
        self._store, self._name = store, name

    def tables(self, first: int, stop: int) -> list[Table]:
        """Tables with rows of ``first`` to ``stop`` - 1; to be called with rising numbers."""
        self._open = [(last, table) for last, table in self._open if last >= first]
        while self._waiting and self._waiting[-1]["first"] < stop:
            found = self._waiting.pop()
            self._open.append((found["last"], self._store.get_table(found[self._name])))
        return [table for _, table in self._open]

    def rows(self, first: int, stop: int, types: Mapping[str, Any]) -> Table:
        """Rows of ``first`` to ``stop`` - 1 by rising number, with columns of these types."""
        found = [window(t, first, stop) for t in self.tables(first, stop)]
        return by_number(merged([empty(types), *found]))


# -- another order -----------------------------------------------------------------------------


class Sorter:
    """Rows of any order in, rows by rising key out, a range of keys in memory at a time.

    What comes in is put aside in the store by ranges of ``width`` keys, and removed at the end. It
    has its own folder: a twin of this task must not remove it.

    Parameters
    ----------
    store
        Where to put rows aside.
    name
        Folder in the store.
    key
        Column of integers to sort by; rows of one key stay in the order they came in.
    width
        Keys of a range.
    """

    def __init__(self, store: Store, name: str, key: str, width: int) -> None:
        self._store, self._key, self._width = store, key, width
        self._name = f"{name}-{uuid.uuid4().hex}"
        self._aside: dict[int, list[str]] = {}
        self.count = 0

    def add(self, rows: Table) -> None:
        """Put rows aside."""
        ranges = rows[self._key].astype(np.int64) // self._width
        for n in np.unique(ranges).tolist():
            names = self._aside.setdefault(n, [])
            names.append(f"{self._name}/{n}-{len(names)}.npz")
            self._store.put_table(names[-1], select(rows, ranges == n))
        self.count += len(ranges)

    def ranges(self) -> Iterator[Table]:
        """All rows, a range of keys at a time."""
        for n in sorted(self._aside):
            rows = merged([self._store.get_table(name) for name in self._aside[n]])
            order = np.argsort(rows[self._key], kind="stable")
            for column in rows:
                # one after the other: a range may be large
                rows[column] = rows[column][order]
            yield rows

    def drop(self) -> None:
        """Remove what was put aside."""
        self._store.drop(self._name)


class BlockSorter:
    """Rows of any order in, a table by block out (`terapose.io.store.rows_by_block`).

    Parameters
    ----------
    store, name
        Where to write the table.
    grid
        The blocks.
    types
        Columns to write, and their types; what comes in has these, and ``block``.
    """

    def __init__(self, store: Store, name: str, grid: Grid, types: Mapping[str, Any]) -> None:
        self._store, self._name, self._types, self._blocks = store, name, types, len(grid)
        self._sorter = Sorter(store, f"{name}/unsorted", "block", blocks_together(grid))

    def add(self, rows: Table) -> None:
        """Put rows aside."""
        self._sorter.add(rows)

    def close(self) -> int:
        """Write the table, and remove what was put aside; returns the number of rows."""
        parts, count = self._sorter.ranges(), self._sorter.count
        put_by_block(self._store, self._name, parts, self._types, count=count, blocks=self._blocks)
        self._sorter.drop()
        return count


RANGES = 1000
"""Most ranges of keys that a `Sorter` is to have, unless a layer of blocks is less."""


def voxels_together(grid: Grid) -> int:
    """Width of a range of linear indices.

    That of a layer of blocks, or of a row of blocks if there is a single layer.
    """
    (_, height, width), (deep, high, _) = grid.shape, grid.block
    layer = deep * (height if grid.counts[0] > 1 else high) * width
    return max(layer, math.ceil(math.prod(grid.shape) / RANGES))


def blocks_together(grid: Grid) -> int:
    """The same in numbers of blocks."""
    nz, ny, nx = grid.counts
    return max(ny * nx if nz > 1 else nx, math.ceil(len(grid) / RANGES))
