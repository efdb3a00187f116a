"""Tables in memory: columns of one length by name, rows with numbers (``id``) from 1.

Long tables are gone through in *windows* of `ROWS` numbers each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]


ROWS = 2**16
"""Numbers of a window."""


def select(table: Table, keep: NDArray[Any]) -> Table:
    """Some rows of a table."""
    return {name: values[keep] for name, values in table.items()}


def merged(tables: Sequence[Table]) -> Table:
    """Tables one after another."""
    return {c: np.concatenate([t[c] for t in tables]) for c in tables[0]}


def by_number(table: Table) -> Table:
    """The rows of a table by rising number."""
    return select(table, np.argsort(table["id"], kind="stable"))


def empty(types: Mapping[str, Any]) -> Table:
    """A table without rows, with columns of these types."""
    return {name: np.zeros(0, dtype) for name, dtype in types.items()}


def windows(last: int, rows: int = ROWS) -> list[tuple[int, int]]:
    """First number of each window and the one beyond its last; at least one window."""
    return [(first, first + rows) for first in range(0, last + 1, rows)]


def window(table: Table, first: int, stop: int) -> Table:
    """The rows of a table whose numbers, which rise, are in a window; not a copy."""
    low, high = np.searchsorted(table["id"], [first, stop])
    return {name: values[low:high] for name, values in table.items()}
