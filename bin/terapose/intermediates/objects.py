"""Objects and their holes: what ``masks`` and ``cell_holes`` find, and what filters go through."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import ReadBox, Windows
from terapose.algorithms.objects.holes import find_holes
from terapose.core.geometry import Box, Grid
from terapose.core.tables import Table, windows
from terapose.intermediates.flows import read_flows
from terapose.intermediates.relabel_map import named_labels
from terapose.io.store.long_tables import get_window
from terapose.pipeline.job import Job

_KEPT = 16
"""Chunks of labels and probability that are in memory, some 2 MB each."""


def holes_of(
    job: Job,
    local: NDArray[np.int32],
    ids: NDArray[np.int64],
    labels: NDArray[Any],
    probability: NDArray[np.float32],
    seen: Box,
) -> Table:
    """The voxels that filling each object would add, as
    `terapose.algorithms.objects.filters.resolve` wants them.

    ``local`` holds the objects by row (from 1), ``labels`` everything by its ID.
    """
    row, voxel = find_holes(local, len(ids), flat=job.plan.flat and job.stage == "masks")
    at = tuple(voxel.T)
    place = tuple((voxel + seen.start).T)
    return {
        "id": ids[row],
        "voxel": np.ravel_multi_index(place, job.plan.image.shape).astype(np.int64),
        "under": labels[at].astype(np.int64),
        "probability": probability[at],
    }


def read_windows(job: Job) -> Windows:
    """The objects and holes of the stage before."""
    return Windows(
        len(windows(job.before.last)),
        lambda n: get_window(job.store, job.before.object_table, n),
        lambda n: get_window(job.store, job.before.hole_table, n),
    )


def read_labels(job: Job) -> ReadBox:
    """What `resolve` reads boxes with: labels as relabelled so far, and cell probability.

    The chunks that were read last are kept: boxes come by place, and many share a chunk.
    """
    before, shape = job.before, job.plan.image.shape
    chunks = Grid(shape, job.plan.chunk)

    @lru_cache(maxsize=_KEPT)
    def chunk(number: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        box = chunks[number]
        found = named_labels(job, box) if before.is_named else job.store.read(before.labels, box)
        # a copy: a view would keep all components
        return found, read_flows(job, before.flows, box)[-1].copy()

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        labels, probability = np.empty(box.shape, before.dtype), np.empty(box.shape, np.float32)
        for number in chunks.touching(box):
            part = chunks[number].intersect(box)
            to, of = part.within(box), part.within(chunks[number])
            labels[to], probability[to] = (values[of] for values in chunk(number))
        return labels, probability

    return read
