"""The plan: what changes its digest, what it cuts into tasks, what it refuses."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.synthetic import write_zarr
from tests.unets import random_unet, save

from terapose.core.errors import InputError
from terapose.core.geometry import AXES, ZYX, Grid
from terapose.core.params import check
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import SCATTERED
from terapose.pipeline.layout import (
    MOST_PIXELS,
    MOST_VOXELS,
    choose_block,
    choose_flat_slabs,
    choose_passes,
    choose_slabs,
    network_shape,
)
from terapose.pipeline.needs import needs_of, tasks_csv
from terapose.pipeline.plan import Plan, load
from terapose.pipeline.planning import _tasks, make_plan
from terapose.stages.plan import run

IMAGE = np.random.default_rng(0).integers(0, 500, (20, 40, 50)).astype(np.uint16)
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("plan") / "image.zarr"
    write_zarr(Path(path), np.stack([IMAGE, IMAGE + 1]))
    return str(path)


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(random_unet((2, 2)).state_dict(), tmp_path_factory.mktemp("model") / "two.pth")


@pytest.fixture(scope="module")
def plan_of(address: str, two_inputs: Path) -> MakePlan:
    def make(model: Path = two_inputs, **params: Any) -> Plan:
        checked = check({"model": str(model), **params})
        return make_plan(open_checked(address, checked), identify(model), checked)

    return make


SHAPING = {
    "channels": [2],
    "diameter": 25.0,
    "anisotropy": 1.5,
    "normalize": "none",
    "percentiles": [2, 98],
    "percentile_sampling": "cellpose",
    "invert": True,
    "foreground_min": 10.0,
    "tile_overlap": 0.2,
    "precision": "bfloat16",
    "block_shape": [10, 40, 50],
    "slab_planes": 4,
    "max_tasks": 2,
    "ome_zarr_version": "0.4",
    "label_files": "shards",
    "voxel_size": [1.0, 1.0, 1.0],
}


@pytest.mark.parametrize("name", SHAPING)
def test_what_shapes_the_work_changes_the_digest(name: str, plan_of: MakePlan) -> None:
    assert plan_of(**{name: SHAPING[name]}).digest != plan_of().digest


def test_merging_changes_the_digest(plan_of: MakePlan) -> None:
    both = {"channels": [1, 2]}
    ways = ("none", "max", "mean", "gmm")
    assert len({plan_of(**both, channel_merge=way).digest for way in ways}) == len(ways)


def test_thresholds_and_filters_do_not(plan_of: MakePlan) -> None:
    later = {
        "cellprob_threshold": 1.0,
        "niter": 30,
        "min_size": 3,
        "max_size_fraction": 0.1,
        "min_median_fraction": 0.2,
        "border": "drop",
        "flow3d_smooth": [1.0],
        "keep_intermediates": "all",
        "batch_size": 2,
    }
    assert plan_of(**later).digest == plan_of().digest


def test_other_weights_and_another_image_change_it(
    plan_of: MakePlan, tiny_model: Path, tmp_path: Path, two_inputs: Path
) -> None:
    plain = plan_of()
    assert plan_of(model=tiny_model).digest != plain.digest
    params = check({"model": str(two_inputs)})
    digests = set()
    path = tmp_path / "image.zarr"
    for image in (IMAGE, IMAGE + 1, IMAGE[:19]):
        shutil.rmtree(path, ignore_errors=True)
        write_zarr(Path(path), image)
        digests.add(make_plan(open_checked(str(path), params), identify(two_inputs), params).digest)
    assert len(digests | {plain.digest}) == 4


@given(
    st.tuples(st.integers(2, 20), st.integers(2, 40), st.integers(2, 50)),
    st.integers(1, 30),
    st.none() | st.integers(1, 40),
)
@settings(max_examples=25)
def test_tasks_hold_every_item_once(
    plan_of: MakePlan, block: ZYX, planes: int, most: int | None
) -> None:
    plan = plan_of(block_shape=block, slab_planes=planes, max_tasks=most)
    for stage in SCATTERED:
        items = [i for task in range(len(plan.tasks[stage])) for i in plan.batch(stage, task)]
        assert items == list(range(plan.items(stage)))
        assert len(plan.tasks[stage]) <= (most or 2000)
        needs = needs_of(plan, stage)
        asked = f"{needs.memory},{needs.seconds},{needs.cpus},{needs.gpus}"
        lines = tasks_csv(plan.tasks[stage], needs).splitlines()
        assert lines[0] == "task,first,stop,memory,seconds,cpus,gpus"
        rows = [f"{n},{a},{b},{asked}" for n, (a, b) in enumerate(plan.tasks[stage])]
        assert lines[1:-1] == rows
        assert lines[-1] == f"all,0,{plan.items(stage)},{asked}"
    for axis in range(len(AXES)):
        count = plan.items(f"gradients-{AXES[axis]}")
        planes_done = [
            p
            for n in range(count)
            for p in range(plan.pass_grid(axis)[n].start[axis], plan.pass_grid(axis)[n].stop[axis])
        ]
        assert planes_done == list(range(plan.network_shape[axis]))


@pytest.mark.parametrize(
    ("mode", "shape"), [("3d", (5000, 20000, 20000)), ("2d", (1, 90000, 120000))]
)
def test_no_size_makes_many_tasks_or_large_ones(plan_of: MakePlan, mode: str, shape: ZYX) -> None:
    small = plan_of()
    flat = mode == "2d"
    slabs = (choose_flat_slabs if flat else choose_slabs)(shape, None)
    large = small.model_copy(
        update={
            "mode": mode,
            "image": small.image.model_copy(update={"shape": shape}),
            "network_shape": shape,
            "block": choose_block(shape, None, flat=flat),
            "slabs": slabs,
            "passes": choose_passes(shape, slabs, 1 if flat else 3, None),
        }
    )
    for stage in SCATTERED:
        tasks = _tasks(large, stage, check({}))
        assert len(tasks) <= 2000
        fewer = _tasks(large, stage, check({"task_minutes": 60}))
        assert len(fewer) <= len(tasks)
        assert not tasks or tasks[-1][1] == large.items(stage)
    assert math.prod(slabs) >= 2**15
    for box in large.passes:
        assert math.prod(box) <= (MOST_PIXELS if flat else MOST_VOXELS)


@pytest.mark.parametrize(
    ("shape", "flat", "block"),
    [
        ((160, 160, 160), False, (160, 160, 160)),
        ((16, 1024, 512), False, (16, 1024, 512)),
        ((256, 256, 256), False, (128, 256, 256)),
        ((257, 256, 256), False, (129, 128, 128)),
        ((20, 1000, 9000), False, (20, 256, 256)),
        ((1, 1024, 1024), True, (1, 1024, 1024)),
        ((30, 1030, 900), True, (18, 515, 900)),
    ],
)
def test_what_a_task_does_anyway_is_not_cut(shape: ZYX, flat: bool, block: ZYX) -> None:
    assert choose_block(shape, None, flat=flat) == block


def test_a_volume_that_is_large_for_the_network_is_cut() -> None:
    shape, finer = (64, 200, 200), (128, 400, 400)
    assert choose_block(shape, None, grid=shape) == shape
    assert choose_block(shape, None, grid=finer) == (64, 100, 100)
    assert choose_block(shape, None, grid=(96, 300, 300)) == (64, 100, 200)


def test_tasks_are_worth_the_minutes_that_are_asked_for(plan_of: MakePlan) -> None:
    given = {"block_shape": (4, 8, 8), "slab_planes": 4}
    counts = []
    for minutes in (1e-6, 1e-4, 2):
        plan = plan_of(**given, task_minutes=minutes)
        counts.append({stage: len(tasks) for stage, tasks in plan.tasks.items()})
    most, some, least = counts
    assert most["follow"] == len(list(Grid(plan.image.shape, plan.block)))
    assert 1 < some["follow"] < most["follow"]
    assert set(least.values()) <= {0, 1} and most["gradients-yx"] > 1
    # it is not more than a wish
    assert len(plan_of(**given, task_minutes=2, max_tasks=3).tasks["follow"]) == 3


@pytest.mark.parametrize("rectangle", [None, 7, 25, 1000])
def test_boxes_of_a_pass_are_whole_chunks(rectangle: int | None) -> None:
    shape = (40, 90, 57)
    slabs = choose_slabs(shape, 9, rectangle)
    for axis, box in enumerate(choose_passes(shape, slabs, 3, rectangle)):
        assert box[axis] == slabs[axis]
        boxes = list(Grid(shape, box))
        assert sum(b.size for b in boxes) == math.prod(shape)
        for b in boxes:
            for start, stop, chunk, length in zip(b.start, b.stop, slabs, shape, strict=True):
                assert start % chunk == 0
                assert stop % chunk == 0 or stop == length
        if rectangle is not None and rectangle < max(shape):
            assert max(n for i, n in enumerate(box) if i != axis) <= rectangle
        else:
            assert [n for i, n in enumerate(box) if i != axis] == [
                n for i, n in enumerate(shape) if i != axis
            ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((16, 2048, 2048), (16, 1024, 1024)), ((16, 2048, 3000), (16, 1024, 1024))],
)
def test_rectangles_are_about_as_large_as_one_another(shape: ZYX, expected: ZYX) -> None:
    slabs = choose_slabs(shape, None)
    assert choose_passes(shape, slabs, 3, None)[0] == expected
    # one that is given stays
    assert choose_passes(shape, slabs, 3, 1408)[0] == (16, 1408, 1408)


@pytest.mark.parametrize(
    ("rescale", "anisotropy", "expected"),
    [(1.0, 1.0, (20, 40, 50)), (1.0, 2.5, (50, 40, 50)), (0.75, 1.0, (15, 30, 37))],
)
def test_the_networks_grid(rescale: float, anisotropy: float, expected: ZYX) -> None:
    assert network_shape((20, 40, 50), rescale, anisotropy) == expected


def test_anisotropy_comes_from_the_voxel_size(plan_of: MakePlan) -> None:
    assert plan_of(voxel_size=[2.0, 0.5, 0.5]).network_shape == (80, 40, 50)
    assert plan_of(voxel_size=[2.0, 0.5, 0.5], anisotropy=2.0).network_shape == (40, 40, 50)
    assert plan_of(diameter=60.0).default_niter == 400
    assert plan_of().default_niter == 200


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"voxel_size": [1.0, 0.5, 0.6]}, "pixels are not square"),
        ({"channels": [1, 3]}, "channel"),
        ({"diameter": 2000.0}, "shrinks to nothing"),
        ({"diameter": 1.0}, "grow more than 64 times"),
    ],
)
def test_what_cannot_be_segmented_is_refused(
    plan_of: MakePlan, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        plan_of(**params)
    assert "\n" not in str(caught.value)


def test_more_channels_than_the_network_has_are_refused(
    plan_of: MakePlan, tiny_model: Path
) -> None:
    with pytest.raises(
        InputError, match="more channels are given than the network has inputs; got"
    ):
        plan_of(model=tiny_model, channels=[1, 2])


def test_a_single_plane_is_no_volume(tmp_path: Path) -> None:
    path = str(tmp_path / "plane.zarr")
    write_zarr(Path(path), IMAGE[:1])
    for mode in ("3d", "stitch"):
        with pytest.raises(InputError, match="is not a volume; got shape"):
            open_checked(path, check({"mode": mode}))
    for mode in ("auto", "2d"):
        assert open_checked(path, check({"mode": mode})).shape[0] == 1


def test_a_plan_comes_back_from_its_file(plan_of: MakePlan, tmp_path: Path) -> None:
    plan = plan_of(block_shape=(7, 8, 9))
    path = tmp_path / "plan.json"
    path.write_text(plan.dump())
    assert load(path) == plan
    assert load(path).digest == plan.digest
    path.write_text(plan.model_copy(update={"code": "0" * 64}).dump())
    with pytest.raises(InputError, match="was made by another version of the code"):
        load(path)
    path.write_text(plan.dump().replace('"version": "', '"version": "1'))
    with pytest.raises(InputError, match=r"plan\.json: is damaged"):
        load(path)


def test_a_full_disk_is_refused_before_anything_runs(plan_of: MakePlan, tmp_path: Path) -> None:
    plan = plan_of()
    huge = plan.image.model_copy(update={"shape": (10**6,) * 3})
    with pytest.raises(InputError, match="not enough space for the intermediate results"):
        run(plan.model_copy(update={"image": huge}), Store(str(tmp_path / "store")))
