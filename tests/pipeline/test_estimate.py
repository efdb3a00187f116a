"""What is projected of work on the whole image does not shrink with a region."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.synthetic import write_ome_zarr, write_tiff, write_zarr

from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import of_network, of_store
from terapose.pipeline.graph import STAGES, memory_of
from terapose.pipeline.job import Job
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run
from terapose.pipeline.state import State
from terapose.stages import plan as plan_stage

SHAPE = (20, 60, 70)
REGION = {"region": "3:13,11:41,8:58"}
CHANNEL = 20 * 60 * 70 * 2
"""Bytes of a channel of 16 bits."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Compressed strips: it is copied into the store before anything else reads it."""
    values = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)
    return write_tiff(tmp_path / "a.tif", values, kind="strips", axes="ZYX")


def planned(image: Path, model: Path, **params: Any) -> Plan:
    checked = check({"model": str(model), **params})
    plan = make_plan(open_checked(str(image), checked), identify(model), checked)
    assert plan.image.convert and plan.image.whole == SHAPE
    return plan


def unconverted(plan: Plan) -> Plan:
    return plan.model_copy(update={"image": plan.image.model_copy(update={"convert": False})})


def test_planes_of_the_whole_image_are_decoded(image: Path, tiny_model: Path) -> None:
    whole, part = (planned(image, tiny_model, **more) for more in ({}, REGION))
    assert memory_of(part)["convert"] == memory_of(whole)["convert"]
    # a task has at least a few planes of both: what is read and what is written
    memory = STAGES["convert"].memory
    assert memory is not None
    smaller = part.model_copy(
        update={"image": part.image.model_copy(update={"whole": part.image.shape})}
    )
    assert memory(part) > memory(smaller)


def test_the_copy_of_the_whole_image_is_in_the_store(image: Path, tiny_model: Path) -> None:
    for more in ({}, REGION):
        plan = planned(image, tiny_model, **more)
        assert of_store(plan) - of_store(unconverted(plan)) == CHANNEL


def test_channels_that_are_only_measured_are_copied_too(tmp_path: Path, tiny_model: Path) -> None:
    """Strips are decoded as a whole for each block that reads them: once is enough."""
    values = np.random.default_rng(0).integers(0, 900, (3, *SHAPE)).astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", values, kind="strips", axes="CZYX")
    plan = planned(path, tiny_model, channels=2)
    assert of_store(plan) - of_store(unconverted(plan)) == 3 * CHANNEL
    store = Store(str(tmp_path / "store"), plan.digest)
    plan_stage.run(plan, store)
    for task in range(len(plan.tasks["convert"])):
        run(Job(plan, store, "convert", task, {}, State()))
    path.unlink()
    job = Job(plan, store, "measure", 0, {}, State())
    for channel in (1, 2, 3):
        found = job.read_image(Box.whole(SHAPE), channel)
        np.testing.assert_array_equal(found, values[channel - 1])


def test_tiles_that_begin_in_a_block_are_counted_with_it(tmp_path: Path, tiny_model: Path) -> None:
    """Intensities of tiles: of a block, and as far as its last tiles reach."""
    values = np.zeros((4, 3000, 3000), np.uint16)
    values[::2, ::2, ::2] = 900
    path = write_tiff(tmp_path / "a.tif", values, axes="ZYX")
    memory = STAGES["intensities"].memory
    assert memory is not None

    def needed(**params: Any) -> int:
        checked = check({"model": str(tiny_model), "block_shape": (4, 256, 256), **params})
        return memory(make_plan(open_checked(str(path), checked), identify(tiny_model), checked))

    tiles = {"normalize": "tile", "normalize_tile": 1000}
    # 18 bytes for each voxel, but of more voxels
    assert needed(**tiles) - needed() == 18 * 4 * (1256**2 - 256**2)


@pytest.mark.parametrize("stage", ["measure", "outlines"])
def test_cells_of_a_task_are_counted(stage: str, tmp_path: Path, tiny_model: Path) -> None:
    """What a task has found of all its cells is in memory, and how many there are follows from how
    much of the image it does."""
    path = write_zarr(
        tmp_path / "a.zarr", np.zeros((1, 8000, 8000), np.uint8), chunks=(1, 2000, 2000)
    )
    memory = STAGES[stage].memory
    assert memory is not None

    def needed(**params: Any) -> int:
        checked = check({"model": str(tiny_model), "block_shape": (1, 500, 500), **params})
        return memory(make_plan(open_checked(str(path), checked), identify(tiny_model), checked))

    few, one = needed(max_tasks=256, diameter=17), needed(max_tasks=1, diameter=17)
    cells = (8000**2 - 500**2) / 17**2
    assert 300 < (one - few) / cells < 1500
    assert needed(max_tasks=1, diameter=9) > one > needed(max_tasks=1, diameter=30)


def test_parts_of_the_finest_level_are_as_large_as_a_block(
    tmp_path: Path, tiny_model: Path
) -> None:
    fine = np.zeros((1, 2400, 2400), np.uint8)
    path = write_ome_zarr(tmp_path / "a.zarr", fine, factors=(1, 2), chunks=(1, 800, 800))
    given = {"model": str(tiny_model), "level": 1, "block_shape": (1, 400, 400)}
    checked = check(given)
    plan = make_plan(open_checked(str(path), checked), identify(tiny_model), checked)
    assert plan.full is not None and plan.full.shape == fine.shape
    coarse = plan.model_copy(update={"full": None})
    # 31 bytes for each voxel; what is around a part has twice as many along Y and X
    more = (400 + 4 * 48) ** 2 - (400 + 2 * 48) ** 2
    assert memory_of(plan)["measure"] - memory_of(coarse)["measure"] == 31 * more


def test_voxels_that_are_read_for_a_coarser_grid_are_counted(image: Path, tiny_model: Path) -> None:
    """Where cells are large the network's grid is coarse, and many voxels are read for each of its
    own."""
    plan = planned(image, tiny_model, diameter=170)
    assert math.prod(plan.network_shape) < math.prod(SHAPE) / 200
    # as they are, and twice while they are scaled
    least = math.prod(SHAPE) * (2 + 4 + 4)
    assert memory_of(plan)["gradients-yx"] - of_network(plan) > least
