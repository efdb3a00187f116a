"""The stages after the network, on fields that have each broken some other system.

Each case is segmented in one block and in several, and by Cellpose's own functions on the whole.
Any shapes are in tests/property/test_any_blocks.py.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cellpose import core, dynamics, transforms
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tests.fields import (
    NETWORK,
    Field,
    Labels,
    Result,
    balls,
    cellpose_masks,
    check_table,
    checkerboard,
    prepared,
    run_stages,
    same_partition,
    same_result,
    scatter,
    segment_field,
    to_centres,
    towards,
)

from terapose.core.geometry import ZYX, Box, Grid
from terapose.intermediates import objects
from terapose.intermediates.flows import read_flows
from terapose.intermediates.seeds import seeds_in
from terapose.networks.loading import load
from terapose.pipeline.job import Job
from terapose.pipeline.running import run_gather
from terapose.pipeline.sizes import LEAST_HALO
from terapose.pipeline.state import State
from terapose.stages import combine

Cut = tuple[int, int, int]


def everywhere_the_same(
    folder: Path, model: Path, field: Field, block: Cut, **rules: Any
) -> Result:
    """One block, many blocks and Cellpose agree; returns the result of many."""
    shape = field.shape[1:]
    whole = segment_field(folder, model, field, block_shape=shape, **rules)
    cut = segment_field(folder, model, field, block_shape=block, max_tasks=4, **rules)
    assert len(whole.plan.grid) == 1
    assert len(cut.plan.grid) > 1
    same_result(cut, whole)
    check_table(cut)
    assert same_partition(cut.labels, cellpose_masks(field, **rules))
    return cut


def test_touching_cells(tmp_path: Path, tiny_model: Path) -> None:
    labels = checkerboard((12, 18, 24), 6)
    cut = everywhere_the_same(tmp_path, tiny_model, to_centres(labels, noise=0.3), (7, 8, 13))
    assert len(cut.cells["CellID"]) == labels.max() == 24


@pytest.mark.parametrize(
    ("centre", "crossed"), [((10.0, 12.0, 12.0), 8), ((4.0, 12.0, 12.0), 4), ((4.0, 5.0, 12.0), 2)]
)
def test_a_cell_across_blocks_is_one_cell(
    tmp_path: Path, tiny_model: Path, centre: tuple[float, float, float], crossed: int
) -> None:
    distance = np.linalg.norm(np.moveaxis(np.indices((20, 24, 24)), 0, -1) - centre, axis=-1)
    labels = (distance < 4.9).astype(np.int64)
    cut = everywhere_the_same(tmp_path, tiny_model, to_centres(labels), (10, 12, 12))
    assert sum(bool(labels[box.slices].any()) for box in cut.plan.grid) == crossed
    np.testing.assert_array_equal(cut.labels, labels)


def test_blocks_without_a_seed_keep_their_voxels(tmp_path: Path, tiny_model: Path) -> None:
    labels = balls((16, 18, 20), seed=4, count=2, radius=9)
    cut = everywhere_the_same(tmp_path, tiny_model, to_centres(labels), (6, 6, 7))
    seeded = cut.states["seeds"].found
    assert seeded < len(cut.plan.grid) / 5
    np.testing.assert_array_equal(cut.labels > 0, labels > 0)


def test_a_thin_last_block_doubles_no_seed(tmp_path: Path, tiny_model: Path) -> None:
    labels = checkerboard((21, 13, 25), 7)
    cut = everywhere_the_same(
        tmp_path, tiny_model, to_centres(labels), (10, 12, 12), max_size_fraction=1.0
    )
    assert cut.plan.grid[len(cut.plan.grid) - 1].shape == (1, 1, 1)
    assert cut.states["seeds"].found == len(cut.cells["CellID"]) == labels.max()


def test_empty_blocks(tmp_path: Path, tiny_model: Path) -> None:
    labels = np.zeros((20, 26, 26), np.int64)
    labels[:9, :9, :9] = balls((9, 9, 9), seed=0, count=1, radius=4)
    cut = everywhere_the_same(tmp_path, tiny_model, to_centres(labels, noise=1), (10, 13, 13))
    assert len(cut.cells["CellID"]) == 1


def test_an_empty_image_gives_an_empty_result_and_a_warning(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    field = to_centres(np.zeros((12, 13, 14), np.int64), noise=0.3)
    with caplog.at_level(logging.WARNING):
        cut = everywhere_the_same(tmp_path, tiny_model, field, (8, 8, 8))
    assert not cut.labels.any()
    assert len(cut.cells["CellID"]) == 0
    assert "Volume" in cut.cells
    assert "no cells found: the label image and the table are empty" in caplog.messages


@pytest.mark.parametrize(("fraction", "kept"), [(0.4, 1), (1.0, 2)])
def test_one_giant_object(tmp_path: Path, tiny_model: Path, fraction: float, kept: int) -> None:
    labels = np.ones((14, 16, 18), np.int64)
    labels[:5, :5, :5] = 2
    cut = everywhere_the_same(
        tmp_path, tiny_model, to_centres(labels), (9, 9, 9), max_size_fraction=fraction
    )
    assert len(cut.cells["CellID"]) == kept


def shells(*, wall: int = 2, core: bool = True) -> Labels:
    """A hollow box, with a smaller one inside and a full one in that."""
    labels = np.zeros((24, 24, 24), np.int64)
    for number, first in enumerate((2, 2 + 2 * wall) if core else (2,), 1):
        inner = slice(first, 24 - first)
        labels[inner, inner, inner] = number
        hollow = slice(first + wall, 24 - first - wall)
        labels[hollow, hollow, hollow] = 0
    if core:
        labels[11:14, 11:14, 11:14] = 3
    return labels


def diffused(labels: Labels) -> Field:
    """Cellpose's own flows of a label image: they follow the shape of an object."""
    flows = dynamics.masks_to_flows_gpu_3d(labels.astype(np.int32))
    probability = np.where(labels > 0, 3.0, -3.0)
    return np.concatenate([5 * flows, probability[None]]).astype(np.float32)


