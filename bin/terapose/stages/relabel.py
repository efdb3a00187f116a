"""relabel (gather): decide which cells stay, and number them.

The tasks of ``masks`` have seen every object whole (in mode stitch ``stitch`` has joined those of
the planes), so the filters and the filling of holes (`terapose.filters`) work on tables. What stays
is numbered 1..N by position: that of its seed, or of its first voxel where planes were joined.
Written are a naming (`terapose.naming`), the table of cells, and their boxes by block.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose import labels
from terapose.columns import put_columns
from terapose.compartments import compartments
from terapose.filters import BOX, ReadBox, Table, resolve, select
from terapose.geometry import Box
from terapose.job import Job, Summary, gathered
from terapose.naming import get_naming, named_labels, put_naming
from terapose.plan import Plan, flow_threshold
from terapose.stages.combine import read_flows

log = logging.getLogger(__name__)


def run(job: Job) -> Summary:
    """Number the cells.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with ``cells`` (their number) and the names of what is written.
    """
    plan, begin = job.plan, time.perf_counter()
    objects = job.store.get_table(job.before["object_table"])
    holes = job.store.get_table(job.before["hole_table"])
    # flows of planes were judged before these were joined
    joined = plan.mode == "stitch"
    threshold = 0.0 if joined else flow_threshold(plan.mode, job.params["flow_threshold"])
    rules = {**job.params, "flow_threshold": threshold}
    flat = plan.flat and not joined
    objects, patches = resolve(objects, holes, plan.image.shape, rules, read_labels(job), flat=flat)
    cells = len(objects["id"])
    if not cells:
        log.warning("no cells found: the label image and the table are empty")
    dtype = "uint32" if cells < 2**32 else "uint64"
    before = get_naming(job)
    names = np.zeros(int(before.lookup.max(initial=0)) + 1, dtype)
    names[objects["id"]] = np.arange(1, cells + 1)
    naming = before.renamed(names, patches["voxel"], patches["id"])
    name = f"relabel-{job.key}"
    put_naming(job.store, f"{name}/naming", naming)
    job.store.put_table(f"{name}/cells.npz", objects)
    put_columns(job.store, f"{name}/by_block", by_block(objects, plan))
    expand = job.params["expand"] or 0
    make_labels(job, name, dtype, compartments({"expand": expand}))
    return gathered(
        job,
        None,
        begin,
        naming=f"{name}/naming",
        patches=len(naming.voxel),
        relabel=name,
        by_block=f"{name}/by_block",
        label_type=dtype,
        cells=cells,
        expand=expand,
    )


def read_labels(job: Job) -> ReadBox:
    """What `resolve` reads boxes with: labels under the naming so far, and cell probability."""

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        named = "naming" in job.before
        found = named_labels(job, box) if named else job.store.read(job.before["labels"], box)
        return found, read_flows(job, job.before["flows"], box)[-1]

    return read


def by_block(objects: Table, plan: Plan) -> Table:
    """Number and box of each cell, sorted by the block that holds the first corner of its box."""
    _, ny, nx = plan.grid.counts
    bz, by, bx = plan.block
    block = (objects["z0"] // bz * ny + objects["y0"] // by) * nx + objects["x0"] // bx
    order = np.argsort(block, kind="stable")
    number = np.arange(1, len(block) + 1)
    return select({"block": block, "id": number, **{c: objects[c] for c in BOX}}, order)


def make_labels(job: Job, name: str, dtype: str, names: tuple[str, ...]) -> None:
    """Make the label images to write to, once: tasks of ``export`` may have written to them."""
    ready = f"{name}/labels.ready"
    if not job.store.has(ready):
        output = job.plan.output
        labels.create(
            f"{job.store.address}/{name}/labels.zarr",
            shape=job.plan.image.shape[-output.dimensions :],
            dtype=dtype,
            voxel_size=job.plan.image.voxel_size,
            factors=output.factors,
            chunks=output.chunks,
            names=names,
            version="0.5" if output.version == "0.5" else "0.4",
        )
        job.store.put(ready, b"")
