"""What tasks ask a scheduler for, as far as no scheduler is needed to see it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.fields import prepared

from terapose.core.params import check
from terapose.io.store.held import bytes_held
from terapose.networks.files import identify
from terapose.pipeline import needs as needs_module
from terapose.pipeline import work as work_module
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import BLOCKS_BASE, of_network
from terapose.pipeline.graph import STAGES
from terapose.pipeline.needs import (
    LEAST,
    NOTHING,
    is_one_task,
    memory_given,
    needs_of,
    needs_of_whole,
    tasks_of_whole,
)
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.rates import TILES, UNKNOWN, VOXELS, WORK

IMAGE = np.random.default_rng(0).integers(0, 500, (8, 24, 40)).astype(np.uint16)


def test_one_task_for_all_stages_asks_for_all(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = prepared(tmp_path, tiny_model, IMAGE, block_shape=(8, 12, 20))
    assert plan.is_small
    whole = needs_of_whole(plan)
    # what it holds of the network it still holds in the stages after it, beside what is not written
    flows = plan.components * plan.flow_itemsize * math.prod(plan.network_shape)
    held = of_network(plan) - BLOCKS_BASE + bytes_held(math.prod(plan.image.shape)) + flows
    passes = {stage for stage in plan.tasks if STAGES[stage].axis}
    most = {stage: STAGES[stage].projected(plan) for stage in plan.tasks if plan.tasks[stage]}
    assert held > 0 and passes < most.keys()
    alone = max(n + (flows if stage in passes else held) for stage, n in most.items())
    assert whole.memory == alone + needs_module.LEFT
    each = {stage: needs_of(plan, stage).seconds for stage in plan.tasks if plan.tasks[stage]}
    # of all stages but one that applies a function of the user's
    assert {stage for stage, seconds in each.items() if not seconds} == {"process_cells"}
    work = sum(seconds - needs_module.START for seconds in each.values() if seconds)
    assert whole.seconds == needs_module.START + work
    assert (whole.cpus, whole.gpus) == (2, 0)
    for limit, fits in ((whole.memory / 1e9, True), ((whole.memory - 1) / 1e9, False)):
        assert is_one_task(plan, check({"max_memory": limit})) == fits
    assert not is_one_task(plan, check({"cell_channels": (2,), "cell_diameter": 20}))
    # by the seconds that it should take, samples share a task; a slow node gets ten times as many
    ((_, expected),) = tasks_of_whole(plan)
    network = sum(each[stage] - needs_module.START for stage in passes) / needs_module.SLACK
    follow = plan.tasks["follow"][-1][1] * math.prod(plan.block) / VOXELS["follow"]
    # that of the network is rounded up in each pass
    assert -len(passes) / needs_module.SLACK <= expected - network - follow < 1
    monkeypatch.setattr(work_module, "TILES", dict.fromkeys(TILES, 0.01))
    ((_, slow),) = tasks_of_whole(plan)
    assert slow > 1000 * expected
    # of a network whose speed nobody knows: what is known of other stages would be far too little
    monkeypatch.setattr(work_module, "TILES", {})
    assert needs_of_whole(plan).seconds == 0 and tasks_of_whole(plan) == [(0, 3600)]
    split, _ = prepared(tmp_path, tiny_model, IMAGE, block_shape=(8, 12, 20), max_tasks=2)
    assert not split.is_small and needs_of_whole(split) == NOTHING and not tasks_of_whole(split)


def test_of_a_stage_that_was_not_measured_the_slowest_is_expected() -> None:
    # of the network, what it does beside the network
    assert min(rate for (stage, _), rate in WORK.items() if not STAGES[stage].axis) >= UNKNOWN


def test_flows_that_stay_as_they_are_ask_for_a_start(tmp_path: Path, tiny_model: Path) -> None:
    """Smoothing is no part of the plan, so what it takes is asked for beside the plan's tables."""
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), shape=(256, 512, 512), chunks=(64, 64, 64), dtype="uint16")

    def asked(**given: object) -> tuple[int, int, Plan]:
        params = check({"model": str(tiny_model), **given})
        plan = make_plan(open_checked(str(path), params), identify(tiny_model), params)
        (memory,) = memory_given(plan, params).items()
        assert memory == ("combine", needs_of(plan, "combine", params).memory)
        return memory[1], needs_of(plan, "combine").memory, plan

    start, in_tables, plan = asked()
    assert start == LEAST < in_tables and not plan.resized
    assert STAGES["combine"].projected(plan, check({})) < 100e6
    smoothed, _, same = asked(flow3d_smooth=1)
    wider, _, _ = asked(flow3d_smooth=(0, 8, 8))
    assert same.digest == plan.digest and start < smoothed < wider
    # whoever makes the tables does not know it, and asks for no less
    assert in_tables >= smoothed
    # where the grid is another one, there is always something to do
    resized, in_tables, plan = asked(diameter=11, anisotropy=2)
    assert plan.resized and start < resized <= in_tables
