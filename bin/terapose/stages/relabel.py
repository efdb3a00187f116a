"""relabel (gather): decide which objects stay, and number them.

The tasks of ``masks`` have seen every object whole, so there is nothing to merge: the filters and
the filling of holes (`terapose.filters`) work on the table. What stays is numbered 1..N by the
position of its seed (z, y, x). Written are a lookup from provisional to final IDs, the voxels that
filling adds, and the table of cells. End points and histograms have been read for the last time.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose import labels
from terapose.filters import Table, resolve
from terapose.geometry import Box
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.stages.seeds import put_column

log = logging.getLogger(__name__)


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``masks`` and number the cells.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with ``cells`` (their number) and the names of what is written.
    """
    plan, begin = job.plan, time.perf_counter()
    summary = gather(plan, "masks", receipts)
    tables = [job.store.get_table(r["objects"]) for r in summary.pop("results")]
    merged = {c: np.concatenate([t[c] for t in tables]) for c in tables[0]}
    holes = {c.removeprefix("hole_"): v for c, v in merged.items() if c.startswith("hole_")}
    objects = {c: v for c, v in merged.items() if not c.startswith("hole_")}
    order = np.argsort(objects["id"], kind="stable")
    objects = {c: v[order] for c, v in objects.items()}
    provisional = f"masks-{summary['key']}/labels"

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        return job.store.read(provisional, box), job.store.read(job.before["flows"], box)[3]

    found = len(objects["id"])
    objects, patches = resolve(objects, holes, plan.image.shape, job.params, read)
    cells = len(objects["id"])
    if not cells:
        log.warning("no cells found: the label image and the table are empty")
    dtype = "uint32" if cells < 2**32 else "uint64"
    lookup = np.zeros(job.before["found"] + 1, dtype)
    lookup[objects["id"]] = np.arange(1, cells + 1)
    name = f"relabel-{job.key}"
    put_column(job.store, f"{name}/lookup", lookup)
    put_column(job.store, f"{name}/patch_voxel", patches["voxel"])
    put_column(job.store, f"{name}/patch_label", lookup[patches["id"]])
    job.store.put_table(f"{name}/cells.npz", _cells(objects, plan.image.voxel_size))
    _make_labels(job, name, dtype)
    _drop(job)
    return gathered(
        job,
        summary,
        begin,
        key=job.key,
        labels=provisional,
        relabel=name,
        patches=len(patches["voxel"]),
        objects=found,
        cells=cells,
        dtype=dtype,
        flows=job.before["flows"],
    )


def _cells(objects: Table, voxel_size: tuple[float, float, float] | None) -> Table:
    """The table of cells: centroids in voxels (0-based) and, where known, micrometres."""
    count = objects["count"]
    center = {a: objects[f"sum_{a}"] / np.maximum(count, 1) for a in "zyx"}
    table: Table = {"CellID": np.arange(1, len(count) + 1)}
    table |= {f"{a.upper()}_centroid": center[a] for a in "xyz"}
    table["Volume"] = count
    if voxel_size is not None:
        sizes = dict(zip("zyx", voxel_size, strict=True))
        table |= {f"{a.upper()}_centroid_um": center[a] * sizes[a] for a in "xyz"}
        table["Volume_um3"] = count * float(np.prod(voxel_size))
    for a in "zyx":
        table[f"BoundingBox_{a}0"] = objects[f"{a}0"]
        table[f"BoundingBox_{a}1"] = objects[f"{a}1"]
    table["CellProbability"] = objects["sum_probability"] / np.maximum(count, 1)
    table["TouchesBorder"] = objects["border"]
    return table


def _make_labels(job: Job, name: str, dtype: str) -> None:
    """Make the label image to write to, once: tasks of ``export`` may have written to it."""
    ready = f"{name}/labels.ready"
    if not job.store.has(ready):
        output = job.plan.output
        labels.create(
            f"{job.store.address}/{name}/labels.zarr",
            shape=job.plan.image.shape,
            dtype=dtype,
            voxel_size=job.plan.image.voxel_size,
            factors=output.factors,
            chunks=output.chunks,
            version="0.5" if output.version == "0.5" else "0.4",
        )
        job.store.put(ready, b"")


def _drop(job: Job) -> None:
    """Drop what the tasks of ``masks`` were the last to read."""
    if job.params["keep_intermediates"] != "all":
        job.store.drop(job.before["ends"])
        job.store.drop(job.before["counts"])
