"""filter_planes (gather, mode stitch): decide which objects to keep before they are joined.

As `cellpose.models.CellposeModel.eval` does for a stack that is to be stitched: objects with large
flow errors are removed and holes are filled, plane by plane; ``min_size`` is applied later, in
``relabel``. The remaining objects are numbered 1..N in the order of planes and of first pixels in
them.
"""

from __future__ import annotations

import numpy as np

from terapose.algorithms.objects.filters import resolved
from terapose.core.tables import select
from terapose.core.thresholds import flow_threshold
from terapose.intermediates.objects import read_labels, read_windows
from terapose.intermediates.relabel_map import RelabelMap, put_relabel_map
from terapose.io.store.long_tables import put_whole
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def gather(job: Job, results: list[Result]) -> Added:
    """Resolve the objects of planes: a table (``id`` is the new number) and a relabel map."""
    rules = {
        "flow_threshold": flow_threshold(job.plan.mode, job.params["flow_threshold"]),
        "min_size": 0,
        "min_median_fraction": 0.0,
        "border": "keep",
    }
    shape = job.plan.image.shape
    objects, patches = resolved(read_windows(job), shape, rules, read_labels(job), flat=True)
    # Cellpose numbers the objects of a plane as a scan of it meets them
    objects = select(objects, np.argsort(objects["first"], kind="stable"))
    cells = len(objects["id"])
    names = np.zeros(job.before.found + 1, np.int64)
    names[objects["id"]] = np.arange(1, cells + 1)
    relabel_map = RelabelMap.identity(job.before.found).renamed(
        names, patches["voxel"], patches["id"]
    )
    put_relabel_map(job.store, job.name("relabel_map"), job.plan.grid, relabel_map)
    table = job.name("objects")
    put_whole(job.store, table, {**objects, "id": np.arange(1, cells + 1)}, cells)
    state = State(
        relabel_map=job.name("relabel_map"),
        patches=len(relabel_map.voxel),
        object_table=table,
        last=cells,
    )
    return Added(state, {"kept": cells})
