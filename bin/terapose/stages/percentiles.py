"""percentiles (gather): what becomes 0 and 1 in each channel: everywhere, by plane, or by place.

- ``global``: the histograms are merged; the state holds ``low`` and ``high``;
- ``plane``: a table of ``low`` and ``high``, (Z, C) float32, named ``scale`` in the state;
- ``tile``: a table of maps ``low`` and ``high``, (P, C, rows, columns) float32, one map for the
  whole volume or, in mode 2d, one for each plane.

With ``channel_merge: gmm`` the low and high are those of a mixture of Gaussians that is fitted to
the merged histogram (`terapose.algorithms.normalize.merge_channels`), not percentiles.

Where a global percentile is in a bin that was not counted value by value (the plan's sample
missed it), the image is read once more, for those bins only. The result is exact either way.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.algorithms.normalize.histogram import Histogram, WindowMissedError
from terapose.algorithms.normalize.merge_channels import mixture_ends
from terapose.algorithms.normalize.precision import check_contrast
from terapose.algorithms.normalize.tiled import tile_maps, tile_starts
from terapose.core.errors import InputError
from terapose.intermediates.intensities import counted, sampled, stride, unpack
from terapose.pipeline.constant import constant
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Find ``low`` and ``high`` of each channel as they are applied, or the table of them.

    Raises
    ------
    InputError
        If a channel is constant, in all of the image, or its differences are lost in float32
        (`terapose.algorithms.normalize.precision`).
    """
    planned, rules = job.plan.image, job.plan.intensity
    for n, channel in enumerate(planned.channels):
        least, most = _extremes(results, n)
        # a part may well be constant where all of the image is not
        if least == most and job.plan.counted.shape == planned.whole:
            raise constant(planned.address, channel, least)
    if rules.mode in ("plane", "tile"):
        found = _of_planes(job, results) if rules.mode == "plane" else _of_tiles(job, results)
        for n in range(len(planned.channels)):
            _check(job, results, n, found["low"][:, n], found["high"][:, n])
        name = job.name("scale.npz")
        job.store.put_table(name, found if rules.mode == "plane" else _maps(job, found))
        return Added(State(scale=name), {"mode": rules.mode})
    histograms = _merged(job, results)
    ends = [_ends(job, histogram, n) for n, histogram in enumerate(histograms)]
    for n, (low, high) in enumerate(ends):
        _check(job, results, n, low, high)
    lows, highs = (tuple(e[i] for e in ends) for i in range(2))
    told = {"low": lows, "high": highs, "mode": rules.mode}
    return Added(State(low=lows, high=highs), told)


def _extremes(results: list[dict[str, Any]], n: int) -> tuple[float, float]:
    """The smallest and the largest value of the ``n``-th channel in use."""
    seen = [r["extremes"][n] for r in results]
    return min(low for low, _, _ in seen), max(high for _, high, _ in seen)


def _check(
    job: Job, results: list[dict[str, Any]], n: int, low: ArrayLike, high: ArrayLike
) -> None:
    """Refuse what float32 makes nothing of, in the ``n``-th channel in use."""
    planned, rules = job.plan.image, job.plan.intensity
    least, most = _extremes(results, n)
    if rules.mode == "none":
        low, high = least, most
    given = rules.merge == "gmm" or rules.mode in ("none", "lowhigh")
    check_contrast(
        low,
        high,
        max(r["extremes"][n][2] for r in results),
        whole=np.dtype(planned.dtype).kind in "iu",
        given=given,
        address=planned.address,
        channel=planned.channels[n],
    )
    if not given and least < most and not np.greater(high, low).any():
        log.warning(
            "channel %d: the percentiles are equal, so all of it counts as background, as in "
            "Cellpose; for few cells on an even background give lowhigh, or foreground_min",
            planned.channels[n],
        )


def _of_planes(job: Job, results: list[Result]) -> dict[str, NDArray[np.float32]]:
    """Percentiles of all planes: (Z, C) float32."""
    tables = [job.store.get_table(r["table"]) for r in results]
    return {end: np.concatenate([t[end] for t in tables]) for end in ("low", "high")}


def _of_tiles(job: Job, results: list[Result]) -> dict[str, NDArray[np.float32]]:
    """Percentiles of all tiles: (Z, C, rows, columns) float32."""
    edge = job.plan.intensity.tile
    rows, columns = (len(tile_starts(n, edge)) for n in job.plan.image.whole[1:])
    shape = (job.plan.counted.shape[0], len(job.plan.image.channels), rows, columns)
    # of 100 million tiles in a large volume, tables take several times as much
    found = {end: np.zeros(shape, np.float32) for end in ("low", "high")}
    for result in results:
        table = job.store.get_table(result["table"])
        z, row, column = table["place"].T
        for end, values in found.items():
            values[z, :, row, column] = table[end]
    return found


def _maps(job: Job, tiles: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Maps of the percentiles of tiles."""
    low, high = tiles["low"], tiles["high"]
    depth, channels = low.shape[:2]
    groups = [slice(z, z + 1) for z in range(depth)] if job.plan.mode == "2d" else [slice(None)]
    maps = [[tile_maps(low[g, n], high[g, n], channels) for n in range(channels)] for g in groups]
    stacked = np.array(maps, np.float32)
    return {"low": stacked[:, :, 0], "high": stacked[:, :, 1]}


def _merged(job: Job, results: list[Result]) -> list[Histogram]:
    """Histograms of the channels in use, with the table of one task in memory at a time."""
    planned = job.plan.image
    merged = [Histogram.empty(np.dtype(planned.dtype)) for _ in planned.channels]
    if job.plan.intensity.lowhigh is not None or job.plan.intensity.mode == "none":
        return merged
    for result in results:
        found = unpack(job.store.get_table(result["table"]), planned.dtype, len(merged))
        for histogram, part in zip(merged, found, strict=True):
            histogram.merge(part)
    return merged


def _ends(job: Job, histogram: Histogram, n: int) -> tuple[float, float]:
    """What becomes 0 and 1 in the ``n``-th channel in use, which has this histogram."""
    planned, rules = job.plan.image, job.plan.intensity
    channel = planned.channels[n]
    if rules.mode == "none":
        return 0.0, 1.0
    if rules.lowhigh is not None:
        # one pair for all channels, or a pair for each
        first = 2 * n % len(rules.lowhigh)
        return rules.lowhigh[first], rules.lowhigh[first + 1]
    if not histogram.count:
        raise InputError(
            "no voxel reaches foreground_min",
            where=f"{job.plan.image.address}, channel {channel}",
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
            "no two Gaussians can be fitted to the intensities",
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
