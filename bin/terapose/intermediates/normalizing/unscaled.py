"""``normalize: none``: voxels as they are. They are read beforehand all the same, to be checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.core.geometry import Box
from terapose.intermediates.intensities import Extremes, read_finite
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def measure(job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
    """Look at the voxels of a task, and count nothing."""
    for item in job.items:
        for n, extremes in enumerate(seen):
            read_finite(job, job.plan.counted_block(item), n, extremes)
    return {}


def find(job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
    """The smallest and the largest value of each channel, between which differences must show."""
    channels = range(len(job.plan.image.channels))
    return [
        (
            min(result["extremes"][n][0] for result in results),
            max(result["extremes"][n][1] for result in results),
        )
        for n in channels
    ]


def keep(job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
    """Note that 0 is 0 and 1 is 1."""
    low, high = (0.0,) * len(ends), (1.0,) * len(ends)
    return Added(State(low=low, high=high), {"low": low, "high": high, "mode": "none"})


def scaled(job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
    """Voxels as they are."""
    return np.asarray(values, np.float32)
