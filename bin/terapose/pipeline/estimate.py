"""What a plan will need, before it starts: memory of a task of each stage, and the store's peak.

The terms are what Python takes with the libraries of a stage, and the arrays that a task holds at
once, in bytes a voxel, times the voxels it reads. They are upper bounds, of what was measured
(``make projections``, docs/hpc.md) where nearly every voxel belongs to a cell. How far points
travel is known only later: cells that are far larger than ``diameter`` take more than is projected.
`terapose.pipeline.graph` says which stage has which.

Where a task would need more than ``max_memory``, blocks and slabs are made smaller
(`terapose.pipeline.fitting`). So another estimate may be another plan for large images, of which
all is then computed again: the changelog has to say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from terapose.core.geometry import AXES
from terapose.pipeline.sizes import BAND, CONVERT_PLANES, FIRST_HALO

if TYPE_CHECKING:
    from terapose.core.geometry import ZYX
    from terapose.pipeline.plan import Plan

Memory = Callable[["Plan"], int]
"""Bytes that a task of a stage needs."""
MemoryGiven = Callable[["Plan", Mapping[str, Any]], int]
"""The same where the stage's own parameters are known, by name."""

MB = 10**6
GB = 10**9
IDLE_BASE = 80 * MB
"""Python with the libraries of any task."""
FLOWS_BASE = 100 * MB
"""The same with what smooths flows."""
BASE = 160 * MB
"""Python with numba and zarr."""
KERNELS_BASE = 260 * MB
"""The same with the kernels of stages on blocks."""
FOLLOW_BASE = 276 * MB
"""The same with all kernels that follow flows."""
BLOCKS_BASE = 290 * MB
"""The same with tables of cells."""
NETWORK_BASE = 1_060 * MB
"""The same with torch, and a batch of tiles of a U-Net.

How much of a library's file is in memory depends on the kernel and on what else runs: between
machines PyTorch took 110 MB more or less, and numba 30 MB. These numbers are of what took most.
"""
GPU_BASE = 2_300 * MB
"""The same with the libraries of a GPU (CUDA 13)."""
_BIN = 2**16 * 8
"""Of the counts of all values of a bin."""
HALO = 2 * FIRST_HALO
"""Voxels that ``follow`` reads around a block where the first ones do not suffice."""


def of_planes(plan: Plan) -> int:
    """Memory of a task that decodes planes, all of the image whatever is segmented of it."""
    z, y, x = plan.image.whole
    return BASE + min(CONVERT_PLANES, z) * y * x * plan.image.itemsize * 4


def of_counts(plan: Plan) -> int:
    """Memory of a task that counts intensities."""
    rules, image, block = plan.intensity, plan.image, plan.counting.block
    # integers of 16 bits are counted as they are, of others some bins value by value
    held, fine = (16, 0) if image.itemsize <= 2 else (40, sum(map(len, rules.windows)))
    if rules.mode != "tile":
        return BASE + math.prod(block) * (image.itemsize + held) + 3 * _BIN * fine
    # tiles that begin in a block are read whole, of all channels
    edges = (min(b + rules.tile, n) for b, n in zip(block[1:], image.whole[1:], strict=True))
    channels = len(image.channels)
    return BASE + block[0] * math.prod(edges) * (image.itemsize * channels + held)


def of_network(plan: Plan) -> int:
    """Memory of a process that has loaded the network: it keeps it for the stages that follow."""
    # weights, and the file while they are read
    return (GPU_BASE if plan.model.device != "cpu" else NETWORK_BASE) + 2 * plan.model.size


def of_pass(axis: str) -> Memory:
    """Memory of a task of a pass of the network: its box and the tiles around it."""
    number = AXES.index(axis)

    def memory(plan: Plan) -> int:
        window = math.prod(
            n if i == number else min(n + 2 * plan.model.tile, whole)
            for i, (n, whole) in enumerate(
                zip(plan.passes[number], plan.network_shape, strict=True)
            )
        )
        inputs = plan.model.channels * 12 + plan.image.itemsize
        return of_network(plan) + window * (
            inputs + (40 if plan.resized else 0) + (36 if plan.flat else 28)
        )

    return memory


def of_blocks(
    *,
    seen: int = 0,
    flat: int = 0,
    halo: int | None = None,
    resized: float = 1.0,
    base: int = KERNELS_BASE,
) -> Memory:
    """Memory of a task on blocks and what is around them.

    Parameters
    ----------
    seen, flat
        Bytes for each voxel that it reads, of volumes and of planes by themselves: these have
        more points for their size.
    halo
        Voxels that it reads around a block; None: as far as points travel.
    resized
        How many times as much that is where flows were resized.
    base
        Bytes of Python with its libraries and kernels.
    """

    def memory(plan: Plan) -> int:
        times = resized if plan.resized else 1.0
        return base + int(_seen(plan, halo) * (flat if plan.flat else seen) * times)

    return memory


