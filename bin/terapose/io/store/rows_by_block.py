"""Tables in the store by block: what belongs to a block of the image is one run of rows.

Rows come sorted by the number of their block. Each column is a long one
(`terapose.io.store.long_columns`), and one more, ``first``, says at which row each block begins. So
what is read to find the rows of some blocks does not depend on how large the image is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from terapose.core.tables import Table
from terapose.io.store.long_columns import ColumnWriter, get_runs, put_column
from terapose.io.store.store import Store

FIRST = "first"


def put_by_block(
    store: Store,
    name: str,
    parts: Iterable[Table],
    types: Mapping[str, Any],
    *,
    count: int,
    blocks: int,
) -> None:
    """Write a table.

    Parameters
    ----------
    store, name
        Where to.
    parts
        The rows, some at a time, by rising ``block``.
    types
        The columns to write, and their types.
    count, blocks
        Number of rows, and of the image's blocks.
    """
    columns = {c: ColumnWriter(store, f"{name}/{c}", count, dtype) for c, dtype in types.items()}
    first = np.zeros(blocks + 1, np.int64)
    for rows in parts:
        numbers, of_each = np.unique(rows["block"], return_counts=True)
        first[numbers + 1] += of_each
        for c, column in columns.items():
            column.add(rows[c])
    for column in columns.values():
        column.close()
    put_column(store, f"{name}/{FIRST}", np.cumsum(first))


def rows_of(store: Store, name: str, columns: Sequence[str], blocks: Sequence[int]) -> Table:
    """The rows of some blocks.

    Parameters
    ----------
    store, name
        Where the table is.
    columns
        Those to read.
    blocks
        Numbers of blocks, rising.
    """
    runs = _runs(blocks)
    ends = get_runs(store, f"{name}/{FIRST}", [(a, b + 1) for a, b in runs])
    # each run has one end more than blocks
    edges = itertools.accumulate((b + 1 - a for a, b in runs), initial=0)
    rows = [(int(ends[a]), int(ends[b - 1])) for a, b in itertools.pairwise(edges)]
    return {c: get_runs(store, f"{name}/{c}", rows) for c in columns}


def _runs(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighbouring numbers: the first, and the one after the last."""
    numbers = np.asarray(blocks, np.int64)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]
