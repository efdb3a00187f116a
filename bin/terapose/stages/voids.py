"""voids (mode stitch): the holes of joined cells, in three dimensions.

Joining planes can enclose voxels that no plane encloses. A cell is done by the block in which its
first voxel lies. Its box is known, so what is read is exactly that, however many blocks it crosses:
the small ones of a block together, each large one by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.filters import Table, box_of, select, together
from terapose.job import Job, Receipt, Summary, gather
from terapose.naming import named_labels
from terapose.stages.combine import read_flows
from terapose.stages.masks import holes_of, merged, own


def run(job: Job) -> dict[str, Any]:
    """Find the holes of one task's cells; they go to the store as a table."""
    objects = job.store.get_table(job.before["object_table"])
    shape = job.plan.image.shape
    first = np.stack(np.unravel_index(objects["first"], shape), axis=1)
    tables = []
    for item in job.items:
        core = job.plan.grid[item]
        mine = np.all((first >= core.start) & (first < core.stop), axis=1)
        near = core.grow(core.shape)
        tables += [_holes(job, cells) for cells in together(select(objects, mine), near)]
    name = job.name(f"{job.task}.npz")
    empty = {"id": np.int64, "voxel": np.int64, "under": np.int64, "probability": np.float32}
    job.store.put_table(name, merged([{c: np.zeros(0, t) for c, t in empty.items()}, *tables]))
    return {"holes": name}


def _holes(job: Job, objects: Table) -> dict[str, NDArray[Any]]:
    """Voxels of the holes of cells that are read together."""
    box = box_of(objects)
    labels = named_labels(job, box).astype(np.int64)
    probability = read_flows(job, job.before["flows"], box)[-1]
    return holes_of(job, own(labels, objects["id"]), objects["id"], labels, probability, box)


def summarize(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts; put the holes into one table."""
    summary = gather(job.plan, "voids", receipts)
    name = f"voids-{summary['key']}/holes.npz"
    results = summary.pop("results")
    job.store.put_table(name, merged([job.store.get_table(r["holes"]) for r in results]))
    return {**summary, "hole_table": name}