def of_own(plan: Plan) -> int:
    """Memory of a task that compares the labels of blocks."""
    return 200 * MB + math.prod(plan.block) * 75


def of_resized(plan: Plan) -> int:
    """Memory of a task that brings flows from the network's grid to the image's.

    Whether they are smoothed as well is decided later. Where they are, and far, it may be more
    (`of_combined`).
    """
    if plan.flat and not plan.resized:
        return IDLE_BASE
    times = max(2 * _larger(plan) + 5, 2.7 * _larger(plan) + 1)
    return KERNELS_BASE + int(math.prod(plan.block) * 4 * plan.components * times)


def of_combined(plan: Plan, params: Mapping[str, Any]) -> int:
    """The same of a task that smooths flows as these parameters say, or has nothing to do."""
    if plan.is_combined(params):
        return IDLE_BASE
    smooth = params["flow3d_smooth"]
    margins = [math.ceil(4 * sigma) for sigma in (smooth if len(smooth) == 3 else 3 * smooth)]
    times = max(4.3, 2.7 * _larger(plan) + 1)
    voxels = _around(plan.block, margins, plan.image.shape)
    return FLOWS_BASE + int(voxels * 4 * plan.components * times)


def of_bands(plan: Plan) -> int:
    """Memory of a task that goes through the boxes of cells in bands of planes or rows.

    The rows of all its cells are in memory as well, and several times while they are sorted and
    compressed.
    """
    # upscaled or not is decided later; parts of level 0 are as large as a block
    shape = (plan.full or plan.output).shape
    margins = [
        0 if plan.flat and axis == 0 else math.ceil(HALO * n / m)
        for axis, (n, m) in enumerate(zip(shape, plan.image.shape, strict=True))
    ]
    voxels = min(_around(plan.block, margins, shape), 3 * BAND)
    rows = _cells(plan, "measure") * 5 * (130 + 4 * len(plan.image.all_channels))
    return BLOCKS_BASE + voxels * (36 if plan.flat else 24) + int(rows)


def of_outlines(plan: Plan) -> int:
    """Memory of a task that traces cells, always on the level that is segmented.

    The outlines of all its cells are in memory as well, and more than once while they are sorted
    and compressed: about two corners, of 8 bytes, for each pixel of a diameter, and columns of 40
    bytes.
    """
    rings = _cells(plan, "outlines") * 3.2 * (15 * plan.diameter.pixels + 40)
    return BLOCKS_BASE + min(_seen(plan, HALO), 3 * BAND) * 40 + int(rings)


def _cells(plan: Plan, stage: str) -> float:
    """Cells of the largest task of a stage on blocks, if they fill it."""
    largest = max((stop - first for first, stop in plan.tasks.get(stage, ())), default=1)
    voxels = min(largest * math.prod(plan.block), math.prod(plan.image.shape))
    diameter = max(plan.diameter.pixels, 1.0)
    area, volume = 0.8 * diameter**2, 0.5 * diameter**3 / max(plan.anisotropy, 1.0)
    return voxels / (area if plan.mode == "2d" else volume)


def of_regions(plan: Plan) -> int:
    """Memory of a task that writes chunks of the label image."""
    outputs = (plan.output, plan.full or plan.output)
    largest = max(
        60 * math.prod(output.chunks)
        + 2 * math.prod(map(min, output.region, output.shape))  # coarser levels, as a whole
        for output in outputs
    )
    # planes have more cells to look up
    return BASE + largest + (100 * MB if plan.flat else 0)


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
        store += math.prod(plan.image.whole) * plan.image.itemsize * len(plan.image.all_channels)
    return int(store)


def _seen(plan: Plan, halo: int | None) -> int:
    """Voxels of a block and what is read around it."""
    margin = travel(plan) if halo is None else halo
    return _around(plan.block, (0 if plan.flat else margin, margin, margin), plan.image.shape)


def _around(block: ZYX, margins: Sequence[int], shape: ZYX) -> int:
    """Voxels of a block and so many around it."""
    return math.prod(
        # of two blocks each has but one neighbour
        min(b + margin * (2 if n > 2 * b else 1), n)
        for b, margin, n in zip(block, margins, shape, strict=True)
    )


def _larger(plan: Plan) -> float:
    """How many voxels of the network's grid there are for each of the image."""
    return math.prod(plan.network_shape) / math.prod(plan.image.shape)


def travel(plan: Plan) -> int:
    """Voxels that points travel, and seeds grow: few go farther than their cell is long."""
    return math.ceil(1.5 * plan.model.diam_mean / plan.rescale) + 8
