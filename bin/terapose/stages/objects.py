"""objects (gather): one table of all objects, and what the errors of their flows depend on.

The tasks of ``masks`` have seen every object whole, so there is nothing to merge. Objects of more
than ``max_size_fraction`` of the image (of their plane, where planes stand by themselves) go before
anything else is decided, as in `cellpose.dynamics.get_masks_torch`; their IDs are listed.

Cellpose diffuses heat in all objects of a plane for as many rounds as the largest of them needs,
``2 * max(height + width + 2)``: that is global too, and found here for each plane. End points and
histograms have been read for the last time.
"""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from terapose.filters import Table, select, small_enough
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.plan import Plan
from terapose.stages.masks import merged

log = logging.getLogger(__name__)


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``masks`` and make the table.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with the names of the labels and of three tables: objects (by
        rising ``id``), holes, and ``dropped`` IDs with the ``rounds`` of each plane.
    """
    begin = time.perf_counter()
    summary = gather(job.plan, "masks", receipts)
    results = summary.pop("results")
    objects = merged([job.store.get_table(r["objects"]) for r in results])
    objects = select(objects, np.argsort(objects["id"], kind="stable"))
    holes = merged([job.store.get_table(r["holes"]) for r in results])
    found = len(objects["id"])
    if not found:
        log.warning("no objects: no cells will be found")
    fraction = job.params["max_size_fraction"]
    small = small_enough(objects, job.plan.image.shape, fraction, flat=job.plan.flat)
    dropped = objects["id"][~small]
    objects = select(objects, small)
    holes = select(holes, np.isin(holes["id"], objects["id"]))
    tables = {
        "object_table": objects,
        "hole_table": holes,
        "pieces": {"dropped": dropped, "rounds": _rounds(job.plan, objects)},
    }
    for name, table in tables.items():
        job.store.put_table(job.name(f"{name}.npz"), table)
    if job.params["keep_intermediates"] != "all":
        job.store.drop(job.before["ends"])
        job.store.drop(job.before["counts"])
    return gathered(
        job,
        summary,
        begin,
        labels=f"masks-{summary['key']}/labels",
        objects=found,
        **{name: job.name(f"{name}.npz") for name in tables},
    )


def _rounds(plan: Plan, objects: Table) -> NDArray[np.int64]:
    """Rounds of diffusion in each plane, where planes stand by themselves; else nothing."""
    rounds = np.zeros(plan.image.shape[0] if plan.flat else 0, np.int64)
    if plan.flat:
        extent = objects["y1"] - objects["y0"] + objects["x1"] - objects["x0"] + 2
        np.maximum.at(rounds, objects["z0"], 2 * extent)
    return rounds
