"""Flows and cell probability, as ``gradients`` and ``combine`` leave them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.pipeline.job import Job


def sums(axis: str) -> str:
    """Name of the sum that a pass writes."""
    return f"gradients-{axis}"


def read_flows(job: Job, name: str, box: Box) -> NDArray[np.float32]:
    """Flows and cell probability of a box: (C, Z, Y, X) float32, the probability last."""
    return job.store.read(name, box).astype(np.float32, copy=False)
