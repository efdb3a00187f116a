"""``normalize: plane``: percentiles of each plane; a constant plane becomes 0.

Each item of **intensities** is a run of whole planes, read in blocks. Where a region is segmented,
its planes are measured as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.algorithms.normalize.histogram import Histogram, WindowMissedError, normalize
from terapose.core.geometry import Box, zyx
from terapose.intermediates.intensities import (
    Extremes,
    counted,
    read_finite,
    sampled,
    scale_table,
    stride,
)
from terapose.pipeline.job import Job, Result
from terapose.pipeline.sizes import STATISTICS_PLANES
from terapose.pipeline.state import Added, State


def measure(job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
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
            ends.append([_ends(job, parts, n, extremes) for n, extremes in enumerate(seen)])
    table = np.array(ends, np.float32)
    return {"low": table[..., 0], "high": table[..., 1]}


def _ends(job: Job, parts: list[Box], n: int, seen: Extremes) -> tuple[np.float32, np.float32]:
    """Percentiles of one plane; not a number where the plane is constant or nothing counts."""
    rules = job.plan.intensity
    _, *within = stride((1, *job.plan.image.whole[1:]), rules.sampling)
    steps = zyx((1, *within))
    here = Extremes()
    histogram = Histogram.empty(np.dtype(job.plan.image.dtype))
    for part in parts:
        values = read_finite(job, part, n, here)
        histogram.add(counted(sampled(values, part, steps), rules))
    seen.add(here)
    if here.least == here.most or not histogram.count:
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
            values = read_finite(job, part, n, here)
            histogram.add(counted(sampled(values, part, steps), rules))
    low, high = histogram.percentiles(rules.percentiles)
    return low, high


def find(job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
    """Percentiles of all planes: (Z,) float32 of each channel."""
    tables = [job.store.get_table(r["table"]) for r in results]
    low, high = (np.concatenate([t[end] for t in tables]) for end in ("low", "high"))
    return list(zip(low.T, high.T, strict=True))


def keep(job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
    """Write a table of ``low`` and ``high``, (Z, C) float32."""
    low, high = (np.stack([e[i] for e in ends], axis=1) for i in range(2))
    name = job.name("scale.npz")
    job.store.put_table(name, {"low": low, "high": high})
    return Added(State(scale=name), {"mode": job.plan.intensity.mode})


def scaled(job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
    """Scale each plane by its own percentiles."""
    scale, result = scale_table(job), np.zeros(values.shape, np.float32)
    for i, z in enumerate(range(box.start[0], box.stop[0])):
        low, high = scale["low"][z, n], scale["high"][z, n]
        # a constant plane stays 0: it has nothing that could be dark or bright
        if not np.isnan(low):
            result[i] = normalize(values[i], low, high, invert=job.plan.intensity.invert)
    return result
