"""export: write the final labels, with the levels of the pyramid that fit a region.

A region is a fixed number of output chunks and has nothing to do with the blocks of the work: the
files are the same however the work was cut. For each chunk of a region

1. read the provisional labels, look up their final IDs, put the voxels of filled holes in place,
   and make the compartments of them, if there are several (`terapose.compartments`);
2. with ``upscale`` bring them to level 0 (`terapose.levels`). Regions and chunks are then those of
   level 0; what several chunks have under them is read once, and is no more than about a chunk;
3. write it, and keep the voxels that coarser levels take (nearest: the first of each group).

Levels up to a factor of 4 have whole chunks in a region and are written here; ``finish`` makes the
few coarser ones from the last of these.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from terapose import compartments
from terapose.geometry import Box, Grid, zyx
from terapose.job import Job
from terapose.labels import downsample, level_region, open_level

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
    images = {
        name: [
            open_level(address(job), n, name=name) for n in range(levels_here(job.output.factors))
        ]
        for name in compartments.compartments(job.before)
    }
    regions = job.output.regions
    return {"checksums": [_region(job, regions[item], images) for item in job.items]}


def _region(job: Job, region: Box, images: dict[str, list[zarr.Array[Any]]]) -> int:
    """Write a region of each label image; returns the checksum of the finest levels."""
    factors = job.output.factors[1 : levels_here(job.output.factors)]
    coarse = {
        name: [
            np.zeros([s.stop - s.start for s in level_region(region.start, region.stop, f)],
                     levels[0].dtype)
            for f in factors
        ]
        for name, levels in images.items()
    }  # fmt: skip
    checksum = 0
    for box, found in _chunks(job, region):
        for name, labels in found.items():
            put(images[name][0], box.slices, labels)
            checksum = zlib.crc32(np.ascontiguousarray(labels).view(np.uint8).data, checksum)
            for part, factor in zip(coarse[name], factors, strict=True):
                inside = level_region(
                    [a - b for a, b in zip(box.start, region.start, strict=True)],
                    [a - b for a, b in zip(box.stop, region.start, strict=True)],
                    factor,
                )
                part[inside] = downsample(labels, factor, box.start)
    for name, levels in images.items():
        for array, part, factor in zip(levels[1:], coarse[name], factors, strict=True):
            put(array, level_region(region.start, region.stop, factor), part)
    return checksum


def _chunks(job: Job, region: Box) -> Iterator[tuple[Box, dict[str, NDArray[Any]]]]:
    """The chunks of a region, with the labels of each compartment."""
    chunk, cover = job.output.chunks, job.cover
    if cover is None:
        for box in chunks_of(region, chunk):
            yield box, compartments.read(job, box)
        return
    several = zyx(c * min(REGION_FACTOR, fine // n)
                  for c, fine, n in zip(chunk, cover.fine, cover.coarse, strict=True))  # fmt: skip
    for wide in chunks_of(region, several):
        part = cover.under(wide)
        found = compartments.read_level(job, part)
        for box in chunks_of(wide, chunk):
            yield box, {name: cover.spread(labels, part, box) for name, labels in found.items()}


def put(array: zarr.Array[Any], place: tuple[slice, ...], values: NDArray[Any]) -> None:
    """Write ZYX values to an array of three dimensions, or of two, which is a single plane."""
    array[place[-array.ndim :]] = values if array.ndim == 3 else values[0]


def chunks_of(region: Box, chunk: tuple[int, int, int]) -> list[Box]:
    """The chunks of a region that starts at a chunk."""
    return [box.moved(region.start) for box in Grid(region.shape, chunk)]
