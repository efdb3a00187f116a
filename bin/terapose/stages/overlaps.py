"""overlaps (mode stitch): how many pixels the objects of neighbouring planes share.

A block counts the pairs in its own planes, and in its last plane with the one below it: a halo of
one plane. Counts of the same pair from several blocks add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.core.tables import merged
from terapose.intermediates.relabel_map import named_labels
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Count the blocks of one task; the pairs go to the store as a table."""
    tables = [_block(job, job.plan.grid[item]) for item in job.items]
    name = job.name(f"{job.task}.npz")
    job.store.put_table(name, merged(tables))
    return {"pairs": name}


def _block(job: Job, core: Box) -> dict[str, NDArray[Any]]:
    """Pairs of objects (``upper`` in plane z, ``lower`` in plane z + 1) and their ``count``."""
    seen = Box(core.start, (core.stop[0] + 1, *core.stop[1:])).clip(job.plan.image.shape)
    labels = named_labels(job, seen).astype(np.int64)
    above, below = labels[:-1].ravel(), labels[1:].ravel()
    both = (above > 0) & (below > 0)
    pairs, count = np.unique(np.stack([above[both], below[both]]), axis=1, return_counts=True)
    return {"upper": pairs[0], "lower": pairs[1], "count": count.astype(np.int64)}
