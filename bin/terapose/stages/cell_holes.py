"""cell_holes (mode stitch): the holes of joined cells, in three dimensions.

Joining planes can enclose voxels that no plane encloses. A cell is done by the block in which its
first voxel is. Its box is known, so what is read is exactly that, however many blocks it crosses:
the small ones of a block together, each large one by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import HOLES, box_of, together
from terapose.algorithms.objects.numbered import numbered
from terapose.core.tables import Table, empty, select, windows
from terapose.intermediates.flows import read_flows
from terapose.intermediates.objects import holes_of
from terapose.intermediates.relabel_map import named_labels
from terapose.io.store.long_tables import ByNumber, get_whole, put_rows, put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def run(job: Job) -> dict[str, Any]:
    """Find the holes of one task's cells; they go to the store as a table."""
    objects = get_whole(job.store, job.before.object_table, job.before.last)
    shape = job.plan.image.shape
    first = np.stack(np.unravel_index(objects["first"], shape), axis=1)
    tables = []
    for item in job.items:
        core = job.plan.grid[item]
        mine = np.all((first >= core.start) & (first < core.stop), axis=1)
        near = core.grow(core.shape)
        tables += [_holes(job, cells) for cells in together(select(objects, mine), near)]
    name = job.name(f"{job.task}.npz")
    return {"holes": name, **put_rows(job.store, name, [empty(HOLES), *tables])}


def _holes(job: Job, objects: Table) -> dict[str, NDArray[Any]]:
    """Voxels of the holes of cells that are read together."""
    box = box_of(objects)
    labels = named_labels(job, box).astype(np.int64)
    probability = read_flows(job, job.before.flows, box)[-1]
    return holes_of(job, numbered(labels, objects["id"]), objects["id"], labels, probability, box)


def gather(job: Job, results: list[Result]) -> Added:
    """Put the holes into one long table."""
    name = job.name("holes")
    holes = ByNumber(job.store, results, "holes")
    for number, (first, stop) in enumerate(windows(job.before.last)):
        put_window(job.store, name, number, holes.rows(first, stop, HOLES))
    return Added(State(hole_table=name))
