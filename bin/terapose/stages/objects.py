"""objects (gather): one table of all objects, and what the errors of their flows depend on.

The tasks of ``masks`` have seen every object whole, so there is nothing to merge; their tables are
gone through by windows of numbers, so memory does not grow with the image. Objects larger than
``max_size_fraction`` of the image (of their plane, where planes are independent) go before anything
else is decided, as in `cellpose.dynamics.get_masks_torch`; their IDs are listed.

Cellpose diffuses heat in all objects of a plane for as many rounds as the largest of them needs,
``2 * max(height + width + 2)``: that is global too, and found here for each plane. End points and
histograms have been read for the last time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from terapose.algorithms.objects.filters import HOLES, OBJECTS, small_enough
from terapose.core.tables import Table, select, windows
from terapose.io.store.long_tables import ByNumber, put_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

log = logging.getLogger(__name__)


def gather(job: Job, results: list[Result]) -> Added:
    """Make three tables of what ``masks`` has found.

    They are objects and holes (in windows of `terapose.io.store.long_tables`, up to the number
    ``last``), and ``dropped`` IDs with the ``rounds`` of each plane.
    """
    found = sum(r["found"] for r in results)
    if not found:
        log.warning("no objects: no cells will be found")
    job.store.put_table(job.name("pieces.npz"), _tables(job, results))
    if job.params["keep_intermediates"] != "all":
        job.store.drop(job.before.ends)
        job.store.drop(job.before.counts)
    state = State(
        labels=f"masks-{job.before.key}/labels",
        object_table=job.name("objects"),
        hole_table=job.name("holes"),
        last=job.before.found,
        pieces=job.name("pieces.npz"),
    )
    return Added(state, {"objects": found})


def _tables(job: Job, results: Sequence[Mapping[str, Any]]) -> Table:
    """Write the windows of objects and holes; returns the IDs dropped and the rounds of planes."""
    plan, fraction = job.plan, job.params["max_size_fraction"]
    all_objects = ByNumber(job.store, results, "objects")
    all_holes = ByNumber(job.store, results, "holes")
    dropped = [np.zeros(0, np.int64)]
    # rounds of diffusion in each plane, where planes stand by themselves
    rounds = np.zeros(plan.image.shape[0] if plan.flat else 0, np.int64)
    for number, (first, stop) in enumerate(windows(job.before.found)):
        objects = all_objects.rows(first, stop, OBJECTS)
        small = small_enough(objects, plan.image.shape, fraction, flat=plan.flat)
        dropped.append(objects["id"][~small])
        objects = select(objects, small)
        holes = all_holes.rows(first, stop, HOLES)
        holes = select(holes, np.isin(holes["id"], objects["id"]))
        put_window(job.store, job.name("objects"), number, objects)
        put_window(job.store, job.name("holes"), number, holes)
        if plan.flat:
            extent = objects["y1"] - objects["y0"] + objects["x1"] - objects["x0"] + 2
            np.maximum.at(rounds, objects["z0"], 2 * extent)
    return {"dropped": np.concatenate(dropped), "rounds": rounds}
