"""convert: copy an image that cannot be read by region into the store.

A striped or compressed TIFF can only be decoded by whole planes: passes across Y and X would
decode all of it again for every slab. Each item decodes ``CONVERT_PLANES`` planes once and writes
them as chunks that any pass can read, of all channels: those that are not segmented may be measured
block by block. Images that are stored in tiles or chunks are not copied.
"""

from __future__ import annotations

from typing import Any

from terapose.core.geometry import Box
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store
from terapose.pipeline.job import Job, Result, source
from terapose.pipeline.packs import choose_packs
from terapose.pipeline.plan import Plan
from terapose.pipeline.sizes import CONVERT_EDGE, CONVERT_PLANES
from terapose.pipeline.state import Added


def prepare(plan: Plan, store: Store) -> None:
    """Make the copies' arrays, if the plan asks for them."""
    if plan.image.convert:
        shape, chunk = plan.image.whole, (CONVERT_PLANES, CONVERT_EDGE, CONVERT_EDGE)
        packs = choose_packs(shape, chunk, plan.image.itemsize, (CONVERT_PLANES, *shape[1:]))
        for channel in plan.image.all_channels:
            store.create(source(channel), shape, chunk, plan.image.dtype, INTEGER, packs)


def run(job: Job) -> dict[str, Any]:
    """Copy the planes of one task."""
    # made with the plan, and here again if they were lost
    prepare(job.plan, job.store)
    depth, height, width = job.plan.image.whole
    checksums = []
    for item in job.items:
        first = item * CONVERT_PLANES
        box = Box((first, 0, 0), (min(first + CONVERT_PLANES, depth), height, width))
        for channel in job.plan.image.all_channels:
            planes = job.image.read(box.slices, channel)
            checksums.append(job.store.write(source(channel), box, planes))
    return {"checksums": checksums}


def gather(job: Job, results: list[Result]) -> Added:
    """Nothing is added: the copies are named by their channels."""
    return Added()
