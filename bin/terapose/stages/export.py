"""export: write the final labels, with the levels of the pyramid that fit a region.

A region is a fixed number of output chunks and has nothing to do with the blocks of the work: the
files are the same however the work was cut. For each chunk of a region

1. read the provisional labels, look up their final IDs, put the voxels of filled holes in place;
2. write it, and keep the voxels that coarser levels take (nearest: the first of each group).

Levels up to a factor of 4 have whole chunks in a region and are written here; ``finish`` makes the
few coarser ones from the last of these.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from terapose.geometry import Box, Grid
from terapose.job import Job
from terapose.labels import downsample, level_region, open_level
from terapose.naming import named_labels

REGION_FACTOR = 4
"""Edge of a region in chunks, and the largest factor of a level that is written with it."""


def levels_here(factors: tuple[tuple[int, int, int], ...]) -> int:
    """Number of levels, from the finest, that a region writes."""
    return sum(max(f) <= REGION_FACTOR for f in factors)


def address(job: Job) -> str:
    """Where the label image is written."""
    return f"{job.store.address}/{job.before['relabel']}/labels.zarr"


def run(job: Job) -> dict[str, Any]:
    """Write the regions of one task."""
    plan = job.plan
    factors = plan.output.factors[: levels_here(plan.output.factors)]
    arrays = [open_level(address(job), n) for n in range(len(factors))]
    checksums = []
    for item in job.items:
        region = plan.regions[item]
        coarse = [
            np.zeros([s.stop - s.start for s in level_region(region.start, region.stop, f)],
                     arrays[0].dtype)
            for f in factors[1:]
        ]  # fmt: skip
        checksum = 0
        for box in chunks_of(region, plan.output.chunks):
            labels = named_labels(job, box)
            put(arrays[0], box.slices, labels)
            checksum = zlib.crc32(np.ascontiguousarray(labels).view(np.uint8).data, checksum)
            for part, factor in zip(coarse, factors[1:], strict=True):
                inside = level_region(
                    [a - b for a, b in zip(box.start, region.start, strict=True)],
                    [a - b for a, b in zip(box.stop, region.start, strict=True)],
                    factor,
                )
                part[inside] = downsample(labels, factor, box.start)
        for array, part, factor in zip(arrays[1:], coarse, factors[1:], strict=True):
            put(array, level_region(region.start, region.stop, factor), part)
        checksums.append(checksum)
    return {"checksums": checksums}


def put(array: zarr.Array[Any], place: tuple[slice, ...], values: NDArray[Any]) -> None:
    """Write ZYX values to an array of three dimensions, or of two, which is a single plane."""
    array[place[-array.ndim :]] = values if array.ndim == 3 else values[0]


def chunks_of(region: Box, chunk: tuple[int, int, int]) -> list[Box]:
    """The chunks of a region that starts at a chunk."""
    z, y, x = region.start
    return [
        Box((b.start[0] + z, b.start[1] + y, b.start[2] + x),
            (b.stop[0] + z, b.stop[1] + y, b.stop[2] + x))
        for b in Grid(region.shape, chunk)
    ]  # fmt: skip
