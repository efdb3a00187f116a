"""``normalize: global``: percentiles of the whole image, from exact histograms of its blocks.

Each task counts its blocks (`terapose.algorithms.normalize.histogram`), and the histograms are
added up. With ``channel_merge: gmm`` the low and high are those of a mixture of Gaussians that is
fitted to the sum (`terapose.algorithms.normalize.merge_channels`).

Where a percentile is in a bin that was not counted value by value (the plan's sample missed it),
the image is read once more, for those bins only. The result is exact either way.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.algorithms.normalize.histogram import Histogram, WindowMissedError, normalize
from terapose.algorithms.normalize.merge_channels import mixture_ends
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.intermediates.intensities import Extremes, counted, read_finite, sampled, stride
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def measure(job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
    """Histograms of the task's blocks, one a channel."""
    rules = job.plan.intensity
    steps = stride(job.plan.counted.shape, rules.sampling)
    dtype = np.dtype(job.plan.image.dtype)
    histograms = [Histogram.empty(dtype, windows) for windows in rules.windows]
    for item in job.items:
        box = job.plan.counted_block(item)
        for n, histogram in enumerate(histograms):
            values = read_finite(job, box, n, seen[n])
            histogram.add(counted(sampled(values, box, steps), rules))
    return pack(histograms)


def pack(histograms: list[Histogram]) -> dict[str, NDArray[Any]]:
    """Histograms as columns."""
    columns: dict[str, NDArray[Any]] = {}
    for n, histogram in enumerate(histograms):
        columns[f"coarse{n}"] = histogram.coarse
        for window, counts in histogram.fine.items():
            columns[f"fine{n}_{window}"] = counts
    return columns


def unpack(columns: dict[str, NDArray[Any]], dtype: str, count: int) -> list[Histogram]:
    """Undo `pack`."""
    histograms = [Histogram(np.dtype(dtype), columns[f"coarse{n}"]) for n in range(count)]
    for name, counts in columns.items():
        if name.startswith("fine"):
            channel, window = name.removeprefix("fine").split("_")
            histograms[int(channel)].fine[int(window)] = counts
    return histograms


def find(job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
    """The two percentiles of each channel, or background and foreground (``gmm``)."""
    return [_ends(job, histogram, n) for n, histogram in enumerate(_merged(job, results))]


def keep(job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
    """Keep a pair for each channel."""
    lows, highs = (tuple(float(np.asarray(e[i])) for e in ends) for i in range(2))
    told = {"low": lows, "high": highs, "mode": job.plan.intensity.mode}
    return Added(State(low=lows, high=highs), told)


def scaled(job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
    """Scale all alike; what is merged by ``gmm`` is clipped to 0 and 1."""
    rules, low, high = job.plan.intensity, job.before.low[n], job.before.high[n]
    mixed = rules.merge == "gmm"
    result = normalize(values, low, high, invert=rules.invert, given=mixed)
    return np.clip(result, 0, 1, out=result) if mixed else result


def _merged(job: Job, results: list[Result]) -> list[Histogram]:
    """Histograms of the channels in use, with the table of one task in memory at a time."""
    planned = job.plan.image
    merged = [Histogram.empty(np.dtype(planned.dtype)) for _ in planned.channels]
    for result in results:
        found = unpack(job.store.get_table(result["table"]), planned.dtype, len(merged))
        for histogram, part in zip(merged, found, strict=True):
            histogram.merge(part)
    return merged


def _ends(job: Job, histogram: Histogram, n: int) -> tuple[float, float]:
    """What becomes 0 and 1 in the ``n``-th channel in use, which has this histogram."""
    planned, rules = job.plan.image, job.plan.intensity
    channel = planned.channels[n]
    if not histogram.count:
        raise InputError(
            "no voxel reaches foreground_min",
            where=f"{planned.address}, channel {channel}",
            got=rules.foreground_min,
            remedy="lower foreground_min",
        )
    if rules.merge == "gmm":
        return _mixture(job, histogram, channel)
    try:
        low, high = histogram.percentiles(rules.percentiles)
    except WindowMissedError:
        low, high = _recount(job, histogram, channel).percentiles(rules.percentiles)
    return float(low), float(high)


def _mixture(job: Job, histogram: Histogram, channel: int) -> tuple[float, float]:
    """Background and foreground of a channel, as ``channel_merge: gmm`` scales it."""
    try:
        return mixture_ends(histogram)
    except ValueError as error:
        raise InputError(
            "two Gaussians cannot be fitted to the intensities",
            where=f"{job.plan.image.address}, channel {channel}",
            got=str(error),
            remedy="leave the channel out, or give channel_merge max or mean",
        ) from error


def _recount(job: Job, histogram: Histogram, channel: int) -> Histogram:
    """Count again, with windows where the coarse histogram says the percentiles are."""
    log.warning("channel %d: the sample missed a percentile; reading the image again", channel)
    windows: set[int] = set()
    for percent in job.plan.intensity.percentiles:
        try:
            Histogram(histogram.dtype, histogram.coarse).percentiles([percent])
        except WindowMissedError as missed:
            windows |= missed.windows
    again = Histogram.empty(histogram.dtype, windows)
    steps = stride(job.plan.counted.shape, job.plan.intensity.sampling)
    for item in range(job.plan.items("intensities")):
        box = job.plan.counted_block(item)
        values: Any = job.read_whole(box, channel)
        again.add(counted(sampled(values, box, steps), job.plan.intensity))
    job.confirm_image()
    return again
