"""seeds (gather): one table of all seeds, numbered by position.

A seed's provisional ID is its place in C order (z, y, x) of the whole image, from 1: dense, and
the same whatever the blocks were. The table is sorted by position, a layer of blocks at a time, so
a block finds the seeds around it by bisection.
"""

from __future__ import annotations

import logging

import numpy as np

from terapose.io.store.long_tables import Sorter, voxels_together
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Make the table of what ``peaks`` has found."""
    width = voxels_together(job.plan.grid)
    by_position = Sorter(job.store, job.name("unsorted"), "position", width)
    for result in results:
        by_position.add(job.store.get_table(result["seeds"]))
    name = job.name("table")
    found = by_position.put_columns(name, {"position": np.uint64, "count": np.int32})
    if not found:
        log.warning("no seeds: no cells will be found")
    state = State(
        seeds=name,
        found=found,
        counts=f"peaks-{job.before.key}/counts",
        dtype="uint32" if found < 2**32 else "uint64",
    )
    return Added(state, {"found": found})
