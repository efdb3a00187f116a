"""Where points end, as ``follow`` leaves it: three int16 a voxel, `NOWHERE` outside of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.points import points_in
from terapose.core.geometry import Box
from terapose.pipeline.job import Job


def read_ends(job: Job, name: str, box: Box) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Start and end voxels, (N, 3) int32 each, of all points that start in a box."""
    return points_in(job.store.read(name, box), box.start)
