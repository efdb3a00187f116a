"""Where points end, as ``follow`` leaves it: three int16 a voxel, `NOWHERE` outside of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.pipeline.job import Job

NOWHERE = -(2**15)


def read_ends(job: Job, name: str, box: Box) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Start and end voxels, (N, 3) int32 each, of all points that start in a box."""
    displacement = job.store.read(name, box)
    inside = np.argwhere(displacement[0] != NOWHERE)
    moved = displacement[(slice(None), *inside.T)].T
    starts = (inside + box.start).astype(np.int32)
    return starts, starts + moved