@pytest.mark.parametrize(
    ("core", "rules"),
    [
        (False, {}),
        (True, {}),  # the core lies in the inner shell, and both lie in the outer one
        (True, {"min_size": 100}),  # the core is gone before holes are filled
        (True, {"max_size_fraction": 0.12}),  # the outer shell is
    ],
)
def test_nested_cells(tmp_path: Path, tiny_model: Path, core: bool, rules: dict[str, Any]) -> None:
    labels = shells(core=core)
    cut = everywhere_the_same(tmp_path, tiny_model, diffused(labels), (11, 13, 24), **rules)
    assert cut.states["relabel"].patches > 0
    assert len(cut.cells["CellID"]) < cut.states["seeds"].found or not core


def test_chunks_of_nested_cells_are_read_once(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = shells(core=True)
    labels = np.concatenate([np.where(one > 0, one + 3 * n, 0) for n in range(4)], axis=2)
    boxes: list[Box] = []

    def counted(job: Job, name: str, box: Box) -> Field:
        boxes.append(box)
        return read_flows(job, name, box)

    monkeypatch.setattr(objects, "read_flows", counted)
    found = segment_field(tmp_path, tiny_model, diffused(labels), block_shape=(24, 24, 48))
    assert found.states["relabel"].patches > 0
    # four groups of cells in two chunks
    assert len(boxes) == 2
    assert same_partition(found.labels, cellpose_masks(diffused(labels)))


def test_long_trajectories_widen_the_halo(tmp_path: Path, tiny_model: Path) -> None:
    labels = np.zeros((8, 9, 100), np.int64)
    labels[2:6, 2:7, 3:97] = 1
    labels[1, 1, 1:5] = 2
    field = towards(labels, np.array([[4.0, 4.0, 94.0], [1.0, 1.0, 2.0]]))
    cut = everywhere_the_same(tmp_path, tiny_model, field, (8, 9, 20))
    followed = cut.states["follow"].history[-1].told
    assert followed["max_excursion"] > 2 * LEAST_HALO
    assert followed["halo"] >= followed["max_excursion"]
    assert followed["refollowed"] > 100
    # all of it ends at one place, and belongs to it whatever block it started in
    assert len(np.unique(cut.labels[labels == 1])) == 1


def test_voxels_at_the_threshold_are_outside(tmp_path: Path, tiny_model: Path) -> None:
    field = to_centres(balls((14, 14, 14), seed=2, count=3, radius=5), noise=0.4)
    threshold = float(np.float32(0.5))
    field[3].ravel()[::3] = threshold
    cut = everywhere_the_same(
        tmp_path, tiny_model, field, (8, 8, 8), cellprob_threshold=threshold, min_size=1
    )
    assert cut.labels.any()
    assert cut.states["follow"].history[-1].told["voxels"] == (field[3] > threshold).sum()


def test_ids_rise_with_the_position_of_seeds(tmp_path: Path, tiny_model: Path) -> None:
    labels = balls((30, 20, 20), seed=7, count=12, radius=4)
    cut = everywhere_the_same(tmp_path, tiny_model, to_centres(labels), (9, 11, 20), min_size=1)
    job = Job(cut.plan, cut.store, "masks", 0, {}, State())
    voxels, _, ids = seeds_in(
        job.store, cut.states["seeds"], Box.whole(cut.plan.image.shape), cut.plan.grid
    )
    np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
    position = np.ravel_multi_index(tuple(voxels.T), cut.plan.image.shape)
    assert (np.diff(position) > 0).all()
    # no cell was dropped: the label at a seed is its number
    np.testing.assert_array_equal(cut.labels[tuple(voxels.T)], ids)


def test_receipts_come_in_any_order(tmp_path: Path, tiny_model: Path) -> None:
    labels = balls((20, 20, 20), seed=7, count=8, radius=5)
    cut = segment_field(
        tmp_path, tiny_model, to_centres(labels), block_shape=(7, 7, 11), max_tasks=12
    )
    followed = cut.states["follow"]
    receipts = scatter(cut.plan, cut.store, "peaks", {}, followed)
    assert len(receipts) == 12
    random.Random(0).shuffle(receipts)
    job = Job(cut.plan, cut.store, "seeds", 0, {}, followed)
    again, first = run_gather(job, receipts), cut.states["seeds"]
    assert again.document() | {"history": []} == first.document() | {"history": []}
    assert [step.told for step in again.history] == [step.told for step in first.history]


@pytest.mark.parametrize("blocks", [(20, 22, 24), (9, 11, 12)])
def test_own_filters(tmp_path: Path, tiny_model: Path, blocks: Cut) -> None:
    labels = balls((20, 22, 24), seed=11, count=14, radius=5)
    field = to_centres(labels)
    plain = segment_field(tmp_path, tiny_model, field, block_shape=blocks, min_size=1)
    border = np.zeros_like(plain.labels, bool)
    for axis in range(3):
        np.moveaxis(border, axis, 0)[[0, -1]] = True
    touching = np.unique(plain.labels[border])
    assert 0 < len(touching[touching > 0]) < len(plain.cells["CellID"])
    inner = segment_field(
        tmp_path, tiny_model, field, block_shape=blocks, min_size=1, border="drop"
    )
    expected = np.where(np.isin(plain.labels, touching), 0, plain.labels)
    assert same_partition(inner.labels, expected)
    check_table(inner)
    volume = plain.cells["Volume"]
    large = segment_field(
        tmp_path, tiny_model, field, block_shape=blocks, min_size=1, min_median_fraction=0.7
    )
    kept = plain.cells["CellID"][volume >= 0.7 * np.median(volume)]
    assert 0 < len(kept) < len(volume)
    assert same_partition(large.labels, np.where(np.isin(plain.labels, kept), plain.labels, 0))
    check_table(large)


@pytest.mark.parametrize(
    ("planned", "grid", "smooth"),
    [
        ({"anisotropy": 2.0}, (24, 20, 22), [0.0]),
        ({"diameter": 45.0, "anisotropy": 1.5}, (12, 13, 14), [1.0]),
        ({}, (12, 20, 22), [1.2]),
        ({"diameter": 20.0}, (18, 30, 33), [0.5, 0.0, 1.0]),
    ],
)
def test_resized_and_smoothed_flows(
    tmp_path: Path, tiny_model: Path, planned: dict[str, Any], grid: ZYX, smooth: list[float]
) -> None:
    shape = (12, 20, 22)
    field = to_centres(balls(grid, seed=3, count=9, radius=5), noise=0.3)
    expected = np.moveaxis(
        transforms.resize_image_3d(np.ascontiguousarray(np.moveaxis(field, 0, -1)), shape), -1, 0
    ).copy()
    sigma = smooth if len(smooth) == 3 else smooth * 3
    expected[:3] = gaussian_filter(expected[:3], (0, *sigma))
    results = []
    for block in (shape, (7, 11, 9)):
        result = segment_field(
            tmp_path,
            tiny_model,
            field,
            image_shape=shape,
            block_shape=block,
            slab_planes=5,
            flow3d_smooth=smooth,
            flow_scaling="cellpose",
            niter=200,
            **planned,
        )
        flows = result.store.read(result.states["combine"].flows, Box.whole(shape))
        # a row's last voxels may be rounded twice by OpenCV
        np.testing.assert_allclose(flows, expected, atol=2e-6)
        results.append(result)
    same_result(*results)
    check_table(results[0])
    assert len(results[0].cells["CellID"]) >= 4
    assert same_partition(results[0].labels, cellpose_masks(expected))


@pytest.fixture(scope="module")
def noisy_image() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 900, (11, 13, 12)).astype(np.uint16)


