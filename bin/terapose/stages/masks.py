"""masks: grow the seeds, give every voxel its seed's ID, and measure whole objects.

Let D be how far a point can get (known, see ``follow``), 5 the growth of a seed. All voxels of an
object are within D + 5 of its seed, so the block that holds the seed can see the whole object:

1. the block labels itself and a margin ``reach(D + 5)``: each point that starts there is looked up
   at its end point, which is within D of that;
2. seeds within 5 of such an end point are grown, in the histogram within 10 of it;
3. the labels of the block alone (provisional IDs) are written, and a table of the objects whose
   seed is in the block: each object has exactly one row, from a task that saw all of it;
4. for these objects the voxels that filling its holes would add are listed with what is under
   them. Which of them are filled depends on filters that come later, so nothing is filled yet.

Nothing is cut and nothing has to be merged, whatever the number of blocks an object crosses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.measure import COLUMNS, measure
from terapose.algorithms.objects.numbered import numbered
from terapose.algorithms.objects.seeds import GROWTH, assign, grow_seeds
from terapose.core.geometry import Box, reach
from terapose.core.tables import Table
from terapose.intermediates.ends import read_ends
from terapose.intermediates.flows import read_flows
from terapose.intermediates.objects import holes_of
from terapose.intermediates.seeds import seeds_in
from terapose.io.store.arrays import INTEGER
from terapose.io.store.long_tables import put_rows
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Label the blocks of one task."""
    plan = job.plan
    name = job.name("labels")
    packs = plan.block_packs(np.dtype(job.before.dtype).itemsize)
    job.store.create(name, plan.image.shape, plan.chunk, job.before.dtype, INTEGER, packs)
    farthest = job.store.get_table(job.before.displacements)["displacement"]
    objects, holes, checksums = [], [], []
    for item in job.items:
        core = plan.grid[item]
        seen = plan.around(core, reach(plan.grid, farthest, core, GROWTH))
        labels = _label(job, seen, farthest)
        checksums.append(
            job.store.write(name, core, np.ascontiguousarray(labels[core.within(seen)]))
        )
        found, filled = _objects(job, labels, core, seen)
        objects.append(found)
        holes.append(filled)
    tables = {"objects": job.name(f"{job.task}.npz"), "holes": job.name(f"{job.task}-holes.npz")}
    put_rows(job.store, tables["holes"], holes)
    numbers = put_rows(job.store, tables["objects"], objects)
    count = sum(len(table["id"]) for table in objects)
    return {**tables, "found": count, **numbers, "checksums": checksums}


def _label(job: Job, seen: Box, farthest: NDArray[np.int32]) -> NDArray[Any]:
    """Provisional labels of a box, each voxel by itself: (Z, Y, X) of the planned dtype."""
    plan = job.plan
    starts, ends = read_ends(job, job.before.ends, seen)
    labels: NDArray[Any] = np.zeros(seen.shape, job.before.dtype)
    travel = int(farthest[plan.grid.touching(seen)].max())
    near = plan.around(seen, travel + GROWTH)
    voxels, counts, ids = seeds_in(job.store, job.before, near, plan.grid)
    if not len(ids):
        return labels
    window = plan.around(near, GROWTH)
    histogram = job.store.read(job.before.counts, window)
    # IDs rise with the linear index: more end points win, then the larger index
    rank = np.empty(len(ids), np.int64)
    rank[np.lexsort((ids, counts))] = np.arange(len(ids))
    owner = grow_seeds(histogram, voxels - window.start, rank, flat=plan.flat)
    assign(starts, ends, owner, window.start, ids.astype(labels.dtype), labels, seen.start)
    return labels


def _objects(job: Job, labels: NDArray[Any], core: Box, seen: Box) -> tuple[Table, Table]:
    """Rows of the objects whose seed is in the block, and the voxels of their holes."""
    shape = job.plan.image.shape
    _, _, ids = seeds_in(job.store, job.before, core, job.plan.grid)
    local = numbered(labels, ids)
    probability = read_flows(job, job.before.flows, seen)[-1]
    rows = measure(local, len(ids), seen.start, shape, probability)
    found = rows["count"] > 0
    table: Table = {"id": ids[found], **{c: rows[c][found] for c in COLUMNS}}
    return table, holes_of(job, local, ids, labels, probability, seen)
