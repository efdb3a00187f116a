"""Cells by block: number and box of each, so that a block finds those that it does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from terapose.algorithms.objects.filters import BOX, together
from terapose.core.geometry import Grid
from terapose.core.levels import Cover
from terapose.core.tables import Table, select
from terapose.core.voxels import blocks_of
from terapose.intermediates import compartments
from terapose.io.store.long_tables import BlockSorter
from terapose.io.store.rows_by_block import rows_of
from terapose.io.store.store import Store
from terapose.pipeline.job import Job
from terapose.pipeline.plan import Plan

_COLUMNS = ("id", *BOX)


def by_block(cells: Table, plan: Plan) -> Table:
    """Number and box of each cell, with the block that holds the first corner of the box."""
    corner = [cells[f"{axis}0"] for axis in "zyx"]
    return {"block": blocks_of(plan.grid, corner), "id": cells["id"], **{c: cells[c] for c in BOX}}


def boxes_of(store: Store, name: str, plan: Plan) -> BlockSorter:
    """A writer of the boxes of cells by block, for `terapose.stages.measure`."""
    return BlockSorter(store, name, plan.grid, dict.fromkeys(_COLUMNS, np.int64))


def groups(job: Job) -> Iterator[Table]:
    """The cells of a task, those that are read together at a time, on the level segmented."""
    for item in job.items:
        core = job.plan.grid[item]
        yield from together(_cells_of(job, item), core.grow(core.shape))


def upscaled_groups(job: Job, cover: Cover) -> Iterator[Table]:
    """The same on level 0, where what a block covers is cut into parts of a block's size."""
    for item in job.items:
        core, cells = job.plan.grid[item], _cells_of(job, item)
        for n, axis in enumerate("zyx"):
            for end in "01":
                cells[f"{axis}{end}"] = cover.edges(n)[cells[f"{axis}{end}"]]
        covered = cover.over(core)
        parts = Grid(covered.shape, core.shape)
        corner = np.stack([cells[f"{a}0"] for a in "zyx"]) - np.array([covered.start]).T
        # a nucleus that has grown may begin before its block
        index = np.maximum(corner, 0) // np.array([core.shape]).T
        number = np.ravel_multi_index(tuple(index), parts.counts)
        for part in np.unique(number).tolist():
            near = parts[part].moved(covered.start)
            yield from together(select(cells, number == part), near.grow(near.shape))


def _cells_of(job: Job, item: int) -> Table:
    """Final number and box of the cells that a block does; boxes hold all compartments."""
    cells = rows_of(job.store, job.before.by_block, _COLUMNS, (item,))
    shape, margin = job.plan.image.shape, compartments.margin(job.before)
    for axis, length in zip("yx", shape[1:], strict=True):
        cells[f"{axis}0"] = np.maximum(cells[f"{axis}0"] - margin, 0)
        cells[f"{axis}1"] = np.minimum(cells[f"{axis}1"] + margin, length)
    return cells
