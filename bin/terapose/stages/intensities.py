"""intensities: what the percentiles of the channels in use are made of.

- ``normalize: global`` (and where nothing is measured): each block counts its values, exactly (see
  `terapose.algorithms.normalize.histogram`); the histograms are added up later;
- ``plane``: each item is a run of whole planes, read in blocks, and finds their percentiles;
- ``tile``: tiles of a plane overlap (`terapose.algorithms.normalize.tiled`). Each belongs to the
  block that contains its first pixel, which reads as far beyond its edge as a tile is long.

With ``percentile_sampling: cellpose`` only the voxels of the strided grid are counted that
`cellpose.transforms.normalize99` looks at in images above 224**3 voxels; the grid belongs to the
whole image (or plane), so each block counts its part of it. Voxels that are not finite numbers stop
the run here: no later stage has to expect them.

Where a region is segmented, this stage looks at the whole image all the same (`Plan.counted`), so
that a region has the intensities that it has in the whole; with ``plane``, and with ``tile`` in
mode 2d, at whole planes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.histogram import Histogram, WindowMissedError
from terapose.algorithms.normalize.precision import EXACT, check_held, loss_of
from terapose.algorithms.normalize.tiled import tile_percentiles, tile_starts
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.intermediates.intensities import counted, pack, sampled, stride
from terapose.pipeline.job import Job
from terapose.pipeline.sizes import STATISTICS_PLANES

_NOTHING = (np.inf, -np.inf, EXACT)
"""Smallest value, largest value, and what float32 makes of them, before any is seen."""


def check_finite(values: NDArray[Any], box: Box, address: str, channel: int) -> None:
    """Refuse NaN and infinite voxels, and those that would be infinite in float32.

    Raises
    ------
    InputError
        Naming the first one.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        check_held(values, address, channel)
        return
    bad = ~np.isfinite(values)
    at = np.argwhere(bad)[0]
    place = tuple(int(a + b) for a, b in zip(at, box.start, strict=True))
    raise InputError(
        "the image has voxels that are not finite numbers",
        where=f"{address}, channel {channel}",
        got=f"{values[tuple(at)]} at z, y, x = {place} and {int(bad.sum()) - 1} more in its block",
        allowed="finite intensities",
        remedy="replace them, for example with 0",
    )


def run(job: Job) -> dict[str, Any]:
    """Measure the items of one task; what is found goes to the store as a table."""
    measure = {"plane": _planes, "tile": _tiles}.get(job.plan.intensity.mode, _count)
    extremes = [list(_NOTHING) for _ in job.plan.image.channels]
    name = job.name(f"{job.task}.npz")
    job.store.put_table(name, measure(job, extremes))
    return {"table": name, "extremes": extremes}


def _read(job: Job, box: Box, n: int, extremes: list[list[float]]) -> NDArray[Any]:
    """Finite voxels of a box of the whole image, of the ``n``-th channel in use.

    Notes the smallest, the largest, and what float32 makes of them
    (`terapose.algorithms.normalize.precision`).
    """
    channel = job.plan.image.channels[n]
    values = job.read_whole(box, channel)
    check_finite(values, box, job.plan.image.address, channel)
    extremes[n][0] = min(extremes[n][0], float(values.min()))
    extremes[n][1] = max(extremes[n][1], float(values.max()))
    extremes[n][2] = max(extremes[n][2], loss_of(values))
    return values


def _count(job: Job, extremes: list[list[float]]) -> dict[str, NDArray[Any]]:
    """Histograms of the task's blocks, one a channel."""
    rules = job.plan.intensity
    steps = stride(job.plan.counted.shape, rules.sampling)
    dtype = np.dtype(job.plan.image.dtype)
    histograms = [Histogram.empty(dtype, windows) for windows in rules.windows]
    for item in job.items:
        box = job.plan.counted_block(item)
        for n, histogram in enumerate(histograms):
            values = _read(job, box, n, extremes)
            histogram.add(counted(sampled(values, box, steps), rules))
    return pack(histograms)


