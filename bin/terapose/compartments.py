"""Cells and, where they were made of nuclei, their nuclei and cytoplasm: labels with shared IDs.

Without ``expand`` there is one compartment, the cells as they were found. With it, what was found
are nuclei, and a cell is its nucleus with all pixels of background that are no farther from it than
``expand`` pixels and nearer to it than to any other nucleus (`terapose.kernels.expand`). The
cytoplasm is what a cell has beyond its nucleus. Numbers are those of the nuclei in all three.

Halo: what a pixel becomes depends on nuclei within ``expand`` of it, and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.geometry import Box
from terapose.job import Job, Summary
from terapose.kernels.expand import expand
from terapose.labels import NAME
from terapose.naming import named_labels

CELLS = NAME
ALL = (CELLS, "nuclei", "cytoplasm")
"""Names of the label images, and of the tables, where nuclei became cells."""
MASKS = {"nuclei": "nucleus.ome.tif", "cytoplasm": "cytoplasm.ome.tif"}
"""Files of the compartments beside that of the cells, under the names that MCMICRO has for them."""


def compartments(before: Summary) -> tuple[str, ...]:
    """Names of the label images that a run writes."""
    return ALL if before.get("expand") else (CELLS,)


def table_names(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Files of the tables of compartments; outlines of all are in one."""
    tables = [f"{name}.{kind}" for name in names for kind in kinds if kind != "geojson"]
    return tables + [f"{CELLS}.geojson"] * ("geojson" in kinds)


def margin(before: Summary) -> int:
    """How far, in pixels, a cell may reach beyond what was found."""
    return math.floor(before.get("expand") or 0)


def read(job: Job, box: Box) -> dict[str, NDArray[Any]]:
    """Labels of a box, (Z, Y, X), of each compartment.

    Parameters
    ----------
    job
        Of a stage after ``relabel``.
    box
        What to read.
    """
    distance = job.before.get("expand")
    if not distance:
        return {CELLS: named_labels(job, box)}
    halo = margin(job.before)
    seen = box.grow((0, halo, halo)).clip(job.plan.image.shape)
    found = named_labels(job, seen)
    inside = box.within(seen)
    nuclei = found[inside]
    cells = expand(found, distance)[inside]
    return {CELLS: cells, "nuclei": nuclei, "cytoplasm": np.where(nuclei, 0, cells)}
