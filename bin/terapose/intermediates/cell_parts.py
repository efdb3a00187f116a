"""Cells that are added up of parts: of labels that are given, and of labels that are processed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import BOX
from terapose.algorithms.objects.measure import COLUMNS
from terapose.core.geometry import ZYX
from terapose.core.tables import Table
from terapose.intermediates.cells import boxes_of, by_block
from terapose.io.store.long_tables import put_whole
from terapose.io.store.store import Store
from terapose.pipeline.plan import Plan

WHOLE = tuple(name for name, dtype in COLUMNS.items() if dtype is np.int64)
"""Columns of parts, and of cells: whole numbers."""
_SUMMED = ("count", "sum_z", "sum_y", "sum_x")


def no_parts() -> Table:
    """Columns of parts, without rows."""
    return {name: np.zeros(0, np.int64) for name in WHOLE}


def summed(parts: Table, row: NDArray[Any], count: int) -> Table:
    """Rows of cells.

    Parameters
    ----------
    parts
        With the columns `WHOLE`.
    row
        Of each part the row of the cell that it belongs to, from 0.
    count
        Of cells; each has a part.
    """
    if not count:
        return no_parts()
    order = np.argsort(row, kind="stable")
    starts = np.searchsorted(row[order], np.arange(count))
    cells: Table = {}
    for name in WHOLE:
        add: Any = np.minimum
        if name in _SUMMED:
            add = np.add
        elif name.endswith("1"):
            add = np.maximum
        cells[name] = add.reduceat(parts[name][order], starts)
    return cells


def at_border(cells: Table, shape: ZYX, *, flat: bool) -> NDArray[np.bool_]:
    """Which cells touch the border, as filters of a run see it."""
    at = np.zeros(len(cells["count"]), bool)
    for axis, length in zip("zyx", shape, strict=True):
        if not flat or axis != "z":
            at |= (cells[f"{axis}0"] == 0) | (cells[f"{axis}1"] == length)
    return at


def put_cell_tables(store: Store, plan: Plan, name: str, cells: Table) -> None:
    """Write ``cells`` and ``by_block`` in a folder, as **relabel** does."""
    put_whole(store, f"{name}/cells", cells, len(cells["id"]))
    boxes = boxes_of(store, f"{name}/by_block", plan)
    boxes.add(by_block({column: cells[column] for column in ("id", *BOX)}, plan))
    boxes.close()
