"""cell_overlaps: count the pixels that nuclei share with the cells of a second network.

The cells come from a run of their own: a folder with its ``labels.zarr`` and ``provenance.json``.
For each block, without a halo:

1. the cells' labels are copied into the store, so that later stages read nothing else;
2. pairs of nucleus and cell that share pixels are counted. Counts of blocks add up;
3. the part of each cell's box that is in the block is noted. Such parts add up, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.boxes import object_boxes
from terapose.algorithms.objects.filters import BOX
from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.core.tables import Table, merged
from terapose.intermediates.relabel_map import named_labels
from terapose.io.checksums import unsealed
from terapose.io.documents import read_document
from terapose.io.labels.ome_zarr import open_level
from terapose.io.store.arrays import INTEGER
from terapose.pipeline.job import Job
from terapose.results.earlier import RECORD


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of the run that found the cells.

    Raises
    ------
    StoreError
        If it is damaged.
    InputError
        If it cannot be read.
    """
    place = Path(folder) / RECORD
    remedy = "run again (the workflow without -resume) to segment the cells again"
    return unsealed(read_document(place), place, remedy=remedy)


def identity(record: dict[str, Any]) -> str:
    """What distinguishes the cells of a run from others."""
    return str(record["stages"]["export"]["checksum"])


def given(folder: str | Path) -> dict[str, Any]:
    """What the stage is given beside its parameters: the results of the run with the cells."""
    return {"cells": str(folder), "identity": identity(read_record(folder))}


def run(job: Job) -> dict[str, Any]:
    """Count the pairs of one task."""
    folder = Path(str(job.params["cells"]))
    record = read_record(folder)
    if identity(record) != job.params["identity"]:
        raise StoreError(
            "another run has replaced the cells", where=folder, remedy="run again without -resume"
        )
    labels = open_level(str(folder / "labels.zarr"), 0)
    plan, name = job.plan, job.name("cells")
    if (1,) * (3 - labels.ndim) + labels.shape != plan.image.shape:
        raise StoreError(
            "the cells are not those of this image",
            where=folder,
            got=f"shape {labels.shape}",
            allowed=f"{plan.image.shape}",
            remedy="run again without -resume",
        )
    packs = plan.block_packs(labels.dtype.itemsize)
    job.store.create(name, plan.image.shape, plan.chunk, str(labels.dtype), INTEGER, packs)
    pairs, boxes, checksums = [_pairs(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))], [], []
    for item in job.items:
        core = plan.grid[item]
        cells = np.asarray(labels[core.slices[-labels.ndim :]]).reshape(core.shape)
        checksums.append(job.store.write(name, core, cells))
        pairs.append(_pairs(named_labels(job, core), cells))
        boxes.append(_boxes(cells, core))
    tables = {"pairs": job.name(f"{job.task}.npz"), "boxes": job.name(f"{job.task}-boxes.npz")}
    job.store.put_table(tables["pairs"], merged(pairs))
    job.store.put_table(tables["boxes"], merged(boxes))
    return {**tables, "second": _of_record(record), "checksums": checksums}


def _of_record(record: dict[str, Any]) -> dict[str, Any]:
    """What the record of the nuclei says of the run that found the cells."""
    names = ("plan_digest", "model", "intensity", "diameter", "cells", "notes")
    second = {name: record[name] for name in names}
    return {**second, "channels": record["image"]["channels"]}


def _pairs(nuclei: NDArray[Any], cells: NDArray[Any]) -> Table:
    """Pairs of labels that share pixels, and how many."""
    both = (nuclei > 0) & (cells > 0)
    found = np.stack([nuclei[both], cells[both]]).astype(np.int64)
    (nucleus, cell), count = np.unique(found, axis=1, return_counts=True)
    return {"nucleus": nucleus, "cell": cell, "count": count}


def _boxes(cells: NDArray[Any], core: Box) -> Table:
    """Boxes of the parts of cells in a block."""
    ids, local = np.unique(cells, return_inverse=True)
    # background is the first, if there is any
    local = local.reshape(cells.shape) + int(ids[0] > 0)
    places = [p for p in object_boxes(local) if p is not None]
    start = np.array([[s.start for s in p] for p in places], np.int64).reshape(-1, 3)
    stop = np.array([[s.stop for s in p] for p in places], np.int64).reshape(-1, 3)
    box = np.concatenate([start + core.start, stop + core.start], axis=1)
    return {"cell": ids[ids > 0].astype(np.int64), **dict(zip(BOX, box.T, strict=True))}