def _planes(job: Job, extremes: list[list[float]]) -> dict[str, NDArray[Any]]:
    """``low`` and ``high`` of each plane and channel: (planes, channels) float32."""
    depth, height, width = job.plan.counted.stop
    start = job.plan.counted.start[0]
    _, tall, wide = job.plan.block
    ends = []
    for item in job.items:
        first = start + item * STATISTICS_PLANES
        for z in range(first, min(first + STATISTICS_PLANES, depth)):
            parts = [
                Box((z, y, x), (z + 1, min(y + tall, height), min(x + wide, width)))
                for y in range(0, height, tall)
                for x in range(0, width, wide)
            ]
            channels = range(len(job.plan.image.channels))
            ends.append([_plane_ends(job, parts, n, extremes) for n in channels])
    table = np.array(ends, np.float32)
    return {"low": table[..., 0], "high": table[..., 1]}


def _plane_ends(
    job: Job, parts: list[Box], n: int, extremes: list[list[float]]
) -> tuple[np.float32, np.float32]:
    """Percentiles of one plane; not a number where the plane is constant or nothing counts."""
    rules = job.plan.intensity
    steps = stride((1, *job.plan.image.whole[1:]), rules.sampling)
    here = [list(_NOTHING) for _ in extremes]
    histogram = Histogram.empty(np.dtype(job.plan.image.dtype))
    for part in parts:
        values = _read(job, part, n, here)
        histogram.add(counted(sampled(values, part, (1, *steps[1:])), rules))
    extremes[n][0] = min(extremes[n][0], here[n][0])
    extremes[n][1:] = (max(pair) for pair in zip(extremes[n][1:], here[n][1:], strict=True))
    if here[n][0] == here[n][1] or not histogram.count:
        return np.float32(np.nan), np.float32(np.nan)
    missed: set[int] = set()
    for percent in rules.percentiles:
        try:
            histogram.percentiles([percent])
        except WindowMissedError as error:
            missed |= error.windows
    if missed:
        # now that the bins are known, count their values one by one
        histogram = Histogram.empty(histogram.dtype, missed)
        for part in parts:
            values = _read(job, part, n, here)
            histogram.add(counted(sampled(values, part, (1, *steps[1:])), rules))
    low, high = histogram.percentiles(rules.percentiles)
    return low, high


def _tiles(job: Job, extremes: list[list[float]]) -> dict[str, NDArray[Any]]:
    """Percentiles of tiles: plane, row and column of each, and (tiles, channels) float32 ends.

    Planes are counted from the first that is measured.
    """
    rules, shape = job.plan.intensity, job.plan.image.whole
    top = job.plan.counted.start[0]
    starts = [tile_starts(n, rules.tile) for n in shape[1:]]
    places, ends = [], []
    for item in job.items:
        core = job.plan.counted_block(item)
        rows, columns = (
            np.flatnonzero((s >= a) & (s < b))
            for s, a, b in zip(starts, core.start[1:], core.stop[1:], strict=True)
        )
        _, tall, wide = (n + rules.tile for n in core.stop)
        box = Box(core.start, (core.stop[0], tall, wide)).clip(shape)
        values = [_read(job, box, n, extremes) for n in range(len(job.plan.image.channels))]
        for z, row, column in itertools.product(range(core.shape[0]), rows, columns):
            y, x = starts[0][row] - box.start[1], starts[1][column] - box.start[2]
            tile = (z, slice(y, y + rules.tile), slice(x, x + rules.tile))
            places.append((z + core.start[0] - top, row, column))
            ends.append([tile_percentiles(v[tile], rules.percentiles) for v in values])
    table = np.array(ends, np.float32).reshape(len(ends), len(extremes), 2)
    index = np.array(places, np.int64).reshape(len(places), 3)
    return {"place": index, "low": table[..., 0], "high": table[..., 1]}
