"""measure: intensities and shapes of whole cells, with the columns and formulas of MCQuant.

A cell is processed by the block that contains the first corner of the box (``relabel`` has listed
them by block), and its box is known, so exactly that is read, however many blocks it crosses: the
small cells of a block together, each large one separately. For what is read together:

1. it goes through in bands of whole planes, or of whole rows where there is one plane: memory does
   not grow with the size of a cell. Sums are added in C order, whatever the bands are;
2. labels of each compartment (`terapose.intermediates.compartments`): sums of coordinates and their
   products, boxes, and for planes the ends of each row, from which the convex hull follows;
3. the image, one channel at a time: sums of intensities.

With ``upscale`` all of this is on level 0: labels as they are exported, and the image at full
resolution. So a table says what can be measured in the label image beside it.

Each task writes a table for each compartment. Each cell is in one of them, and its row depends on
nothing but the cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects import shapes
from terapose.algorithms.objects.filters import BOX, box_of
from terapose.algorithms.objects.moments import (
    FAR,
    SUMS,
    add_rows,
    add_sums,
    add_values,
    hull_areas,
    rows_of,
)
from terapose.algorithms.objects.numbered import numbered
from terapose.core.geometry import Box
from terapose.core.tables import Table
from terapose.intermediates import compartments
from terapose.intermediates.cells import groups, upscaled_groups
from terapose.io.images.channels import measured_channels
from terapose.io.store.long_tables import put_rows
from terapose.pipeline.job import Job
from terapose.pipeline.plan import OutputPlan, Plan
from terapose.pipeline.sizes import BAND


def run(job: Job) -> dict[str, Any]:
    """Measure the cells of one task."""
    names = compartments.compartments(job.before)
    numbers = measured_channels(job.plan.image.channel_names, job.params["measure"])
    tables: dict[str, list[Table]] = {name: [] for name in names}
    for cells in groups(job) if job.cover is None else upscaled_groups(job, job.cover):
        for name, table in _measure(job, cells, names, numbers).items():
            tables[name].append(table)
    stored = {name: job.name(f"{name}-{job.task}.npz") for name in names}
    for name, parts in tables.items():
        told = put_rows(job.store, stored[name], [_empty(job.plan, len(numbers)), *parts])
    return {**stored, **told}


def bands(box: Box) -> Iterator[Box]:
    """A box in C order: whole planes, or whole rows of a single plane, `BAND` voxels or less."""
    axis = 0 if box.shape[0] > 1 else 1
    step = max(1, BAND * box.shape[axis] // box.size)
    for first in range(box.start[axis], box.stop[axis], step):
        start, stop = list(box.start), list(box.stop)
        start[axis], stop[axis] = first, min(first + step, box.stop[axis])
        yield Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


@dataclass
class _Sums:
    """What is added up of some cells of one compartment."""

    planned: NDArray[np.int64]
    flat: bool
    channels: int

    def __post_init__(self) -> None:
        count = len(self.planned)
        self.sums = np.zeros((count, len(SUMS)), np.int64)
        self.box = np.zeros((count, 6), np.int64)
        self.box[:, :3] = FAR
        self.totals = np.zeros((self.channels, count))
        if self.flat:
            self.first, self.left, self.right = rows_of(self.planned)

    def add(self, local: NDArray[np.int32], origin: tuple[int, int, int]) -> None:
        """Add a band of labels by row (from 1)."""
        at = np.array(origin)
        add_sums(local, at, self.planned[:, :3], self.sums, self.box)
        if self.flat:
            add_rows(local, at, self.planned[:, 1], self.first, self.left, self.right)

    def table(self, ids: NDArray[np.int64], anisotropy: float) -> Table:
        """Rows of the cells."""
        count = self.sums[:, 0]
        self.box[count == 0] = 0
        if self.flat:
            hull = np.zeros(len(ids), np.int64)
            hull_areas(self.first, self.left, self.right, hull)
            shape = shapes.planar(self.sums, self.box, hull)
        else:
            shape = shapes.solid(self.sums, self.box, anisotropy)
        sums = self.sums[:, 1:4] + self.planned[:, :3] * count[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            means = (self.totals / count).astype(np.float32)
        return {
            "id": ids,
            "count": count,
            **{f"sum_{a}": sums[:, n] for n, a in enumerate("zyx")},
            **{name: self.box[:, n] for n, name in enumerate(BOX)},
            **{k: np.where(count, v, np.nan).astype(np.float32) for k, v in shape.items()},
            "means": means.T,
        }


def _measure(
    job: Job, cells: Table, names: tuple[str, ...], numbers: tuple[int, ...]
) -> dict[str, Table]:
    """Rows of cells that are read together, of each compartment."""
    planned = np.stack([cells[c] for c in BOX], axis=1)
    flat = job.plan.mode == "2d"
    sums = {name: _Sums(planned, flat, len(numbers)) for name in names}
    for band in bands(box_of(cells)):
        found = compartments.read(job, band)
        local = {name: numbered(found[name], cells["id"]) for name in names}
        for name in names:
            sums[name].add(local[name], band.start)
        for n, channel in enumerate(numbers):
            values = job.read_output(band, channel).astype(np.float64)
            for name in names:
                add_values(local[name], values, sums[name].totals[n])
    anisotropy = pixel_ratio(job.plan, job.output)
    return {name: sums[name].table(cells["id"], anisotropy) for name in names}


def pixel_ratio(plan: Plan, output: OutputPlan) -> float:
    """Z step over pixel size: that of the voxels where they are known, else the network's."""
    if output.voxel_size is not None:
        return output.voxel_size[0] / output.voxel_size[1]
    (z, y, _), (deep, high, _) = output.voxels, plan.output.voxels
    return plan.anisotropy * (z / deep) / (y / high)


def _empty(plan: Plan, channels: int) -> Table:
    """A table without rows."""
    nothing = _Sums(np.zeros((0, 6), np.int64), plan.mode == "2d", channels)
    return nothing.table(np.zeros(0, np.int64), 1.0)
