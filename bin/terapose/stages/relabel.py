"""relabel (gather): decide which cells stay, and number them.

The tasks of ``masks`` have seen every object whole (in mode stitch ``stitch`` has joined those of
the planes), so the filters and the filling of holes (`terapose.filters`) work on tables. What stays
is numbered 1..N by position: that of its seed, or of its first voxel where planes were joined.
Written are a naming (`terapose.naming`) and the table of cells.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose import labels
from terapose.filters import ReadBox, Table, resolve
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
    job.store.put_table(f"{name}/cells.npz", _cells(objects, plan))
    _make_labels(job, name, dtype)
    return gathered(
        job,
        None,
        begin,
        naming=f"{name}/naming",
        patches=len(naming.voxel),
        relabel=name,
        cells=cells,
    )


def read_labels(job: Job) -> ReadBox:
    """What `resolve` reads boxes with: labels under the naming so far, and cell probability."""

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        named = "naming" in job.before
        found = named_labels(job, box) if named else job.store.read(job.before["labels"], box)
        return found, read_flows(job, job.before["flows"], box)[-1]

    return read


def _cells(objects: Table, plan: Plan) -> Table:
    """The table of cells: centroids in voxels (0-based) and, where known, micrometres."""
    # a single plane has pixels and areas, a stack has voxels and volumes
    flat = plan.output.dimensions == 2
    axes = "yx" if flat else "zyx"
    size = "Area" if plan.mode == "2d" else "Volume"
    count = objects["count"]
    center = {a: objects[f"sum_{a}"] / np.maximum(count, 1) for a in axes}
    table: Table = {"CellID": np.arange(1, len(count) + 1)}
    table |= {f"{a.upper()}_centroid": center[a] for a in reversed(axes)}
    table[size] = count
    if plan.image.voxel_size is not None:
        sizes = dict(zip("zyx", plan.image.voxel_size, strict=True))
        table |= {f"{a.upper()}_centroid_um": center[a] * sizes[a] for a in reversed(axes)}
        extent = [sizes[a] for a in ("yx" if plan.mode == "2d" else "zyx")]
        table[f"{size}_um{len(extent)}"] = count * float(np.prod(extent))
    for a in axes:
        table[f"BoundingBox_{a}0"] = objects[f"{a}0"]
        table[f"BoundingBox_{a}1"] = objects[f"{a}1"]
    table["CellProbability"] = objects["sum_probability"] / np.maximum(count, 1)
    if "sum_error" in objects:
        table["FlowError"] = objects["sum_error"] / objects["measured"]
    table["TouchesBorder"] = objects["border"]
    return table


def _make_labels(job: Job, name: str, dtype: str) -> None:
    """Make the label image to write to, once: tasks of ``export`` may have written to it."""
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
            version="0.5" if output.version == "0.5" else "0.4",
        )
        job.store.put(ready, b"")
