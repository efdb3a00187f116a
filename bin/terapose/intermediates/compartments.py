"""Cells and, where they were made of nuclei, their nuclei and cytoplasm: labels with shared IDs.

Usually there is one compartment, the cells as they were found. In two ways what was found are
nuclei, and there are three:

- With ``expand`` a cell is its nucleus with all pixels of background that are no farther from it
  than so many pixels and nearer to it than to any other nucleus
  (`terapose.algorithms.objects.expand`). Halo: what a pixel becomes depends on nuclei within
  ``expand`` of it, and on nothing else.
- With the cells of a second network, ``match`` has said which cell is whose. A nucleus' pixels
  outside its cell are no part of it; a nucleus without a cell is one by itself; cells without a
  nucleus are left out. Pixels are independent: no halo.

The cytoplasm is what a cell has beyond its nucleus. Numbers are those of the nuclei in all three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.core.params import OUTLINES
from terapose.intermediates.relabel_map import named_labels
from terapose.io.labels.ome_zarr import NAME
from terapose.io.store.long_columns import looked_up
from terapose.pipeline.job import Job
from terapose.pipeline.state import State

CELLS = NAME
ALL = (CELLS, "nuclei", "cytoplasm")
"""Names of the label images, and of the tables, where nuclei became cells."""
MASKS = {"nuclei": "nucleus.ome.tif", "cytoplasm": "cytoplasm.ome.tif"}
"""Files of the compartments beside that of the cells, under the names that MCMICRO has for them."""


def compartments(before: State) -> tuple[str, ...]:
    """Names of the label images that a run writes."""
    return ALL if before.expand or before.is_matched else (CELLS,)


def table_names(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Files of the tables of compartments; outlines of all are in one."""
    tables = [f"{name}.{kind}" for name in names for kind in kinds if kind not in OUTLINES]
    return tables + [f"{CELLS}.{kind}" for kind in OUTLINES if kind in kinds]


def margin(before: State) -> int:
    """How far, in pixels, a cell may reach beyond what was found."""
    return math.floor(before.expand)


def read(job: Job, box: Box) -> dict[str, NDArray[Any]]:
    """Labels of a box of the label images that are written, (Z, Y, X), of each compartment.

    Parameters
    ----------
    job
        Of a stage after ``relabel``.
    box
        What to read.
    """
    if job.cover is None:
        return read_level(job, box)
    part = job.cover.under(box)
    found = read_level(job, part)
    return {name: job.cover.spread(labels, part, box) for name, labels in found.items()}


def read_level(job: Job, box: Box) -> dict[str, NDArray[Any]]:
    """The same on the level that was segmented."""
    if job.before.is_matched:
        nuclei, cells = _matched(job, box)
    elif job.before.expand:
        # brings numba, which is slow to import
        from terapose.algorithms.objects.expand import expand

        halo = margin(job.before)
        seen = box.grow((0, halo, halo)).clip(job.plan.image.shape)
        found, inside = named_labels(job, seen), box.within(seen)
        nuclei, cells = found[inside], expand(found, job.before.expand)[inside]
    else:
        return {CELLS: named_labels(job, box)}
    return {CELLS: cells, "nuclei": nuclei, "cytoplasm": np.where(nuclei, 0, cells)}


def _matched(job: Job, box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
    """Nuclei and cells of a box under the match."""
    found = named_labels(job, box)
    second = job.store.read(job.before.second_labels, box)
    name = job.before.matched
    cell_of = looked_up(job.store, f"{name}/cell_of", found)
    owner = looked_up(job.store, f"{name}/owner", second).astype(found.dtype)
    # of a nucleus with a cell, what lies in it; of one without, all
    kept = (found > 0) & ((cell_of == 0) | (cell_of == second))
    nuclei = np.where(kept, found, 0)
    return nuclei, np.where(kept, found, owner)
