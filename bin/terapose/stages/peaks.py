"""peaks: count end points per voxel and find the seeds of each block.

A block's histogram needs every point that ends in it, wherever that starts. How far away that can
be is known by now: the margin is the largest displacement of all blocks that come so near
(`terapose.core.geometry.reach`). Seeds are maxima of a 5-wide window, so the histogram is counted
two voxels beyond the block. Written are the block's histogram (mostly zeros) and its seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from terapose.algorithms.objects.seeds import PEAK, count_ends, find_seeds
from terapose.core.geometry import reach
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
    positions, counts, checksums = [], [], []
    for item in job.items:
        core = plan.grid[item]
        margin = reach(plan.grid, farthest, core, PEAK)
        _, ends = read_ends(job, job.before.ends, plan.around(core, margin))
        seen = plan.around(core, PEAK)
        histogram = count_ends(ends, seen.start, seen.shape)
        seeds = find_seeds(histogram, flat=plan.flat) + seen.start
        mine = seeds[held_by(core, seeds)]
        positions.append(np.ravel_multi_index(tuple(mine.T), shape).astype(np.uint64))
        counts.append(histogram[tuple((mine - seen.start).T)])
        block = np.ascontiguousarray(histogram[core.within(seen)])
        checksums.append(job.store.write(job.name("counts"), core, block))
    table = job.name(f"{job.task}.npz")
    columns = {"position": np.concatenate(positions), "count": np.concatenate(counts)}
    job.store.put_table(table, columns)
    return {"seeds": table, "found": len(columns["position"]), "checksums": checksums}
