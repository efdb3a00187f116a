"""What other systems get wrong, each fault as a test of ours.

=============================================== =================================================
aind-large-scale-cellpose
percentiles as a median of block percentiles    `test_percentiles_are_no_median_of_...`
last planes of an axis never predicted          test_known_failures_of_runs.py
halo holds other blocks' local coordinates      `test_the_halo_holds_places_in_the_image`
a block without its own seed becomes zero       `test_a_block_without_a_seed_is_not_emptied`
seeds doubled in a thin last block              `test_no_seed_is_found_twice_in_a_thin_last_block`
IDs by the order of files                       test_known_failures_of_runs.py
73 bytes of intermediates a voxel               `test_intermediates_are_far_from_73_bytes_...`,
                                                measured in test_disk.py
no resume                                       test_known_failures_of_runs.py, and killed at
                                                random moments in workflow/test_kill.py
cellpose, distributed
normalisation and filters by block              `test_blocks_are_not_normalised_...`,
                                                `test_filters_see_whole_cells_and_the_...`
chain merges of dense cells                     `test_dense_cells_that_touch_...`
2D never merged                                 `test_cells_of_planes_are_one_across_blocks`
overflow above 42,949 blocks                    test_many_blocks.py
mccellpose
cells at the border deleted                     `test_cells_at_the_border_stay`
cells larger than the overlap deleted           `test_cells_larger_than_halo_and_blocks_stay`
first tile wins                                 `test_no_tile_wins_at_a_seam`; tiles of the
                                                network in test_known_failures_of_runs.py
IDs change from run to run                      test_known_failures_of_runs.py
nf-cellpose
failed blocks are logged and skipped            test_known_failures_of_runs.py
=============================================== =================================================

Each case provokes the fault, and the test says so: done the other way, the result would differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cellpose import dynamics, transforms
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tests.fields import (
    Field,
    Labels,
    Result,
    balls,
    cellpose_masks,
    check_table,
    checkerboard,
    prepared,
    same_partition,
    same_result,
    scatter,
    segment_field,
    stable_sort,
    to_centres,
    towards,
)

from terapose.core.geometry import ZYX, Box, Grid
from terapose.core.params import check
from terapose.intermediates.ends import read_ends
from terapose.intermediates.seeds import seeds_in
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import of_store
from terapose.pipeline.job import Job
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run_gather
from terapose.pipeline.sizes import LEAST_HALO
from terapose.pipeline.state import State
from terapose.stages.gradients import read_input

Points = Sequence[tuple[float, float, float]]


def ball(shape: ZYX, centre: Sequence[float], radius: float) -> NDArray[np.bool_]:
    away = np.moveaxis(np.indices(shape), 0, -1) - np.asarray(centre, float)
    return np.asarray(np.linalg.norm(away, axis=-1) < radius)


def cells_at(shape: ZYX, centres: Points, radius: float) -> Labels:
    """Balls that do not touch, numbered by position as Terapose does."""
    labels = np.zeros(shape, np.int64)
    for number, centre in enumerate(sorted(centres), 1):
        labels[ball(shape, centre, radius)] = number
    return labels


def in_blocks(
    folder: Path, model: Path, field: Field, block: ZYX, *, tasks: int = 4, **rules: Any
) -> Result:
    """Segment a field in blocks; the result is Cellpose's on the whole."""
    result = segment_field(folder, model, field, block_shape=block, max_tasks=tasks, **rules)
    assert len(result.plan.grid) > 1
    assert same_partition(result.labels, cellpose_masks(field, **rules))
    check_table(result)
    return result


def numbers(grid: Grid) -> NDArray[np.int64]:
    """The block of each voxel."""
    found = np.zeros(grid.shape, np.int64)
    for n, box in enumerate(grid):
        found[box.slices] = n
    return found


# -- aind-large-scale-cellpose


def skewed(dtype: str) -> NDArray[Any]:
    """Background, with all that is bright in one block of eight and all that is dark in another."""
    rng = np.random.default_rng(0)
    image = rng.integers(90, 110, (20, 22, 24)).astype(dtype)
    image[:10, :11, :12][ball((10, 11, 12), (5, 5, 6), 4)] = rng.integers(400, 480)
    image[:10, :4, :12] += rng.integers(0, 300, (10, 4, 12)).astype(dtype)
    image[10:, 11:, 12:] = rng.integers(3, 9, (10, 11, 12)).astype(dtype)
    return image


