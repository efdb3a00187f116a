"""percentiles (gather): merge the histograms into the global low and high of each channel.

Where a percentile lies in a bin that was not counted value by value (the plan's sample missed
it), the image is read once more, for those bins only. The result is exact either way.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from terapose.errors import InputError
from terapose.intensity import Histogram, WindowMissedError
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.stages.intensities import counted, sampled, stride, unpack

log = logging.getLogger(__name__)


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``intensities`` and make the summary.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with ``low`` and ``high`` of each channel as they are applied.

    Raises
    ------
    InputError
        If a channel is constant.
    """
    planned, rules = job.plan.image, job.plan.intensity
    begin = time.perf_counter()
    summary = gather(job.plan, "intensities", receipts)
    results = summary.pop("results")
    lows, highs = [], []
    histograms = [Histogram.empty(np.dtype(planned.dtype)) for _ in planned.channels]
    for result in results:
        columns = job.store.get_table(result["histograms"])
        for total, part in zip(
            histograms, unpack(columns, planned.dtype, len(histograms)), strict=True
        ):
            total.merge(part)
    for n, channel in enumerate(planned.channels):
        least = min(r["extremes"][n][0] for r in results)
        most = max(r["extremes"][n][1] for r in results)
        if least == most:
            raise InputError(
                "the image is constant",
                where=f"{planned.address}, channel {channel}",
                got=f"{least:g} in every voxel",
                allowed="an image with something in it",
                remedy="check the channel and the pyramid level",
            )
        low, high = _ends(job, histograms[n], channel)
        lows.append(low)
        highs.append(high)
    return gathered(job, summary, begin, low=lows, high=highs, mode=rules.mode)


def _ends(job: Job, histogram: Histogram, channel: int) -> tuple[float, float]:
    """What becomes 0 and 1 in a channel."""
    rules = job.plan.intensity
    if rules.mode == "none":
        return 0.0, 1.0
    if rules.lowhigh is not None:
        return rules.lowhigh
    if not histogram.count:
        raise InputError(
            "no voxel reaches foreground_min",
            where=f"{job.plan.image.address}, channel {channel}",
            got=rules.foreground_min,
            remedy="lower foreground_min",
        )
    try:
        low, high = histogram.percentiles(rules.percentiles)
    except WindowMissedError:
        low, high = _recount(job, histogram, channel).percentiles(rules.percentiles)
    return float(low), float(high)


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
    steps = stride(job.plan.image.shape, job.plan.intensity.sampling)
    for box in job.plan.grid:
        values: Any = job.read_image(box, channel)
        again.add(counted(sampled(values, box, steps), job.plan.intensity))
    return again
