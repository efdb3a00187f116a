"""seeds (gather): one table of all seeds, numbered by position.

A seed's provisional ID is its place in C order (z, y, x) of the whole image, from 1: dense, and
the same whatever the blocks were. The numbers are given a layer of blocks at a time. The table is
by block, so that a block reads the seeds around it and no others, however large the image is.
"""

from __future__ import annotations

import logging

import numpy as np

from terapose.core.voxels import blocks_of_indices
from terapose.intermediates.seeds import COLUMNS
from terapose.io.store.long_tables import BlockSorter, Sorter, voxels_together
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Make the table of what ``peaks`` has found."""
    width = voxels_together(job.plan.grid)
    by_position = Sorter(job.store, job.name("unsorted"), "position", width)
    for result in results:
        by_position.add(job.store.get_table(result["seeds"]))
    name, last = job.name("table"), 0
    table = BlockSorter(job.store, name, job.plan.grid, COLUMNS)
    for seeds in by_position.ranges():
        first, last = last + 1, last + len(seeds["position"])
        block = blocks_of_indices(job.plan.grid, seeds["position"])
        table.add({**seeds, "block": block, "id": np.arange(first, last + 1)})
    by_position.drop()
    found = table.close()
    if not found:
        log.warning("no seeds: no cells will be found")
    state = State(
        seeds=name,
        found=found,
        counts=f"peaks-{job.before.key}/counts",
        dtype="uint32" if found < 2**32 else "uint64",
    )
    return Added(state, {"found": found})
