"""peaks: count end points per voxel and find the seeds of each block.

A block's histogram needs every point that ends in it, wherever that starts. How far away that can
be is known by now: the margin is the largest displacement of all blocks that come so near
(`terapose.core.geometry.reach`). Seeds are maxima of a 5-wide window, so the histogram is counted
two voxels beyond the block. The block's histogram (mostly zeros) and its seeds are written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.seeds import PEAK, count_ends, find_seeds
from terapose.core.geometry import Box, reach
from terapose.core.voxels import held_by
from terapose.intermediates.ends import read_ends
from terapose.io.store.arrays import INTEGER
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Count the blocks of one task and write their seeds as a table."""
    plan, shape = job.plan, job.plan.image.shape
    farthest = job.store.get_table(job.before.displacements)["displacement"]
    packs = plan.block_packs(4)
    job.store.create(job.name("counts"), shape, plan.chunk, "int32", INTEGER, packs)
    found = [_block(job, plan.grid[item], farthest) for item in job.items]
    table = job.name(f"{job.task}.npz")
    columns = {
        "position": np.concatenate([block.position for block in found]),
        "count": np.concatenate([block.counts for block in found]),
    }
    job.store.put_table(table, columns)
    checksums = [block.checksum for block in found]
    return {"seeds": table, "found": len(columns["position"]), "checksums": checksums}


class _Found(NamedTuple):
    """Seeds of a block, their linear index and end points, and the histogram's checksum."""

    position: NDArray[np.uint64]
    counts: NDArray[np.int32]
    checksum: int


def _block(job: Job, core: Box, farthest: NDArray[np.int32]) -> _Found:
    """Find the seeds of a block, and write its histogram."""
    plan, shape = job.plan, job.plan.image.shape
    margin = reach(plan.grid, farthest, core, PEAK)
    seen = plan.around(core, PEAK)
    # where points start is not kept: a block's points are most of what a task holds
    ends = read_ends(job, job.before.ends, plan.around(core, margin))[1]
    histogram = count_ends(ends, seen.start, seen.shape)
    seeds = find_seeds(histogram, flat=plan.flat) + seen.start
    mine = seeds[held_by(core, seeds)]
    block = np.ascontiguousarray(histogram[core.within(seen)])
    return _Found(
        position=np.ravel_multi_index(tuple(mine.T), shape).astype(np.uint64),
        counts=histogram[tuple((mine - seen.start).T)],
        checksum=job.store.write(job.name("counts"), core, block),
    )
