"""combine: bring the summed flows from the network's grid to the image's, and smooth them.

dZ = ZX0 + ZY0, dY = YX0 + ZY1, dX = YX1 + ZX1 and the cell probability is the sum of the three
(sums, not means, as Cellpose has it: thresholds scale accordingly); the passes of ``gradients``
have added them up already. Independent planes have dY, dX and the probability of one pass. Here
each block

1. reads the sum with a halo of one voxel for resizing and ``int(4 * sigma + 0.5)`` for smoothing;
2. resizes flows and probability as if the whole were resized. dZ still counts steps of the
   network's grid. Where Z is stretched there, dZ is divided by the anisotropy. Cellpose leaves it
   as it is (``flow_scaling: cellpose``): points overshoot the middle of flat cells, which leaves
   rings and stripes. Where Z is squeezed, longer steps would overshoot in their turn, so there dZ
   stays as it is;
3. smooths the flows with a Gaussian, if requested;
4. writes its block, and nothing beyond it.

Where none of this changes anything (the image's own grid, isotropic Z or independent planes, no
smoothing) the sum itself is the result, and nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from terapose.algorithms.resize import resize, source_box
from terapose.core.geometry import ZYX, Box, zyx
from terapose.intermediates.flows import read_flows, sums
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def sigmas(smooth: Sequence[float]) -> tuple[float, float, float]:
    """Standard deviations along Z, Y and X (voxels)."""
    z, y, x = smooth if len(smooth) == 3 else (*smooth, *smooth, *smooth)
    return (z, y, x)


def halo(smooth: Sequence[float]) -> ZYX:
    """Voxels that smoothing reads beyond its block (scipy truncates at four sigmas)."""
    z, y, x = (int(4.0 * s + 0.5) for s in sigmas(smooth))
    return (z, y, x)


def _needed(job: Job, item: int) -> tuple[Box, Box]:
    """What a block reads, on the image's grid and on the network's."""
    shape = job.plan.image.shape
    box = job.plan.grid[item].grow(halo(job.params["flow3d_smooth"])).clip(shape)
    return box, source_box(box, job.plan.network_shape, shape)


def run(job: Job) -> dict[str, Any]:
    """Combine the blocks of one task."""
    if job.plan.is_combined(job.params):
        return {"checksums": []}
    plan, name = job.plan, job.name("flows")
    shape, chunks = (plan.components, *plan.image.shape), (plan.components, *plan.chunk)
    packs = plan.block_packs(plan.components * plan.flow_itemsize)
    job.store.create(name, shape, chunks, plan.flow_precision, packs=packs)
    checksums = []
    for item in job.items:
        checksums.append(job.each(item, partial(_block, job, name, item)))
        if job.params["keep_intermediates"] != "all":
            drop(job, item)
    return {"checksums": checksums}


def _block(job: Job, name: str, item: int) -> int:
    """Resize and smooth one block."""
    plan = job.plan
    box, source = _needed(job, item)
    flows = read_flows(job, sums(plan.axes[-1]), source)
    job.confirm(item)
    if plan.resized:
        flows = resize(flows, box, plan.network_shape, plan.image.shape)
    if plan.divisor(job.params) != 1:
        flows[0] /= plan.divisor(job.params)
    if any(job.params["flow3d_smooth"]):
        from scipy.ndimage import gaussian_filter  # slow to import, and few runs need it

        flows[:3] = gaussian_filter(flows[:3], [0, *sigmas(job.params["flow3d_smooth"])])
    block = plan.grid[item]
    kept = np.ascontiguousarray(flows[(slice(None), *block.within(box))])
    return job.store.write(name, block, kept.astype(plan.flow_precision))


def _readers(job: Job, part: Box) -> list[int]:
    """Blocks that read a part of the sum."""
    plan = job.plan
    ratios = [i / n for i, n in zip(plan.image.shape, plan.network_shape, strict=True)]
    # a voxel of the network's grid reaches as far as the next ones; sorted out exactly below
    near = Box(
        zyx(math.floor((a - 1) * r) - 2 for a, r in zip(part.start, ratios, strict=True)),
        zyx(math.ceil((b + 1) * r) + 2 for b, r in zip(part.stop, ratios, strict=True)),
    ).grow(halo(job.params["flow3d_smooth"]))
    return [i for i in plan.grid.touching(near) if _needed(job, i)[1].intersect(part).size]


def drop(job: Job, item: int) -> None:
    """Drop the files of the sum that all blocks have read by now.

    A block leaves its marker before it looks for those of the others: the last one sees them all.
    """
    name = sums(job.plan.axes[-1])
    # files share their readers, and to ask for a marker is a request
    done: dict[int, bool] = {}
    for box in job.store.boxes(name, _needed(job, item)[1]):
        readers = _readers(job, box)
        done |= {n: job.left(n) is not None for n in readers if n not in done}
        if all(done[reader] for reader in readers):
            job.store.drop_box(name, box)


def gather(job: Job, results: list[Result]) -> Added:
    """Name the array that the next stages read."""
    last = sums(job.plan.axes[-1])
    flows = last if job.plan.is_combined(job.params) else job.name("flows")
    return Added(State(flows=flows))
