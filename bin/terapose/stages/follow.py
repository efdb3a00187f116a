"""follow: follow the flows from every cell voxel of a block to its end point.

1. A voxel belongs to a cell where its probability is above ``cellprob_threshold`` (and, with a mask
   of tissue, where that shows tissue); flows outside of cells are zero, all flows are divided by
   5, as Cellpose does.
2. Points move in the frame of the whole image (`terapose.algorithms.flows.follow`), through the
   flows of the block and a halo around it (only in the plane where planes are independent). The
   halo is a guess: few points travel farther than a cell is wide. A trajectory that would leave
   what was read is not clipped: it is followed again, from its start, with twice the halo, and
   again. What is around such points is read then, in pieces of the block that are small enough not
   to take more memory than at first, unless the halo is wider than they are.
3. Each voxel is followed by exactly one block, the one it is in. Its end point is written as a
   displacement (three int16 per voxel); voxels outside cells get `NOWHERE`.

The receipt proves the halo: ``max_excursion`` (of any trajectory, in voxels), ``halo`` (that which
sufficed) and ``refollowed`` (points that needed more than the first guess). The largest
displacement of each block determines how far the later stages have to look.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.follow import follow, scale_flows
from terapose.algorithms.flows.points import NOWHERE, displaced, places_of
from terapose.core.errors import InputError
from terapose.core.geometry import Box, Grid, even, zyx
from terapose.core.voxels import held_by
from terapose.intermediates.flows import read_flows
from terapose.io.store.arrays import INTEGER
from terapose.pipeline.job import Job, Result
from terapose.pipeline.plan import Plan
from terapose.pipeline.sizes import first_halo
from terapose.pipeline.state import Added, State
from terapose.pipeline.tissue import read_tissue


def run(job: Job) -> dict[str, Any]:
    """Follow the blocks of one task."""
    plan, name = job.plan, job.name("ends")
    shape = plan.image.shape
    job.store.create(name, (3, *shape), (3, *plan.chunk), "int16", INTEGER, plan.block_packs(6))
    blocks = [_block(job, name, item) for item in job.items]
    return {
        "max_excursion": max(b["excursion"] for b in blocks),
        "halo": max(b["halo"] for b in blocks),
        "refollowed": sum(b["refollowed"] for b in blocks),
        "voxels": sum(b["voxels"] for b in blocks),
        "displacements": [b["displacement"] for b in blocks],
        "checksums": [b["checksum"] for b in blocks],
    }


def _block(job: Job, name: str, item: int) -> dict[str, Any]:
    """Follow one block and write where its voxels end."""
    plan, core = job.plan, job.plan.grid[item]
    halo = first_halo(plan.diameter.pixels)
    box = plan.around(core, halo)
    field, within = _field(job, box)
    inside = within[core.within(box)].copy()
    starts = places_of(inside)
    starts += np.array(core.start, np.int32)
    ends, excursion, lost = _walk(job, box, field, within, starts)
    del field, within  # before more is read
    refollowed = 0
    while len(lost):
        halo, refollowed, still = 2 * halo, refollowed + len(lost), []
        for piece in _pieces(plan, core, box, halo):
            some = lost[held_by(piece, starts[lost])]
            if len(some):
                around = plan.around(_hull(starts[some]), halo)
                ends[some], far, left = _walk(job, around, *_field(job, around), starts[some])
                excursion = max(excursion, far)
                still.append(some[left])
        lost = np.concatenate(still)
    written, largest = displaced(inside, ends, core.start)
    if largest > -NOWHERE - 1:
        raise InputError(
            "a point moves farther than a displacement can store",
            where=f"block {item}",
            got=f"{largest} voxels",
            allowed=-NOWHERE - 1,
            remedy="check diameter and niter",
        )
    return {
        "excursion": round(excursion, 3),
        "halo": halo,
        "refollowed": refollowed,
        "voxels": len(starts),
        "displacement": largest,
        "checksum": job.store.write(name, core, written),
    }


def _walk(
    job: Job,
    box: Box,
    field: NDArray[np.float32],
    within: NDArray[np.bool_],
    starts: NDArray[np.int32],
) -> tuple[NDArray[np.int32], float, NDArray[np.int64]]:
    """Where points end, the excursion of those that stay in the box, and which do not."""
    plan = job.plan
    niter = plan.default_niter if job.params["niter"] in (None, 0) else job.params["niter"]
    shape, tolerance = plan.image.shape, job.params["follow_tolerance"]
    flows = scale_flows(field[:-1], within, shape)
    ends, far, lost = follow(flows, box.start, shape, starts, niter, tolerance)
    return ends, float(far[~lost].max(initial=0)), np.flatnonzero(lost)


def _pieces(plan: Plan, core: Box, seen: Box, halo: int) -> Iterator[Box]:
    """Parts of a block that with a halo are no larger than what was seen of the block at first.

    Nor are they smaller than the halo, which would be read many times.
    """
    edges = [
        # along an axis without a margin, or of which all was seen, nothing would be gained
        own if n in (own, whole) else even(own, min(own, max(n - 2 * halo, halo)))
        for own, n, whole in zip(core.shape, seen.shape, plan.image.shape, strict=True)
    ]
    return (piece.moved(core.start) for piece in Grid(core.shape, zyx(edges)))


def _hull(voxels: NDArray[np.int32]) -> Box:
    """The smallest box with all of these voxels, of which there is one or more."""
    return Box(zyx(voxels.min(axis=0).tolist()), zyx((voxels.max(axis=0) + 1).tolist()))


def _field(job: Job, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Flows and cell probability of a box, and which of the voxels belong to cells."""
    field = read_flows(job, job.before.flows, box)
    threshold = np.float32(job.params["cellprob_threshold"])
    return field, (field[-1] > threshold) & read_tissue(job.plan, job.store, box)


def gather(job: Job, results: list[Result]) -> Added:
    """Put each block's largest displacement where the next stages find it."""
    name = job.name("displacements.npz")
    farthest = np.array([d for r in results for d in r["displacements"]], np.int32)
    job.store.put_table(name, {"displacement": farthest})
    told = {
        "max_excursion": max(r["max_excursion"] for r in results),
        "halo": max(r["halo"] for r in results),
        "refollowed": sum(r["refollowed"] for r in results),
        "voxels": sum(r["voxels"] for r in results),
    }
    return Added(State(ends=job.name("ends"), displacements=name), told)
