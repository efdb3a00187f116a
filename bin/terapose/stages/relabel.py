"""relabel (gather): decide which cells stay, and number them.

The tasks of ``masks`` have seen every object whole (in mode stitch ``stitch`` has joined those of
the planes), so the filters and the filling of holes (`terapose.filters`) work on tables. What stays
is numbered 1..N by position: that of its seed, or of its first voxel where planes were joined.
Written are a naming (`terapose.naming`), the table of cells, and their boxes by block. Objects are
gone through by windows of their numbers (`terapose.parts`), so memory does not grow with the image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.filters import BOX, ReadBox, Windows, resolve
from terapose.geometry import Box
from terapose.job import Job, Summary, gathered
from terapose.naming import NewNames, named_labels
from terapose.parts import Sorter, Table, blocks_together, get_window, put_window, windows
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
    begin, name = time.perf_counter(), f"relabel-{job.key}"
    names = NewNames(job, f"{name}/naming")
    boxes = Sorter(job.store, f"{name}/unsorted", "block", blocks_together(job.plan.grid))
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
    put_boxes(boxes, f"{name}/by_block")
    dtype = "uint32" if cells < 2**32 else "uint64"
    expand = job.params["expand"] or 0
    upscale = bool(job.params["upscale"]) and job.plan.full is not None
    return gathered(
        job,
        None,
        begin,
        naming=f"{name}/naming",
        patches=names.close(),
        relabel=name,
        cell_table=f"{name}/cells",
        by_block=f"{name}/by_block",
        label_type=dtype,
        cells=cells,
        expand=expand,
        upscale=upscale,
    )


def _resolved(job: Job) -> Iterator[tuple[Table, Table]]:
    """Objects that stay and voxels that change hands, a window after the other."""
    # flows of planes were judged before these were joined
    joined = job.plan.mode == "stitch"
    threshold = 0.0 if joined else flow_threshold(job.plan.mode, job.params["flow_threshold"])
    rules = {**job.params, "flow_threshold": threshold}
    flat = job.plan.flat and not joined
    return resolve(read_windows(job), job.plan.image.shape, rules, read_labels(job), flat=flat)


def read_windows(job: Job) -> Windows:
    """The objects and holes of the stage before."""
    return Windows(
        len(windows(job.before["last"])),
        lambda n: get_window(job.store, job.before["object_table"], n),
        lambda n: get_window(job.store, job.before["hole_table"], n),
    )


def read_labels(job: Job) -> ReadBox:
    """What `resolve` reads boxes with: labels under the naming so far, and cell probability."""

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        named = "naming" in job.before
        found = named_labels(job, box) if named else job.store.read(job.before["labels"], box)
        return found, read_flows(job, job.before["flows"], box)[-1]

    return read


def by_block(cells: Table, plan: Plan) -> Table:
    """Number and box of each cell, with the block that holds the first corner of its box."""
    _, ny, nx = plan.grid.counts
    bz, by, bx = plan.block
    block = (cells["z0"] // bz * ny + cells["y0"] // by) * nx + cells["x0"] // bx
    return {"block": block, "id": cells["id"], **{c: cells[c] for c in BOX}}


def put_boxes(boxes: Sorter, name: str) -> None:
    """Write the boxes of cells by block, for `terapose.stages.measure`."""
    boxes.put_columns(name, dict.fromkeys(("block", "id", *BOX), np.int64))
