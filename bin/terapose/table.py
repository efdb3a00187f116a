"""The table of cells, a batch of rows at a time: what ``relabel`` and ``measure`` found of each.

Rows are in the order of the cells' numbers. The tables of ``measure`` are in the order of blocks,
each with the smallest and the largest number in it: a table is read when its first row is due and
put away after its last. Cells are numbered by position, so few tables are open at a time: those of
about two layers (of planes: two rows) of blocks.

Columns: number, mean intensity of each channel, position, size, shape; so far they are those of
MCQuant, in its order. Then what only Terapose has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from terapose.channels import column_names, measured_channels
from terapose.compartments import CELLS
from terapose.filters import Table, select
from terapose.job import Job, Receipt
from terapose.plan import Plan
from terapose.shapes import PLANAR, SOLID
from terapose.stages.masks import merged
from terapose.store import Store

ROWS = 2**16
"""Rows of a batch."""


class ByNumber:
    """Tables that the tasks of a stage left, each of some cells, by number of cell.

    Parameters
    ----------
    store
        Where the tables are.
    receipts
        What the tasks said: ``first`` and ``last`` number, and the table's name.
    name
        Under which name receipts have that of the table.
    """

    def __init__(self, store: Store, receipts: Sequence[Receipt], name: str) -> None:
        results = [r["result"] for r in receipts]
        self._waiting = sorted(results, key=lambda r: r["first"], reverse=True)
        self._open: list[tuple[int, Table]] = []
        self._store, self._name = store, name

    def tables(self, first: int, stop: int) -> list[Table]:
        """Tables with cells of ``first`` to ``stop`` - 1; to be called with rising numbers."""
        self._open = [(last, table) for last, table in self._open if last >= first]
        while self._waiting and self._waiting[-1]["first"] < stop:
            found = self._waiting.pop()
            self._open.append((found["last"], self._store.get_table(found[self._name])))
        return [table for _, table in self._open]


def _measured(source: ByNumber, first: int, stop: int) -> Table:
    """What ``measure`` found of the cells ``first`` to ``stop`` - 1."""
    tables = source.tables(first, stop)
    due = merged([select(t, (t["id"] >= first) & (t["id"] < stop)) for t in tables])
    due = select(due, np.argsort(due["id"]))
    if not np.array_equal(due["id"], np.arange(first, stop)):
        raise AssertionError("a cell was not measured, or twice")
    return due


RESERVED = frozenset(
    [
        *("CellID", "Area", "Volume", "Area_um2", "Volume_um3", *PLANAR),
        *(f"{a}_centroid{unit}" for a in "XYZ" for unit in ("", "_um")),
        *(f"BoundingBox_{a}{end}" for a in "zyx" for end in "01"),
        *("CellProbability", "FlowError", "TouchesBorder"),
    ]
)
"""Columns that no channel may be named like."""


def markers(plan: Plan, measure: Sequence[int | str]) -> tuple[str, ...]:
    """Columns of mean intensities."""
    names = column_names(plan.image.channel_names, RESERVED)
    return tuple(names[n - 1] for n in measured_channels(plan.image.channel_names, measure))


def batches(job: Job, measured: Sequence[Receipt], name: str = CELLS) -> Iterator[Table]:
    """The table of a compartment, `ROWS` rows at a time; once without rows if there are none.

    Parameters
    ----------
    job
        Of a stage after ``relabel``, with its parameter ``measure``.
    measured
        Receipts of ``measure``; none where nothing is measured.
    name
        Compartment.
    """
    objects = job.store.get_table(f"{job.before['relabel']}/cells.npz")
    columns = markers(job.plan, job.params["measure"])
    shape = PLANAR if job.plan.mode == "2d" else SOLID
    source = ByNumber(job.store, measured, name)
    cells = len(objects["id"])
    for first in range(0, max(cells, 1), ROWS):
        stop = min(first + ROWS, cells)
        part = select(objects, np.arange(first, stop))
        part["id"] = np.arange(first + 1, stop + 1)
        # of what was found, before it grew
        part["probability"] = part["sum_probability"] / part["count"]
        if "sum_error" in part:
            part["error"] = part["sum_error"] / part["measured"]
        found: Table = {}
        if measured and cells:
            rows = _measured(source, first + 1, stop + 1)
            found = {c: rows["means"][:, n] for n, c in enumerate(columns)}
            found |= {c: rows[c] for c in shape}
            part |= {c: values for c, values in rows.items() if c in part}
        elif measured:
            found = {c: np.zeros(0, np.float32) for c in (*columns, *shape)}
        yield _table(part, found, job.plan, columns, own=name == CELLS)


def _table(part: Table, found: Table, plan: Plan, columns: Sequence[str], *, own: bool) -> Table:
    """Rows with all their columns; positions in voxels (from 0) and micrometres, where known."""
    # a single plane has pixels and areas, a stack has voxels and volumes
    flat = plan.output.dimensions == 2
    axes = "yx" if flat else "zyx"
    size = "Area" if plan.mode == "2d" else "Volume"
    count = part["count"]
    with np.errstate(invalid="ignore"):
        center = {a: part[f"sum_{a}"] / count for a in axes}
    table: Table = {"CellID": part["id"], **{c: found[c] for c in columns if c in found}}
    table |= {f"{a.upper()}_centroid": center[a] for a in reversed(axes)}
    table[size] = count
    table |= {c: found[c] for c in PLANAR if c in found}
    if plan.image.voxel_size is not None:
        sizes = dict(zip("zyx", plan.image.voxel_size, strict=True))
        table |= {f"{a.upper()}_centroid_um": center[a] * sizes[a] for a in reversed(axes)}
        extent = [sizes[a] for a in ("yx" if plan.mode == "2d" else "zyx")]
        table[f"{size}_um{len(extent)}"] = count * float(np.prod(extent))
    for a in axes:
        table[f"BoundingBox_{a}0"], table[f"BoundingBox_{a}1"] = part[f"{a}0"], part[f"{a}1"]
    if own:
        table["CellProbability"] = part["probability"]
        if "error" in part:
            table["FlowError"] = part["error"]
        table["TouchesBorder"] = part["border"]
    return table