def input_of(plan: Plan, store: Store) -> Callable[[Box], NDArray[np.float32]]:
    """The network's input in a box, after the percentiles have been found."""
    job = Job(plan, store, "percentiles", 0, {}, State())
    state = run_gather(job, scatter(plan, store, "intensities", {}, State()))
    reader = Job(plan, store, "gradients-yx", 0, {}, state)
    return lambda box: read_input(reader, box)[0]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_percentiles_are_no_median_of_block_percentiles(
    dtype: str, tmp_path: Path, tiny_model: Path
) -> None:
    """aind takes the median over blocks (308 where the truth is 441): all is scaled wrongly."""
    image = skewed(dtype)
    plan, store = prepared(tmp_path, tiny_model, image, block_shape=(10, 11, 12), max_tasks=3)
    ends = np.array([np.percentile(image[box.slices], (1, 99)) for box in plan.grid])
    truth = np.percentile(image.astype(np.float32), (1, 99))
    wrong = np.median(ends, axis=0)
    assert wrong[0] > truth[0] + 50
    assert wrong[1] < truth[1] - 100
    expected = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))[..., 0]
    found = input_of(plan, store)(Box.whole(image.shape))
    np.testing.assert_array_equal(found, expected)


def test_the_halo_holds_places_in_the_image(tmp_path: Path, tiny_model: Path) -> None:
    """aind reads end points of other blocks as if they were its own: cells at faces go astray."""
    shape, block = (20, 24, 28), (10, 12, 14)
    # each cell lies at another place of its block, and each but the first crosses a face
    centres = [(5, 5, 5), (5, 11, 21), (12, 15, 5), (15, 19, 15), (14, 5, 23), (9, 4, 14)]
    labels = cells_at(shape, centres, 4.2)
    field = to_centres(labels)
    whole, cut = (
        segment_field(tmp_path, tiny_model, field, block_shape=b, keep_intermediates="all")
        for b in (shape, block)
    )
    foreign = 0
    for box in cut.plan.grid:
        seen = cut.plan.around(box, 6)
        found, expected = (
            read_ends(Job(r.plan, r.store, "peaks", 0, {}, State()), r.states["follow"].ends, seen)
            for r in (cut, whole)
        )
        np.testing.assert_array_equal(found, expected)
        foreign += int(((found[0] < box.start) | (found[0] >= box.stop)).any(axis=1).sum())
    assert foreign > (labels > 0).sum()
    same_result(cut, whole)
    np.testing.assert_array_equal(cut.labels > 0, labels > 0)
    for label in range(1, len(centres) + 1):
        assert len(np.unique(cut.labels[labels == label])) == 1


def long_cell() -> tuple[Field, Labels]:
    """A cell through all blocks, whose voxels all end in the last one."""
    labels = np.zeros((10, 10, 90), np.int64)
    labels[2:8, 2:8, 2:88] = 1
    return towards(labels, np.array([[5.0, 5.0, 85.0]])), labels


def sparse_cells() -> tuple[Field, Labels]:
    """Few cells, larger than a block."""
    labels = balls((24, 30, 36), seed=5, count=2, radius=9)
    return to_centres(labels), labels


@pytest.mark.parametrize(
    ("made", "block"), [(long_cell, (10, 10, 12)), (sparse_cells, (10, 12, 12))]
)
def test_a_block_without_a_seed_is_not_emptied(
    tmp_path: Path, tiny_model: Path, made: Callable[[], tuple[Field, Labels]], block: ZYX
) -> None:
    """aind zeroes a block that holds no seed of its own: 9-20 % of the foreground is lost."""
    field, labels = made()
    cut = in_blocks(tmp_path, tiny_model, field, block)
    whole = Box.whole(cut.plan.image.shape)
    voxels, _, _ = seeds_in(cut.store, cut.states["seeds"], whole, cut.plan.grid)
    block_of = numbers(cut.plan.grid)
    lost = ~np.isin(block_of, block_of[tuple(voxels.T)]) & (labels > 0)
    assert lost.sum() > 0.5 * (labels > 0).sum()
    np.testing.assert_array_equal(cut.labels > 0, labels > 0)


@pytest.mark.parametrize("thickness", [1, 2, 4])
def test_no_seed_is_found_twice_in_a_thin_last_block(
    tmp_path: Path, tiny_model: Path, thickness: int
) -> None:
    """aind trims overlaps by their nominal width: a last block thinner than it keeps them."""
    n = 12 + thickness
    # seeds lie around the corner of the last block, in it and beside it
    labels = checkerboard((n, n, n), 4)
    field = to_centres(labels)
    cut = in_blocks(tmp_path, tiny_model, field, (12, 12, 12), max_size_fraction=1.0)
    assert cut.plan.grid[7].shape == (thickness,) * 3
    voxels, _, ids = seeds_in(cut.store, cut.states["seeds"], Box.whole((n, n, n)), cut.plan.grid)
    beside = (np.abs(voxels - 12) <= 4).all(axis=1)
    assert beside.sum() >= 2
    assert len(np.unique(voxels, axis=0)) == len(ids)
    whole = segment_field(tmp_path, tiny_model, field, block_shape=(n, n, n), max_size_fraction=1.0)
    assert whole.states["seeds"].found == len(ids)
    same_result(cut, whole)


