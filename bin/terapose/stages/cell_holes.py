"""cell_holes (mode stitch): the holes of joined cells, in three dimensions.

Joining planes can enclose voxels that no plane encloses. A cell is processed by the block that
contains its first voxel. Its box is known, so exactly that is read, however many blocks it crosses:
the small cells of a block together, each large one separately.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import HOLES, box_of, together
from terapose.algorithms.objects.numbered import numbered
from terapose.core.geometry import Box, Grid, zyx
from terapose.core.tables import Table, empty, merged, select, windows
from terapose.core.voxels import blocks_of_indices
from terapose.intermediates.flows import read_flows
from terapose.intermediates.objects import holes_of
from terapose.intermediates.relabel_map import named_labels
from terapose.io.store.long_tables import ByNumber, get_window, put_rows, put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def run(job: Job) -> dict[str, Any]:
    """Find the holes of one task's cells; they go to the store as a table."""
    objects, block = _cells_of(job)
    tables = []
    for item in job.items:
        core = job.plan.grid[item]
        near = core.grow(core.shape)
        parts = together(select(objects, block == item), near)
        tables += [_holes(job, cells) for cells in parts]
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


def _holes(job: Job, objects: Table) -> Table:
    """Voxels of the holes of cells that are read together."""
    box = box_of(objects)
    flows = job.before.flows
    labels = _by_chunks(job, box, job.before.labels, job.before.dtype, partial(named_labels, job))
    local = numbered(labels, objects["id"])
    probability = _by_chunks(
        job, box, flows, "float32", lambda part: read_flows(job, flows, part)[-1]
    )
    return holes_of(job, local, objects["id"], labels, probability, box)


def _by_chunks(
    job: Job, box: Box, name: str, dtype: str, read: Callable[[Box], NDArray[Any]]
) -> NDArray[Any]:
    """What is made of an array in a box, of one chunk after another: it takes more than is kept."""
    chunks = Grid(job.plan.image.shape, zyx(job.store.info(name).chunks[-3:]))
    found = np.empty(box.shape, dtype)
    for number in chunks.touching(box):
        part = chunks[number].intersect(box)
        found[part.within(box)] = read(part)
    return found


def gather(job: Job, results: list[Result]) -> Added:
    """Put the holes into one long table."""
    name = job.name("holes")
    holes = ByNumber(job.store, results, "holes")
    for number, (first, stop) in enumerate(windows(job.before.last)):
        put_window(job.store, name, number, holes.rows(first, stop, HOLES))
    return Added(State(hole_table=name))
