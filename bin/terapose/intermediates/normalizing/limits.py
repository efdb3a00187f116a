"""``normalize: lowhigh``: low and high are given, one pair, or one for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.algorithms.normalize.histogram import normalize
from terapose.core.geometry import Box
from terapose.core.normalizing import limits_of
from terapose.intermediates.intensities import Extremes
from terapose.intermediates.normalizing import histograms, unscaled
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added


def measure(job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
    """Look at the voxels of a task, and count nothing."""
    return unscaled.measure(job, seen)


def find(job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
    """What was given."""
    given = job.plan.intensity.lowhigh
    assert given is not None
    return [limits_of(given, n) for n in range(len(job.plan.image.channels))]


def keep(job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
    """Keep a pair for each channel."""
    return histograms.keep(job, ends)


def scaled(job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
    """Scale with the given numbers, in 64 bits, as Cellpose does."""
    low, high = job.before.low[n], job.before.high[n]
    return normalize(values, low, high, invert=job.plan.intensity.invert, given=True)
