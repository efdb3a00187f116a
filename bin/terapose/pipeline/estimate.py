"""What a plan will need, before it starts: memory of a task of each stage, and the store's peak.

The terms are the arrays a task holds at once, in bytes a voxel, times the voxels it reads. They
are upper bounds: a test holds measured peaks against them. `terapose.pipeline.graph` says which
stage has which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from terapose.core.geometry import AXES
from terapose.pipeline.sizes import BAND, CONVERT_PLANES

if TYPE_CHECKING:
    from terapose.pipeline.plan import Plan

Memory = Callable[["Plan"], int]
"""Bytes that a task of a stage needs."""

MB = 10**6
BASE = 400 * MB
"""Python with numba, zarr and scipy."""
NETWORK_BASE = 2_000 * MB
"""The same with torch and a batch of a network's activations."""
MARGIN = 64
"""Voxels around a block for which room is projected; only outliers are carried farther."""


def of_planes(plan: Plan) -> int:
    """Memory of a task that decodes planes, all of the image whatever is segmented of it."""
    z, y, x = plan.image.whole
    return BASE + min(CONVERT_PLANES, z) * y * x * plan.image.itemsize * 4


def of_counts(plan: Plan) -> int:
    """Memory of a task that counts intensities."""
    return BASE + math.prod(plan.block) * (plan.image.itemsize + 40)


def of_pass(axis: str) -> Memory:
    """Memory of a task of a pass of the network: its box and the tiles around it."""
    number = AXES.index(axis)

    def memory(plan: Plan) -> int:
        # weights, and the file while they are read
        base = NETWORK_BASE + 2 * plan.model.size
        window = math.prod(
            n if i == number else min(n + 2 * plan.model.tile, whole)
            for i, (n, whole) in enumerate(
                zip(plan.passes[number], plan.network_shape, strict=True)
            )
        )
        resized = 40 if plan.resized else 0
        return base + window * (plan.model.channels * (plan.image.itemsize + 24) + resized + 40)

    return memory


def of_blocks(*, seen: int = 0, own: int = 0) -> Memory:
    """Memory of a task on blocks: bytes for each voxel that it sees, and for each of a block."""
    return lambda plan: BASE + _seen(plan) * seen + math.prod(plan.block) * own


def of_bands(plan: Plan) -> int:
    """Memory of a task that goes through the boxes of cells in bands of planes or rows."""
    # upscaled or not is decided later
    finer = math.ceil(_largest_output(plan) / math.prod(plan.image.shape))
    return BASE + min(finer * _seen(plan), 3 * BAND) * 40


def of_outlines(plan: Plan) -> int:
    """Memory of a task that traces cells, always on the level that is segmented."""
    return BASE + min(_seen(plan), 3 * BAND) * 40


def of_regions(plan: Plan) -> int:
    """Memory of a task that writes chunks of the label image."""
    outputs = (plan.output, plan.full or plan.output)
    return BASE + max(math.prod(output.chunks) for output in outputs) * 100


def of_store(plan: Plan) -> int:
    """Bytes of the store at its peak."""
    voxels, network = math.prod(plan.image.shape), math.prod(plan.network_shape)
    # the last sum while the one before still stands for the slabs in flight
    flight = max(min(1.0, 2 * s / n) for s, n in zip(plan.slabs, plan.network_shape, strict=True))
    flows = plan.components * plan.flow_itemsize
    store = network * flows * (1 if plan.flat else 1 + flight) + voxels * flows * plan.resized
    # end points, histogram and labels, where nothing compresses
    store += voxels * 14 * plan.flat
    if plan.image.convert:
        # all of the image, whatever is segmented of it
        store += math.prod(plan.image.whole) * plan.image.itemsize * len(plan.image.channels)
    return int(store)


def _seen(plan: Plan) -> int:
    """Voxels of a block and its margin."""
    return math.prod(
        b if axis == 0 and plan.flat else min(b + 2 * MARGIN, n)
        for axis, (b, n) in enumerate(zip(plan.block, plan.image.shape, strict=True))
    )


def _largest_output(plan: Plan) -> int:
    return math.prod((plan.full or plan.output).shape)
