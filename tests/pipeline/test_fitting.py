"""Tasks are cut so that they fit into `max_memory`, or nothing begins."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import STAGES, memory_of
from terapose.pipeline.needs import LEAST, NOTHING, needs_of
from terapose.pipeline.plan import Plan, items
from terapose.pipeline.planning import make_plan

MakePlan = Callable[..., Plan]
SHEET = (640, 2048, 2048)
"""An ordinary light-sheet volume."""


@pytest.fixture(scope="module")
def plan_of(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> MakePlan:
    """Plans of images without a voxel in them: nothing is read for a plan."""
    folder = tmp_path_factory.mktemp("fitting")

    def make(shape: tuple[int, int, int] = SHEET, **params: Any) -> Plan:
        path = folder / f"{'x'.join(map(str, shape))}.zarr"
        if not path.exists():
            zarr.create_array(
                str(path),
                shape=shape,
                chunks=tuple(min(n, 256) for n in shape),
                dtype=np.uint16,
                dimension_names=list("zyx"),
            )
        checked = check({"model": str(tiny_model), "diameter": 12, "anisotropy": 4, **params})
        return make_plan(open_checked(str(path), checked), identify(tiny_model), checked)

    return make


@pytest.mark.parametrize("limit", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("mode", ["3d", "2d", "stitch"])
def test_tasks_stay_below_the_limit(plan_of: MakePlan, mode: str, limit: float) -> None:
    given = {"mode": mode, "max_memory": limit, "anisotropy": 4 if mode == "3d" else None}
    plan = plan_of(**given)
    assert max(memory_of(plan).values()) <= limit * 1e9
    # chunks of the sums are whole in each box, and chunks of blocks in each block
    for size in plan.passes:
        edges = zip(size, plan.slabs, plan.network_shape, strict=True)
        assert all(a % c == 0 or a == n for a, c, n in edges)
    assert all(b % c == 0 for b, c in zip(plan.block, plan.chunk, strict=True))


def test_what_fits_is_cut_as_ever(plan_of: MakePlan) -> None:
    roomy, usual = (plan_of((64, 256, 256), max_memory=m) for m in (100.0, 8.0))
    assert roomy.digest == usual.digest and roomy.block == (64, 128, 128)


def test_later_parameters_do_not_cut(plan_of: MakePlan) -> None:
    assert plan_of(max_memory=3.0).digest == plan_of(max_memory=3.0, flow_threshold=0.5).digest


@pytest.mark.parametrize(
    ("given", "stage", "remedy"),
    [
        ({"max_memory": 0.2}, "gradients-", "raise max_memory if the machines have more"),
        ({"block_shape": (640, 1024, 1024)}, "combine", "leave out block_shape"),
        ({"rectangle": 2048, "slab_planes": 64}, "gradients-", "leave out rectangle and slab_pl"),
    ],
)
def test_what_cannot_fit_is_refused(
    plan_of: MakePlan, given: dict[str, Any], stage: str, remedy: str
) -> None:
    with pytest.raises(InputError, match="max_memory: a task of") as fault:
        plan_of(**given)
    said = str(fault.value)
    assert stage in said and remedy in said
    least = float(said.partition("allowed: ")[2].partition(" GB or more")[0])
    # the least that is said to do does
    assert plan_of(**{**given, "max_memory": least})


def test_tasks_ask_for_what_was_projected(
    plan_of: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    for stage, memory in memory_of(plan).items():
        needs = needs_of(plan, stage)
        network = stage.startswith("gradients")
        assert (needs.memory, needs.cpus, needs.gpus) == (
            max(memory, LEAST),
            2 if network else 1,
            0,
        )
    assert needs_of(plan, "convert") == NOTHING
    on_gpu = plan_of(use_gpu=True)
    assert [needs_of(on_gpu, stage).gpus for stage in ("gradients-yx", "follow")] == [1, 0]
    # a stage that takes the parameter, and nothing else
    given = replace(STAGES["follow"], parameters=("use_gpu",))
    monkeypatch.setitem(STAGES, "follow", given)
    assert [needs_of(plan, "follow").gpus for plan in (plan, on_gpu)] == [0, 1]
    monkeypatch.undo()
    # more to do in a task takes longer
    assert needs_of(plan_of(max_tasks=10), "follow").seconds > needs_of(plan, "follow").seconds


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("3d", (16_000, 16_000, 16_000)),
        ("2d", (8_000, 16_384, 16_384)),
        ("stitch", (16_000, 16_384, 16_384)),
    ],
)
def test_tasks_of_many_small_cells_are_more(
    plan_of: MakePlan, mode: str, shape: tuple[int, int, int]
) -> None:
    """Each holds a row for every cell of its blocks, of which it has thousands."""
    given = {"shape": shape, "diameter": 8, "mode": mode, "anisotropy": None}
    roomy, plan = plan_of(**given, max_memory=100.0), plan_of(**given, max_memory=5.2)
    assert memory_of(roomy)["measure"] > 5.2e9
    assert max(memory_of(plan).values()) <= 5.2e9
    for stage, tasks in plan.tasks.items():
        # no others, and each has every block once
        more = stage in ("measure", "outlines") and memory_of(roomy)[stage] > 5.2e9
        assert (len(tasks) > 2000) == more, stage
        assert all(stop == first for (_, stop), (first, _) in itertools.pairwise(tasks))
        assert not tasks or (tasks[0][0], tasks[-1][1]) == (0, items(plan, stage))


def test_fewer_tasks_than_fit_are_refused(plan_of: MakePlan) -> None:
    given = {"shape": (1, 65_536, 65_536), "diameter": 40, "mode": "2d", "anisotropy": None}
    given |= {"max_tasks": 2, "max_memory": 3.0}
    # outlines would need more, but nobody asks for them
    assert len(plan_of(**given).tasks["outlines"]) == 2
    given["table"] = ("geojson",)
    with pytest.raises(
        InputError, match="task of outlines needs more memory, with max_tasks 2"
    ) as e:
        plan_of(**given)
    assert "leave out max_tasks" in str(e.value)
    least = float(str(e.value).partition("allowed: ")[2].partition(" GB or more")[0])
    assert len(plan_of(**given | {"max_memory": least}).tasks["outlines"]) == 2
    assert len(plan_of(**given | {"max_tasks": None}).tasks["outlines"]) > 2
