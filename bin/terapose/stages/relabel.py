"""relabel (gather): decide which cells are kept, and number them.

The tasks of ``masks`` have seen every object whole (in mode stitch ``stitch`` has joined those of
the planes), so the filters and the filling of holes (`terapose.algorithms.objects.filters`) work on
tables. The remaining cells are numbered 1..N by position: that of the seed, or of the first voxel
where planes were joined. A relabel map (`terapose.intermediates.relabel_map`), the table of cells,
and their boxes by block are written. Objects are processed in windows of their numbers
(`terapose.io.store.long_tables`), so memory does not grow with the image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from terapose.algorithms.objects.filters import resolve
from terapose.core.tables import Table
from terapose.core.thresholds import flow_threshold
from terapose.intermediates.cells import boxes_of, by_block
from terapose.intermediates.objects import read_labels, read_windows
from terapose.intermediates.relabel_map import NewNames
from terapose.io.store.long_tables import put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Number the cells."""
    name = f"relabel-{job.key}"
    names = NewNames(job, f"{name}/relabel_map")
    boxes = boxes_of(job.store, f"{name}/by_block", job.plan)
    cells = 0
    for number, (objects, patches) in enumerate(_resolved(job)):
        mine = np.arange(cells + 1, cells + len(objects["id"]) + 1)
        names.add(objects["id"], mine, patches)
        objects["id"] = mine
        put_window(job.store, f"{name}/cells", number, objects)
        boxes.add(by_block(objects, job.plan))
        cells += len(mine)
    if not cells:
        log.warning("no cells found: the label image and the table are empty")
    boxes.close()
    dtype = "uint32" if cells < 2**32 else "uint64"
    expand = job.params["expand"] or 0
    upscale = bool(job.params["upscale"]) and job.plan.full is not None
    state = State(
        relabel_map=f"{name}/relabel_map",
        patches=names.close(),
        relabel=name,
        cell_table=f"{name}/cells",
        by_block=f"{name}/by_block",
        label_type=dtype,
        cells=cells,
        expand=expand,
        upscale=upscale,
    )
    return Added(state, {"cells": cells})


def _resolved(job: Job) -> Iterator[tuple[Table, Table]]:
    """Objects that stay and voxels that change hands, a window after the other."""
    # flows of planes were judged before these were joined
    joined = job.plan.mode == "stitch"
    threshold = 0.0 if joined else flow_threshold(job.plan.mode, job.params["flow_threshold"])
    rules = {**job.params, "flow_threshold": threshold}
    flat = job.plan.flat and not joined
    return resolve(read_windows(job), job.plan.image.shape, rules, read_labels(job), flat=flat)
