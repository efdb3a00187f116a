"""intensities: the statistics from which the percentiles of the channels in use are computed.

Which voxels are counted, and how, depends on ``normalize``: each mode is a module of
`terapose.intermediates.normalizing`. What a task finds is a table in the store.

With ``percentile_sampling: cellpose`` only the voxels of the strided grid are counted that
`cellpose.transforms.normalize99` looks at in images above 224**3 voxels; the grid belongs to the
whole image (or plane), so each block counts its part of it. Voxels that are not finite numbers stop
the run here, whatever the mode: no later stage has to expect them.

Where a region is segmented, this stage looks at the whole image all the same (`Plan.counted`), so
that a region has the intensities that it has in the whole; with ``plane``, and with ``tile`` in
mode 2d, at whole planes.
"""

from __future__ import annotations

from typing import Any

from terapose.intermediates.intensities import Extremes
from terapose.intermediates.normalizing.modes import mode_of
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Measure the items of one task; what is found goes to the store as a table."""
    seen = [Extremes() for _ in job.plan.image.channels]
    name = job.name(f"{job.task}.npz")
    job.store.put_table(name, mode_of(job).measure(job, seen))
    return {"table": name, "extremes": [[e.least, e.most, e.loss] for e in seen]}
