"""cell_holes (mode stitch): the holes of joined cells, in three dimensions.

Joining planes can enclose voxels that no plane encloses. A cell is done by the block in which its
first voxel is. Its box is known, so what is held is exactly that, however many blocks it crosses:
the small ones of a block together, each large one by itself, and some chunks that they share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import HOLES, ReadBox, box_of, together
from terapose.algorithms.objects.numbered import numbered
from terapose.core.tables import Table, empty, merged, select, windows
from terapose.core.voxels import blocks_of_indices
from terapose.intermediates.objects import holes_of, read_labels
from terapose.io.store.long_tables import ByNumber, get_window, put_rows, put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def run(job: Job) -> dict[str, Any]:
    """Find the holes of one task's cells; they go to the store as a table."""
    objects, block = _cells_of(job)
    read, tables = read_labels(job), []
    for item in job.items:
        core = job.plan.grid[item]
        near = core.grow(core.shape)
        parts = together(select(objects, block == item), near)
        tables += [_holes(job, cells, read) for cells in parts]
    name = job.name(f"{job.task}.npz")
    return {"holes": name, **put_rows(job.store, name, [empty(HOLES), *tables])}


def _cells_of(job: Job) -> tuple[Table, NDArray[np.int64]]:
    """The cells of a task, by rising ID, and the block of each; others are not kept in memory."""
    plan, found = job.plan, []
    for number in range(len(windows(job.before.last))):
        objects = get_window(job.store, job.before.object_table, number)
        block = blocks_of_indices(plan.grid, objects["first"])
        mine = (block >= job.items.start) & (block < job.items.stop)
        found.append({**select(objects, mine), "block": block[mine]})
    cells = merged(found)
    return cells, cells.pop("block")


def _holes(job: Job, objects: Table, read: ReadBox) -> Table:
    """Voxels of the holes of cells that are read together."""
    box = box_of(objects)
    labels, probability = read(box)
    return holes_of(job, numbered(labels, objects["id"]), objects["id"], labels, probability, box)


def gather(job: Job, results: list[Result]) -> Added:
    """Put the holes into one long table."""
    name = job.name("holes")
    holes = ByNumber(job.store, results, "holes")
    for number, (first, stop) in enumerate(windows(job.before.last)):
        put_window(job.store, name, number, holes.rows(first, stop, HOLES))
    return Added(State(hole_table=name))