@pytest.mark.parametrize("slabs", [4, 11])
def test_every_plane_of_every_pass_is_predicted(
    tmp_path: Path, tiny_model: Path, noisy_image: NDArray[np.uint16], slabs: int
) -> None:
    plan, store = prepared(tmp_path, tiny_model, noisy_image, slab_planes=slabs, max_tasks=2)
    network = load(tiny_model)
    x = transforms.normalize_img(noisy_image[..., np.newaxis].astype(np.float32))
    expected, _ = core.run_3D(network.module, x, bsize=network.tile)
    low, high = np.percentile(noisy_image.astype(np.float32), (1, 99))
    before = State(low=(low,), high=(high,))
    params = {
        "batch_size": 8,
        "use_gpu": False,
        "keep_intermediates": "flows",
        "model_files": (str(tiny_model),),
    }
    for axis in ("yx", "zx", "zy"):
        stage = f"gradients-{axis}"
        receipts = scatter(plan, store, stage, params, before)
        before = run_gather(Job(plan, store, stage, 0, params, before), receipts)
    flows = store.read(NETWORK, Box.whole(plan.network_shape))
    np.testing.assert_array_equal(flows, np.moveaxis(expected, -1, 0))
    assert (flows.std(axis=(2, 3)) > 0).all()


def test_no_stage_changes_what_it_reads(tmp_path: Path, tiny_model: Path) -> None:
    """All can be run again with other thresholds: the network's sum is still there."""
    field = to_centres(balls((14, 14, 14), seed=2, count=4, radius=5), noise=0.4)
    first = segment_field(tmp_path, tiny_model, field, block_shape=(8, 8, 8))
    np.testing.assert_array_equal(
        first.store.read(NETWORK, Box.whole(first.plan.image.shape)), field
    )
    again = run_stages(first.plan, first.store, cellprob_threshold=1.0, min_size=30)
    assert same_partition(again.labels, cellpose_masks(field, cellprob_threshold=1.0, min_size=30))
    assert run_stages(first.plan, first.store).labels.tobytes() == first.labels.tobytes()


@pytest.mark.parametrize("diameter", [12, 45, 111, 200, 333])
def test_a_chunk_is_dropped_after_its_last_reader(
    tmp_path: Path, tiny_model: Path, diameter: float
) -> None:
    """Who reads a chunk of the network's grid, however coarse, against trying all blocks."""
    shape = (70, 700, 61)
    plan, store = prepared(
        tmp_path,
        tiny_model,
        np.zeros(shape, np.uint8),
        diameter=diameter,
        block_shape=(70, 37, 61),
        slab_planes=9,
    )
    for smooth in ((0.0,), (1.5,)):
        params = {"flow3d_smooth": smooth, "flow_scaling": "cellpose"}
        job = Job(plan, store, "combine", 0, params, State())
        needed = [combine._needed(job, item)[1] for item in range(len(plan.grid))]
        chunks = list(Grid(plan.network_shape, plan.slabs))
        # of tens of thousands (diameter 12) those at a stride that meets all places of the grid
        for chunk in chunks[:: max(1, len(chunks) // 2000)]:
            brute = [item for item, box in enumerate(needed) if box.intersect(chunk).size]
            assert combine._readers(job, chunk) == brute
