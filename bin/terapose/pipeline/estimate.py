"""What a plan will need, before it starts: memory of a task, and the store's peak.

The terms are the arrays a task holds at once, in bytes a voxel, times the voxels it reads. They
are upper bounds: a test holds measured peaks against them.
"""

from __future__ import annotations

import math

import numpy as np

from terapose.pipeline.graph import GRAPH
from terapose.pipeline.plan import BAND, CONVERT_PLANES, Plan, Projection

MB = 10**6
BASE = 400 * MB
"""Python with numba, zarr and scipy."""
NETWORK_BASE = 2_000 * MB
"""The same with torch and a batch of a network's activations."""
MARGIN = 64
"""Voxels around a block for which room is projected; only outliers are carried farther."""


def project(plan: Plan) -> Projection:
    """Project memory and disk.

    Parameters
    ----------
    plan
        A plan whose tasks may still be missing.

    Returns
    -------
    Projection
        Bytes of memory for a task of each stage, and bytes of the store at its peak.
    """
    shape, grid, block = plan.image.shape, plan.network_shape, plan.block
    item = np.dtype(plan.image.dtype).itemsize
    core = math.prod(block)
    seen = math.prod(
        b if axis == 0 and plan.flat else min(b + 2 * MARGIN, n)
        for axis, (b, n) in enumerate(zip(block, shape, strict=True))
    )
    slabs = [_window(plan, axis) for axis in range(len(plan.passes))]
    planes = min(CONVERT_PLANES, shape[0]) * shape[1] * shape[2]
    channels = plan.model.channels
    resized = 40 if plan.resized else 0
    network_base = NETWORK_BASE + 2 * plan.model.size  # weights, and the file while they are read
    # upscaled or not is decided later
    full = plan.full or plan.output
    finer = math.ceil(math.prod(full.shape) / math.prod(shape))
    memory = {
        "convert": BASE + planes * item * 4,
        "intensities": BASE + core * (item + 40),
        **{
            f"gradients-{axis}": network_base + n * (channels * (item + 24) + resized + 40)
            for axis, n in zip(plan.axes, slabs, strict=True)
        },
        "combine": BASE + seen * 64,
        "follow": BASE + seen * 40 + core * 80,
        "peaks": BASE + seen * 60,
        "overlaps": BASE + core * 60,
        "matches": BASE + core * 60,
        "outlines": BASE + min(seen, 3 * BAND) * 40,
        "measure": BASE + min(finer * seen, 3 * BAND) * 40,
        "export": BASE + max(math.prod(p.chunks) for p in (plan.output, full)) * 100,
    }
    # of stages of blocks that say nothing else: what the most demanding ones need
    memory = {**{s.name: BASE + seen * 90 for s in GRAPH if s.over == "blocks"}, **memory}
    voxels, network = math.prod(shape), math.prod(grid)
    # the last sum while the one before still stands for the slabs in flight
    flight = max(min(1.0, 2 * s / n) for s, n in zip(plan.slabs, grid, strict=True))
    flows = plan.components * np.dtype(plan.flow_precision).itemsize
    store = network * flows * (1 if plan.flat else 1 + flight) + voxels * flows * plan.resized
    # end points, histogram and labels, where nothing compresses
    store += voxels * 14 * plan.flat
    store += voxels * item * len(plan.image.channels) * plan.image.convert
    return Projection(memory=memory, store=int(store))


def _window(plan: Plan, axis: int) -> int:
    """Voxels of the network's grid that a task of a pass reads: its box and the tiles around it."""
    return math.prod(
        n if i == axis else min(n + 2 * plan.model.tile, whole)
        for i, (n, whole) in enumerate(zip(plan.passes[axis], plan.network_shape, strict=True))
    )
