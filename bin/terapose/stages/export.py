"""export: write the final labels, with the levels of the pyramid that fit a region.

A region is a fixed number of output chunks and has nothing to do with the blocks of the work: the
files are the same however the work was cut. For each chunk of a region, and where several share a
file (``label_files: shards``), file by file

1. read the provisional labels, look up their final IDs, put the voxels of filled holes in place,
   and make the compartments of them, if there are several (`terapose.intermediates.compartments`);
2. with ``upscale`` bring them to level 0 (`terapose.core.levels`). Regions and chunks are then
   those of level 0; what several chunks have under them is read once, and is no more than about a
   chunk;
3. write it, and keep the voxels that coarser levels take (nearest: the first of each group).

Levels up to a factor of 4 have whole chunks in a region and are written here; ``finish`` makes the
few coarser ones from the last of these. The receipt has two checksums of each region: that of its
voxels, which says what was found, and that of the files (`terapose.io.labels.files`), which is
compared before they are handed to the user.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box, Grid, zyx
from terapose.intermediates import compartments
from terapose.intermediates.label_store import Level, ensure, files_of
from terapose.io.labels.files import LabelFiles, checksum
from terapose.io.labels.ome_zarr import REGION_FACTOR, downsample, level_region
from terapose.io.zarr_files import Noted
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Write the regions of one task."""
    ensure(job)
    files = files_of(job)
    images = {name: [Level.open(job, name, n) for n in range(files.fine)] for name in files.names}
    done = [_region(job, files, files.regions[item], images) for item in job.items]
    return {"checksums": [voxels for voxels, _ in done], "files": [crc for _, crc in done]}


def _region(
    job: Job, files: LabelFiles, region: Box, images: dict[str, list[Level]]
) -> tuple[int, int]:
    """Write a region of each label image; returns the checksums of voxels and files."""
    fine = len(next(iter(images.values())))
    factors = job.output.factors[1:fine]
    coarse = {
        name: [
            np.zeros([s.stop - s.start for s in level_region(region.start, region.stop, f)],
                     levels[0].array.dtype)
            for f in factors
        ]
        for name, levels in images.items()
    }  # fmt: skip
    voxels = 0
    for box, found in _parts(job, files, region):
        for name, labels in found.items():
            images[name][0].put(box.slices, labels)
            voxels = zlib.crc32(np.ascontiguousarray(labels).view(np.uint8).data, voxels)
            for part, factor in zip(coarse[name], factors, strict=True):
                inside = level_region(
                    [a - b for a, b in zip(box.start, region.start, strict=True)],
                    [a - b for a, b in zip(box.stop, region.start, strict=True)],
                    factor,
                )
                part[inside] = downsample(labels, factor, box.start)
        # before the next ones are read
        del found, labels
    noted: Noted = {}
    for name, levels in images.items():
        for level, part, factor in zip(levels[1:], coarse[name], factors, strict=True):
            level.put(level_region(region.start, region.stop, factor), part)
        for level in levels:
            noted |= level.written()
    return voxels, checksum(noted)


def _parts(
    job: Job, files: LabelFiles, region: Box
) -> Iterator[tuple[Box, dict[str, NDArray[Any]]]]:
    """Parts of a region that are whole files, with the labels of each compartment."""
    edges = files.edges(0)
    if edges == job.output.chunks:
        yield from _chunks(job, region)
        return
    for wide in chunks_of(region, edges):
        # no name here: those before are in memory as long as somebody has them
        yield wide, _together(job, wide)


def _together(job: Job, wide: Box) -> dict[str, NDArray[Any]]:
    """The labels of several chunks, of each compartment."""
    parts: dict[str, NDArray[Any]] = {}
    for box, found in _chunks(job, wide):
        for name, labels in found.items():
            if name not in parts:
                parts[name] = np.zeros(wide.shape, labels.dtype)
            parts[name][box.within(wide)] = labels
    return parts


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


def chunks_of(region: Box, chunk: tuple[int, int, int]) -> list[Box]:
    """The chunks of a region that starts at a chunk."""
    return [box.moved(region.start) for box in Grid(region.shape, chunk)]
