"""``normalize: tile``: percentiles of overlapping tiles, enlarged to the size of a plane.

Each tile (`terapose.algorithms.normalize.tiled`) belongs to the block that contains its first
pixel, which reads as far beyond its edge as a tile is long. There is one pair of maps for the whole
volume or, in mode 2d, one for each plane.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.algorithms.normalize.tiled import (
    normalize_tiles,
    tile_maps,
    tile_percentiles,
    tile_starts,
)
from terapose.core.geometry import Box
from terapose.intermediates.intensities import Extremes, read_finite, scale_table
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def measure(job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
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
        values = [read_finite(job, box, n, extremes) for n, extremes in enumerate(seen)]
        for z, row, column in itertools.product(range(core.shape[0]), rows, columns):
            y, x = starts[0][row] - box.start[1], starts[1][column] - box.start[2]
            tile = (z, slice(y, y + rules.tile), slice(x, x + rules.tile))
            places.append((z + core.start[0] - top, row, column))
            ends.append([tile_percentiles(v[tile], rules.percentiles) for v in values])
    table = np.array(ends, np.float32).reshape(len(ends), len(seen), 2)
    index = np.array(places, np.int64).reshape(len(places), 3)
    return {"place": index, "low": table[..., 0], "high": table[..., 1]}


def find(job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
    """Percentiles of all tiles: (Z, rows, columns) float32 of each channel."""
    edge = job.plan.intensity.tile
    rows, columns = (len(tile_starts(n, edge)) for n in job.plan.image.whole[1:])
    shape = (job.plan.counted.shape[0], len(job.plan.image.channels), rows, columns)
    # of 100 million tiles in a large volume, tables take several times as much
    low, high = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for result in results:
        table = job.store.get_table(result["table"])
        z, row, column = table["place"].T
        low[z, :, row, column], high[z, :, row, column] = table["low"], table["high"]
    return [(low[:, n], high[:, n]) for n in range(shape[1])]


def keep(job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
    """Write a table of maps ``low`` and ``high``, (P, C, rows, columns) float32."""
    depth, channels = job.plan.counted.shape[0], len(ends)
    groups = [slice(z, z + 1) for z in range(depth)] if job.plan.mode == "2d" else [slice(None)]
    tiles = [(np.asarray(low), np.asarray(high)) for low, high in ends]
    maps = [[tile_maps(low[g], high[g], channels) for low, high in tiles] for g in groups]
    stacked = np.array(maps, np.float32)
    name = job.name("scale.npz")
    job.store.put_table(name, {"low": stacked[:, :, 0], "high": stacked[:, :, 1]})
    return Added(State(scale=name), {"mode": job.plan.intensity.mode})


def scaled(job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
    """Scale each pixel by what the maps have at its place in the whole plane."""
    scale, image = scale_table(job), job.plan.image
    result = np.zeros(values.shape, np.float32)
    planes = range(box.start[0], box.stop[0])
    # one pair of maps for all planes, which is enlarged once, or one for each
    single = len(scale["low"]) == 1
    for first, stop in [(planes.start, planes.stop)] if single else [(z, z + 1) for z in planes]:
        low, high = (scale[end][0 if single else first, n] for end in ("low", "high"))
        part = Box((first, *box.start[1:]), (stop, *box.stop[1:]))
        inside, place = part.within(box), part.moved(image.offset)
        channels = len(image.channels)
        done = normalize_tiles(values[inside], place, image.whole, low, high, channels)
        result[inside] = np.float32(1) - done if job.plan.intensity.invert else done
    return result
