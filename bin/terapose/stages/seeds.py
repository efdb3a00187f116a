"""seeds (gather): one table of all seeds, numbered by position.

A seed's provisional ID is its place in C order (z, y, x) of the whole image, from 1: dense, and
the same whatever the blocks were. The table is sorted by position, a layer of blocks at a time, so
a block finds the seeds around it by bisection.
"""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from terapose.columns import pieces
from terapose.geometry import ZYX, Box
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.parts import Sorter, voxels_together
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
    width = voxels_together(job.plan.grid)
    by_position = Sorter(job.store, job.name("unsorted"), "position", width)
    for result in results:
        by_position.add(job.store.get_table(result["seeds"]))
    name = job.name("table")
    found = by_position.put_columns(name, {"position": np.uint64, "count": np.int32})
    if not found:
        log.warning("no seeds: no cells will be found")
    return gathered(
        job,
        summary,
        begin,
        seeds=name,
        found=found,
        counts=f"peaks-{summary['key']}/counts",
        dtype="uint32" if found < 2**32 else "uint64",
    )


def seeds_in(
    store: Store, summary: Summary, box: Box, shape: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Seeds in a box: voxels (N, 3) int64 ZYX, end points each holds, and provisional IDs."""
    plane = shape[1] * shape[2]
    span = (box.start[0] * plane, box.stop[0] * plane)
    found = [(np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    columns = ("position", "count")
    # most seeds of these planes lie elsewhere: of many, a part is in memory at a time
    for first, rows in pieces(store, summary["seeds"], columns, summary["found"], span):
        voxels = np.stack(np.unravel_index(rows["position"], shape), axis=1)
        inside = np.flatnonzero(((voxels >= box.start) & (voxels < box.stop)).all(axis=1))
        found.append((voxels[inside], rows["count"][inside], first + 1 + inside))
    voxels, count, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return voxels, count, ids
