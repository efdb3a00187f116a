"""What a plan will need, before it starts: memory of a task of each stage, and the store's peak.

The terms are what Python takes with the libraries of a stage, and the arrays that a task holds at
once, in bytes a voxel, times the voxels it reads. They are upper bounds, of what was measured
(``make projections``, docs/hpc.md) where nearly every voxel belongs to a cell. How far points
travel is known only later: where it is much more than ``diameter``, tasks take more than is
projected (in five volumes of nuclei, real and simulated, the longest way of any point was 0.4 to
1.04 of it).
`terapose.pipeline.graph` says which stage has which.

Where a task would need more than ``max_memory``, blocks and slabs are made smaller
(`terapose.pipeline.fitting`). So a changed estimate may change the plan of large images, and then
everything is computed again: the changelog has to say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from terapose.core.geometry import AXES
from terapose.pipeline.sizes import BAND, CONVERT_PLANES, MOST_PACK, first_halo

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
FOLLOW_BASE = 300 * MB
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
HALO = 48
"""Voxels around a block in which the rest of cells is that reach out of it."""


def of_planes(plan: Plan) -> int:
    """Memory of a task that decodes planes, all of the image whatever is segmented of it."""
    z, y, x = plan.image.whole
    return BASE + min(CONVERT_PLANES, z) * y * x * plan.image.itemsize * 4


def of_counts(plan: Plan) -> int:
    """Memory of a task that counts intensities."""
    rules, image, block = plan.intensity, plan.image, plan.counting.block
    # integers of 16 bits are counted as they are, of others some bins value by value
    held, fine = (16, 0) if image.itemsize <= 2 else (40, sum(map(len, rules.windows)))
    if rules.measures != "tiles":
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
    """Memory of a task of a pass of the network: its box and the tiles around it.

    While one box is computed, the next one is read.
    """
    number = AXES.index(axis)

    def memory(plan: Plan) -> int:
        box, grid = plan.passes[number], plan.network_shape
        window = _around(box, [0 if i == number else plan.model.tile for i in range(3)], grid)
        planes = 4 * plan.model.channels
        # a plane padded, its sum, and the weights; or what is added up in the store
        plane = (planes + 29) * window // box[number]
        pack = max(MOST_PACK // (plan.components * plan.flow_itemsize), math.prod(plan.slabs))
        adding = min(math.prod(box), pack) * plan.components * (4 + 2 * plan.flow_itemsize)
        held = window * (2 * planes + _reading(plan)) + math.prod(box) * 12 + max(plane, adding)
        return of_network(plan) + int(held)

    return memory


def _reading(plan: Plan) -> float:
    """Bytes that are held while voxels are read, scaled and resized, for each of a window."""
    rules = plan.intensity
    # as they are, scaled, and one more
    raw = plan.image.itemsize + 8 + 4 * (rules.merge != "none") + 4 * (rules.measures == "tiles")
    wanted = 2 * (plan.image.tissue is not None)
    # voxels after each step of `terapose.algorithms.resize`, along X, Y and Z
    left = [n / g for n, g in zip(plan.image.shape, plan.network_shape, strict=True)]
    before, most = math.prod(left), raw * math.prod(left)
    for axis in (2, 1, 0):
        if left[axis] != 1:
            after = before / left[axis]
            # neighbours, their difference and the result, partly of 64 bits
            most = max(most, 4 * before + 28 * after)
            before = after
    return most + wanted


def of_follow(plan: Plan) -> int:
    """Memory of a task that follows flows: its points, and the flows of the block and around it."""
    window = _seen(plan, first_halo(plan.diameter.pixels))
    return FOLLOW_BASE + math.prod(plan.block) * 80 + window * (26 if plan.flat else 38)


def of_peaks(plan: Plan) -> int:
    """Memory of a task that finds seeds: points that may end in a block, and how many do."""
    return KERNELS_BASE + _seen(plan, travel(plan)) * 33 + math.prod(plan.block) * 10


def of_masks(plan: Plan) -> int:
    """Memory of a task that labels cells: points of whole cells, and where they can come to."""
    far = travel(plan)
    return KERNELS_BASE + _seen(plan, far) * 44 + _seen(plan, 2 * far) * 8


def of_flow_errors(plan: Plan) -> int:
    """Memory of a task that judges objects: in planes also those around them, and theirs."""
    far = travel(plan)
    seen = _seen(plan, 3 * far) * 32 if plan.flat else _seen(plan, far) * 104
    return KERNELS_BASE + seen


def of_cell_holes(plan: Plan) -> int:
    """Memory of a task that finds holes of joined cells, of which most end one block further on."""
    z, y, x = plan.block
    margins = (0, travel(plan), travel(plan))
    read = _around((min(2 * z, plan.image.shape[0]), y, x), margins, plan.image.shape)
    chunk = max(math.prod(plan.chunk) * 24, math.prod(plan.slabs) * 4 * plan.components)
    return KERNELS_BASE + read * 13 + chunk


def of_blocks(*, seen: int = 0, flat: int = 0) -> Memory:
    """Memory of a task on blocks and what is around them, as far as points travel.

    Parameters
    ----------
    seen, flat
        Bytes for each voxel that it reads, of volumes and of planes by themselves: these have
        more points for their size.
    """

    def memory(plan: Plan) -> int:
        return KERNELS_BASE + _seen(plan, travel(plan)) * (flat if plan.flat else seen)

    return memory


def of_own(plan: Plan) -> int:
    """Memory of a task that compares the labels of blocks."""
    return 140 * MB + math.prod(plan.block) * 72


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
    return BLOCKS_BASE + voxels * (31 if plan.flat else 24) + int(rows)


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
        # where several chunks share a file, that file, of up to three label images
        + 12 * math.prod(output.chunks) * math.prod(output.shards) * (max(output.shards) > 1)
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


def _seen(plan: Plan, margin: int) -> int:
    """Voxels of a block and what is read around it."""
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
    """Voxels that points travel, and seeds grow: no point goes much farther than a diameter."""
    return math.ceil(1.1 * plan.diameter.pixels) + 8
