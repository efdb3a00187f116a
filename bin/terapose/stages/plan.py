"""plan: make the store, and the arrays that the plan alone decides.

The plan itself is made by `terapose.pipeline.planning`. Arrays that depend on nothing else are made
here, so that tasks only ever fill them.
"""

from __future__ import annotations

import shutil

from terapose.core.amounts import in_bytes
from terapose.core.errors import InputError
from terapose.io.own_files import make_way
from terapose.io.store.store import Store
from terapose.pipeline import tissue
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import PLAN
from terapose.pipeline.image_plan import note_planned
from terapose.pipeline.plan import KEPT, Plan


def run(plan: Plan, store: Store) -> None:
    """Make the store and the arrays that the plan alone decides.

    Raises
    ------
    InputError
        If the store is no folder, the disk has less room than it will take, or the image has
        changed meanwhile.
    """
    image = plan.image
    if store.is_local and not store.has(KEPT):
        make_way(store.address, KEPT)
        free = shutil.disk_usage(store.address).free
        needed = of_store(plan)
        if free < needed:
            raise InputError(
                "not enough space for the intermediate results",
                where=store.address,
                got=f"{in_bytes(free)} free",
                allowed=f"{in_bytes(needed)} or more",
                remedy="choose a work folder on a larger disk",
            )
    note_planned(image, plan.full.selection if plan.full else None, store)
    tissue.prepare(plan, store)
    for implementation in dict.fromkeys(stage.implementation for stage in PLAN.includes):
        implementation.prepare(plan, store)
    store.of("").put_json(KEPT, plan.model_dump(mode="json"))