@pytest.mark.parametrize("mode", ["3d", "2d", "stitch"])
def test_intermediates_are_far_from_73_bytes_a_voxel(
    tmp_path: Path, tiny_model: Path, mode: str
) -> None:
    """aind leaves 73 bytes a voxel. That a run stays below its projection: test_disk.py."""
    shape = (3000, 8000, 8000)
    address = str(tmp_path / "image.zarr")
    layout: dict[str, Any] = {"chunks": (64, 256, 256), "dimension_names": ("z", "y", "x")}
    zarr.create_array(address, shape=shape, dtype="uint16", **layout)
    for diameter, most in ((None, 20 if mode == "3d" else 27), (45.0, 32)):
        params = check({"model": str(tiny_model), "mode": mode, "diameter": diameter})
        plan = make_plan(open_checked(address, params), identify(tiny_model), params)
        assert of_store(plan) < most * math.prod(shape)


# -- cellpose, distributed


def test_blocks_are_not_normalised_by_themselves(tmp_path: Path, tiny_model: Path) -> None:
    """Cellpose scales each block by its own percentiles: noise becomes as bright as cells."""
    image = np.random.default_rng(0).integers(95, 106, (16, 18, 20)).astype(np.uint16)
    image[:8, :9, :10][ball((8, 9, 10), (4, 4, 5), 3.5)] += 900
    plan, store = prepared(tmp_path, tiny_model, image, block_shape=(8, 9, 10))
    read = input_of(plan, store)
    expected = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))[..., 0]
    for box in plan.grid:
        found = read(box)
        np.testing.assert_array_equal(found, expected[box.slices])
        alone = transforms.normalize_img(image[box.slices][..., np.newaxis].astype(np.float32))
        if box.start != (0, 0, 0):
            assert found.max() < 0.05
            assert alone.max() >= 1


@pytest.mark.parametrize("rules", [{"min_size": 60}, {"max_size_fraction": 0.1}])
def test_filters_see_whole_cells_and_the_whole_image(
    tmp_path: Path, tiny_model: Path, rules: dict[str, Any]
) -> None:
    """Cellpose filters by block: pieces are too small, what fills a block is too large."""
    labels = cells_at((18, 20, 22), [(9, 10, 11), (4, 4, 4)], 2.9)
    labels[:, 16:, 18:] = 3
    grid = Grid((18, 20, 22), (9, 10, 11))
    pieces = [np.bincount(labels[box.slices].ravel(), minlength=4) for box in grid]
    assert max(p[2] for p in pieces) < 60 < (labels == 2).sum()
    assert max(p[3] for p in pieces) > 0.1 * grid[0].size
    cut = in_blocks(tmp_path, tiny_model, to_centres(labels), (9, 10, 11), **rules)
    assert same_partition(cut.labels, labels)


def united(labels: Labels, grid: Grid) -> int:
    """How many cells are left if all that touches across the faces of blocks is united."""
    piece = labels * len(grid) + numbers(grid)
    pairs = []
    for axis in range(3):
        moved = np.moveaxis(piece, axis, 0)
        one, other = moved[:-1].ravel(), moved[1:].ravel()
        across = (one % len(grid) != other % len(grid)) & (np.minimum(one, other) >= len(grid))
        pairs.append(np.stack([one[across], other[across]]))
    kinds = np.unique(piece[labels > 0])
    row, column = np.searchsorted(kinds, np.concatenate(pairs, axis=1))
    graph = coo_array((np.ones(len(row)), (row, column)), shape=(len(kinds), len(kinds)))
    return int(connected_components(graph)[0])


@pytest.mark.parametrize(
    ("labels", "block"),
    [
        (checkerboard((15, 20, 25), 5), (5, 10, 5)),
        (balls((15, 20, 25), seed=3, count=60, radius=5), (8, 9, 13)),
    ],
)
def test_dense_cells_that_touch_across_faces_are_not_united(
    tmp_path: Path, tiny_model: Path, labels: Labels, block: ZYX
) -> None:
    """Cellpose unites whatever touches across a face, and what touches that: chains of cells."""
    field = to_centres(labels, noise=0.3)
    cut = in_blocks(tmp_path, tiny_model, field, block)
    assert len(cut.cells["CellID"]) > 30
    assert united(cut.labels.astype(np.int64), cut.plan.grid) < 10


