"""The table of cells, a batch of rows at a time: what ``relabel`` and ``measure`` found of each.

Rows are in the order of the cells' numbers. Batches are the windows in which ``relabel`` has left
the cells (`terapose.io.store.long_tables`), without those that became empty; the tables of
``measure`` are joined to them by number.

Columns: number, mean intensity of each channel, position, size, shape; so far they are those of
MCQuant, in its order. Then what only Terapose has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.shapes import PLANAR, SOLID
from terapose.core.tables import Table, by_number, merged, window, windows
from terapose.intermediates.compartments import CELLS
from terapose.io.images.channels import column_names, measured_channels
from terapose.io.store.long_tables import ByNumber, get_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.plan import Plan

SHAPES = tuple(dict.fromkeys((*PLANAR, *SOLID)))
"""Columns of shape, of planes or of volumes, in the order of the table."""
RESERVED = frozenset(
    [
        *("CellID", "Area", "Volume", "Area_um2", "Volume_um3", *SHAPES),
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


def batches(job: Job, measured: Sequence[Result], name: str = CELLS) -> Iterator[Table]:
    """The table of a compartment, some rows at a time; once without rows if there are none.

    Parameters
    ----------
    job
        Of a stage after ``relabel``, with its parameter ``measure``.
    measured
        Results of ``measure``; none where nothing is measured.
    name
        Compartment.
    """
    columns = markers(job.plan, job.params["measure"])
    shape = PLANAR if job.plan.mode == "2d" else SOLID
    source = ByNumber(job.store, measured, name)
    for number in range(len(windows(job.before.last))):
        part = get_window(job.store, job.before.cell_table, number)
        if not len(part["id"]) and (job.before.cells or number):
            continue
        # of what was found, before it grew; labels that were given have none
        if "sum_probability" in part:
            part["probability"] = part["sum_probability"] / part["count"]
        if "sum_error" in part:
            part["error"] = part["sum_error"] / part["measured"]
        found: Table = {}
        if measured and job.before.cells:
            rows = _measured(source, part["id"])
            found = {c: rows["means"][:, n] for n, c in enumerate(columns)}
            found |= {c: rows[c] for c in shape}
            part |= {c: values for c, values in rows.items() if c in part}
        elif measured:
            found = {c: np.zeros(0, np.float32) for c in (*columns, *shape)}
        yield _table(part, found, job, columns, own=name == CELLS)


def _measured(source: ByNumber, ids: NDArray[np.int64]) -> Table:
    """What ``measure`` found of cells with these numbers, one after the other."""
    first, stop = int(ids[0]), int(ids[-1]) + 1
    rows = by_number(merged([window(t, first, stop) for t in source.tables(first, stop)]))
    if not np.array_equal(rows["id"], ids):
        raise AssertionError("a cell was not measured, or twice")
    return rows


def _table(part: Table, found: Table, job: Job, columns: Sequence[str], *, own: bool) -> Table:
    """Rows with all their columns.

    Positions are in voxels from 0, of the whole image where a region was segmented, and in
    micrometres where the labels' metadata puts them.
    """
    # a single plane has pixels and areas, a stack has voxels and volumes
    output, planar = job.output, job.plan.mode == "2d"
    flat = output.dimensions == 2
    axes = "yx" if flat else "zyx"
    size = "Area" if planar else "Volume"
    count = part["count"]
    with np.errstate(invalid="ignore"):
        center = {a: part[f"sum_{a}"] / count for a in axes}
    table: Table = {"CellID": part["id"], **{c: found[c] for c in columns if c in found}}
    first = dict(zip("zyx", output.offset, strict=True))
    table |= {f"{a.upper()}_centroid": center[a] + first[a] for a in reversed(axes)}
    table[size] = count
    table |= {c: found[c] for c in SHAPES if c in found}
    if output.voxel_size is not None:
        sizes = dict(zip("zyx", output.voxel_size, strict=True))
        shift = dict(zip("zyx", output.translation, strict=True))
        for a in reversed(axes):
            table[f"{a.upper()}_centroid_um"] = center[a] * sizes[a] + shift[a]
        extent = [sizes[a] for a in ("yx" if planar else "zyx")]
        table[f"{size}_um{len(extent)}"] = count * float(np.prod(extent))
    for a in axes:
        for end in "01":
            table[f"BoundingBox_{a}{end}"] = part[f"{a}{end}"] + first[a]
    if own:
        if "probability" in part:
            table["CellProbability"] = part["probability"]
        if "error" in part:
            table["FlowError"] = part["error"]
        table["TouchesBorder"] = part["border"]
    return table
