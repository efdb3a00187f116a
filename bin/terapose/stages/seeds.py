"""seeds (gather): one table of all seeds, numbered by position.

A seed's provisional ID is its place in C order (z, y, x) of the whole image, from 1: dense, and
the same whatever the blocks were. The table is sorted by position, so a block finds the seeds
around it by bisection.
"""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from terapose.columns import put_column, rows
from terapose.geometry import ZYX, Box
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.store import Store

log = logging.getLogger(__name__)


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``peaks`` and make the table.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with the names of the arrays the next stage reads.
    """
    begin = time.perf_counter()
    summary = gather(job.plan, "peaks", receipts)
    results = summary.pop("results")
    tables = [job.store.get_table(r["seeds"]) for r in results]
    position = np.concatenate([t["position"] for t in tables])
    count = np.concatenate([t["count"] for t in tables])
    order = np.argsort(position, kind="stable")
    if not len(order):
        log.warning("no seeds: no cells will be found")
    name = job.name("table")
    for column, values in (("position", position[order]), ("count", count[order])):
        put_column(job.store, f"{name}/{column}", values)
    return gathered(
        job,
        summary,
        begin,
        seeds=name,
        found=len(order),
        counts=f"peaks-{summary['key']}/counts",
        dtype="uint32" if len(order) < 2**32 else "uint64",
    )


def seeds_in(
    store: Store, summary: Summary, box: Box, shape: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Seeds in a box: voxels (N, 3) int64 ZYX, end points each holds, and provisional IDs."""
    plane = shape[1] * shape[2]
    first, position, count = rows(
        store,
        (f"{summary['seeds']}/position", f"{summary['seeds']}/count"),
        summary["found"],
        (box.start[0] * plane, box.stop[0] * plane),
    )
    voxels = np.stack(np.unravel_index(position, shape), axis=1)
    inside = ((voxels >= box.start) & (voxels < box.stop)).all(axis=1)
    ids = np.arange(first + 1, first + 1 + len(voxels), dtype=np.int64)
    return voxels[inside], count[inside], ids[inside]