def test_cells_of_planes_are_one_across_blocks(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cellpose never merges in 2D: each cell at a border of blocks is two or four."""
    shape = (1, 50, 60)
    centres = [(0, 20, 20), (0, 20, 40), (0, 40, 30), (0, 9, 8), (0, 30, 52), (0, 8, 45)]
    labels = cells_at(shape, centres, 7.2)
    # dY, dX and probability
    field = to_centres(labels, noise=0.2)[1:]
    rules = {"flow_threshold": 0.0, "max_size_fraction": 0.4, "min_size": 15}
    cut = segment_field(
        tmp_path, tiny_model, field, mode="2d", block_shape=(1, 20, 20), max_tasks=4, **rules
    )
    pieces = [np.unique(labels[box.slices]) for box in cut.plan.grid]
    assert sum(len(p[p > 0]) for p in pieces) >= 2 * len(centres)
    stable_sort(monkeypatch)
    expected = dynamics.resize_and_compute_masks(
        field[:2, 0].copy(), field[2, 0].copy(), niter=200, do_3D=False, **rules
    )
    assert same_partition(cut.labels[0], np.asarray(expected))
    assert same_partition(cut.labels, labels)


# -- mccellpose


def test_cells_at_the_border_stay(tmp_path: Path, tiny_model: Path) -> None:
    """mccellpose deletes what touches the border of the image; here that is a choice."""
    shape = (16, 20, 24)
    corners = [(z, y, x) for z in (0, 15) for y in (0, 19) for x in (0, 23)]
    faces = [(0, 10, 12), (15, 10, 12), (8, 0, 12), (8, 19, 12), (8, 10, 0), (8, 10, 23)]
    labels = cells_at(shape, [*corners, *faces, (8, 10, 12)], 3.9)
    cut = in_blocks(tmp_path, tiny_model, to_centres(labels), (8, 9, 11))
    assert same_partition(cut.labels, labels)
    assert cut.cells["TouchesBorder"].sum() == 14
    inner = segment_field(
        tmp_path, tiny_model, to_centres(labels), block_shape=(8, 9, 11), border="drop"
    )
    assert same_partition(inner.labels, np.where(labels == labels[8, 10, 12], labels, 0))


def test_cells_larger_than_halo_and_blocks_stay(tmp_path: Path, tiny_model: Path) -> None:
    """mccellpose deletes what is larger than the overlap of two tiles where it meets a seam."""
    labels = np.zeros((7, 86, 80), np.int64)
    labels[2:5, 2:75, 4:76] = 1
    labels[2:5, 78:84, 4:76] = 2 + np.arange(72) // 8
    block = (7, 20, 16)
    assert min(np.ptp(np.nonzero(labels == 1), axis=1)[1:]) > 2 * LEAST_HALO + max(block)
    field, large = to_centres(labels), labels == 1
    # its voxels end in one corner, farther away than blocks and the first halo reach
    corner = towards(large.astype(np.int64), np.array([[3.0, 73.0, 74.0]]))
    field[:, large] = corner[:, large]
    cut = in_blocks(tmp_path, tiny_model, field, block, niter=110, max_size_fraction=1.0)
    assert same_partition(cut.labels, labels)
    told = cut.states["follow"].history[-1].told
    assert told["max_excursion"] > 2 * LEAST_HALO
    assert told["refollowed"] > 0


@pytest.mark.parametrize("edge", [11, 12, 13])
def test_no_tile_wins_at_a_seam(tmp_path: Path, tiny_model: Path, edge: int) -> None:
    """mccellpose keeps what the first tile says: where tiles overlap, cells are cut at seams."""
    shape = (12, 16, 24)
    # two cells meet in a slanted face around x = 12, and noise carries voxels over it
    z, y, x = np.indices(shape)
    labels = np.asarray(1 + (x + z / 3 + y / 4 > 16), np.int64)
    field = to_centres(labels, noise=4.0)
    rules: dict[str, Any] = {"max_size_fraction": 1.0, "min_size": 1}
    whole = segment_field(tmp_path, tiny_model, field, block_shape=shape, **rules)
    cut = in_blocks(tmp_path, tiny_model, field, (12, 16, edge), **rules)
    seam = cut.labels[..., edge - 1 : edge + 1]
    assert len(np.unique(seam)) >= 3
    same_result(cut, whole)
