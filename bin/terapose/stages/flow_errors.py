"""flow_errors: how far the flows of each object are from those that its mask would have.

Runs only if ``flow_threshold`` requires it (by default in modes 2d and stitch, as in Cellpose).
Each block processes the objects whose seeds it contains. Let D be how far a point can get: an
object is within ``D + 5`` of the seed. In a volume objects are independent. In planes the
neighbours count, because Cellpose takes the gradient of the heat across the border of touching
objects (`terapose.algorithms.flows.flow_error`): a neighbour's seed is within ``D + 5`` of the
voxel that touches, and all of the neighbour within another ``D + 5``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.flow_error import flow_errors_2d, flow_errors_3d
from terapose.algorithms.objects.seeds import GROWTH
from terapose.core.geometry import reach
from terapose.core.tables import windows
from terapose.intermediates.flows import read_flows
from terapose.intermediates.seeds import seeds_in
from terapose.io.store.long_tables import ByNumber, get_window, put_rows, put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

_SINGLE = 4e7
"""Pixels of a padded plane above which Cellpose computes in float32."""


def run(job: Job) -> dict[str, Any]:
    """Find the errors of one task's objects; they go to the store as a table."""
    farthest = job.store.get_table(job.before.displacements)["displacement"]
    pieces = job.store.get_table(job.before.pieces)
    tables = [_block(job, item, farthest, pieces) for item in job.items]
    name = job.name(f"{job.task}.npz")
    return {"errors": name, **put_rows(job.store, name, tables)}


def _block(
    job: Job, item: int, farthest: NDArray[np.int32], pieces: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """IDs and errors of the objects whose seed is in a block."""
    plan, core = job.plan, job.plan.grid[item]
    _, _, ids = seeds_in(job.store, job.before, core, plan.grid)
    ids = np.setdiff1d(ids, pieces["dropped"])
    seen = plan.around(core, reach(plan.grid, farthest, core, GROWTH))
    if plan.flat:
        touched = plan.around(seen, 1)
        travel = int(farthest[plan.grid.touching(touched)].max())
        seeds = plan.around(touched, travel + GROWTH)
        seen = plan.around(seeds, reach(plan.grid, farthest, seeds, GROWTH))
    labels = job.store.read(job.before.labels, seen)
    ids = np.intersect1d(ids, labels)
    if not len(ids):
        return {"id": ids, "error": np.zeros(0)}
    labels[np.isin(labels, pieces["dropped"])] = 0
    flows = read_flows(job, job.before.flows, seen)[:-1]
    if not plan.flat:
        return {"id": ids, "error": flow_errors_3d(labels, flows, ids)}
    rounds = pieces["rounds"][seen.start[0] : seen.stop[0]]
    _, height, width = plan.image.shape
    single = (height + 2) * (width + 2) > _SINGLE
    return {"id": ids, "error": flow_errors_2d(labels, flows, ids, rounds, single)}


def gather(job: Job, results: list[Result]) -> Added:
    """Put the errors into the table of objects."""
    errors = ByNumber(job.store, results, "errors")
    name = job.name("objects")
    for number, (first, stop) in enumerate(windows(job.before.last)):
        objects = get_window(job.store, job.before.object_table, number)
        found = errors.rows(first, stop, {"id": np.int64, "error": np.float64})
        if not np.array_equal(found["id"], objects["id"]):
            raise AssertionError("an object has no error, or two")
        # sums, like all columns: errors of planes are averaged over the voxels of a stitched cell
        count = objects["count"]
        columns = {"sum_error": found["error"] * count, "measured": count}
        put_window(job.store, name, number, {**objects, **columns})
    return Added(State(object_table=name))
