"""percentiles (gather): what becomes 0 and 1 in each channel: everywhere, by plane, or by place.

How it is found from what all tasks have measured depends on ``normalize``: each mode is a module of
`terapose.intermediates.normalizing`.

- ``global``, ``none`` and ``lowhigh``: the state holds ``low`` and ``high``;
- ``plane``: a table of ``low`` and ``high``, (Z, C) float32, named ``scale`` in the state;
- ``tile``: a table of maps ``low`` and ``high``, (P, C, rows, columns) float32.

What would leave the network nothing to see is refused, whatever the mode.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike

from terapose.algorithms.normalize.precision import check_contrast
from terapose.intermediates.intensities import Extremes
from terapose.intermediates.normalizing.modes import mode_of
from terapose.pipeline.constant import constant
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Find ``low`` and ``high`` of each channel as they are applied, or the table of them.

    Raises
    ------
    InputError
        If a channel is constant, in all of the image, or its differences are lost in float32
        (`terapose.algorithms.normalize.precision`).
    """
    planned = job.plan.image
    seen = [Extremes() for _ in planned.channels]
    for result in results:
        for extremes, found in zip(seen, result["extremes"], strict=True):
            extremes.add(Extremes(*found))
    for channel, extremes in zip(planned.channels, seen, strict=True):
        # a part may well be constant where all of the image is not
        if extremes.least == extremes.most and job.plan.counted.shape == planned.whole:
            raise constant(planned.address, channel, extremes.least)
    mode = mode_of(job)
    ends = mode.find(job, results)
    for n, (low, high) in enumerate(ends):
        _check(job, n, seen[n], low, high)
    return mode.keep(job, ends)


def _check(job: Job, n: int, seen: Extremes, low: ArrayLike, high: ArrayLike) -> None:
    """Refuse what float32 makes nothing of, in the ``n``-th channel in use."""
    planned, rules = job.plan.image, job.plan.intensity
    check_contrast(
        low,
        high,
        seen.loss,
        whole=np.dtype(planned.dtype).kind in "iu",
        given=rules.given,
        address=planned.address,
        channel=planned.channels[n],
    )
    if not rules.given and seen.least < seen.most and not np.greater(high, low).any():
        log.warning(
            "channel %d: the percentiles are equal, so all of it counts as background, as in "
            "Cellpose; for few cells on an even background give lowhigh, or foreground_min",
            planned.channels[n],
        )
