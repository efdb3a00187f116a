"""The kernels against Cellpose's own functions, bit by bit."""

from __future__ import annotations

import fill_voids
import numpy as np
import pytest
import torch
from cellpose import dynamics
from numpy.typing import NDArray
from scipy import ndimage

from terapose.algorithms.flows.follow import follow, scale_flows
from terapose.algorithms.objects.holes import find_holes
from terapose.algorithms.objects.measure import COLUMNS, measure
from terapose.algorithms.objects.seeds import count_ends, find_seeds
from terapose.core.geometry import ZYX, Box

SHAPES = [(9, 20, 31), (2, 17, 40), (16, 16, 16), (5, 2, 33)]


def smooth_field(shape: ZYX, *, seed: int, strength: float = 8.0) -> NDArray[np.float32]:
    """Random flows that change slowly: trajectories wander, meet and leave the image."""
    rng = np.random.default_rng(seed)
    flows = ndimage.gaussian_filter(rng.normal(0, 1, (3, *shape)), (0, 1.5, 1.5, 1.5))
    return np.asarray(flows * (strength / flows.std()), np.float32)


def followed(
    flows: NDArray[np.float32],
    inside: NDArray[np.bool_],
    box: Box,
    starts: NDArray[np.int32],
    niter: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Follow from what a box of the field holds."""
    shape = inside.shape
    part = flows[(slice(None), *box.slices)].copy()
    return follow(scale_flows(part, inside[box.slices], shape), box.start, shape, starts, niter)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("niter", [1, 2, 41, 200])
def test_end_points_are_those_of_cellpose(shape: ZYX, niter: int) -> None:
    flows = smooth_field(shape, seed=niter)
    inside = np.random.default_rng(1).random(shape) < 0.7
    at = np.nonzero(inside)
    expected = dynamics.follow_flows(flows * inside / 5.0, at, niter=niter).int().numpy().T
    starts = np.stack(at, axis=1).astype(np.int32)
    ends, far, lost = followed(flows, inside, Box.whole(shape), starts, niter)
    np.testing.assert_array_equal(ends, expected)
    assert not lost.any()
    # ``far`` is where flows were read: one step and the truncation to voxels may come on top
    assert (np.abs(ends - starts).max(axis=1) <= far + np.abs(flows).max() / 5 + 2).all()


def test_a_box_gives_the_same_end_points_or_says_lost() -> None:
    shape = (14, 30, 44)
    flows = smooth_field(shape, seed=5, strength=4.0)
    inside = np.ones(shape, bool)
    core = Box((3, 8, 10), (9, 17, 25))
    starts = (np.argwhere(np.ones(core.shape, bool)) + core.start).astype(np.int32)
    whole, far, _ = followed(flows, inside, Box.whole(shape), starts, 150)
    losses = []
    for halo in (0, 2, 5, 10, 44):
        box = core.grow(halo).clip(shape)
        ends, _, lost = followed(flows, inside, box, starts, 150)
        np.testing.assert_array_equal(ends[~lost], whole[~lost])
        # a point that never went as far as the halo cannot be lost
        assert not lost[far + 2 < halo].any()
        losses.append(int(lost.sum()))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 100
    assert losses[-1] == 0


def test_end_points_are_counted_in_a_box() -> None:
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 12, (4000, 3)).astype(np.int32)
    whole = np.zeros((12, 12, 12), np.int32)
    np.add.at(whole, tuple(ends.T), 1)
    box = Box((2, 0, 5), (9, 12, 7))
    np.testing.assert_array_equal(count_ends(ends, box.start, box.shape), whole[box.slices])


def test_seeds_are_maxima_of_more_than_ten() -> None:
    counts = np.zeros((9, 9, 30), np.int32)
    counts[4, 4, 4], counts[4, 4, 6] = 11, 11  # equals within a window are both seeds
    counts[4, 4, 12], counts[4, 5, 14] = 30, 29  # the lower one is none
    counts[0, 0, 20], counts[8, 8, 29] = 10, 12  # ten are too few; a corner will do
    expected = [[4, 4, 4], [4, 4, 6], [4, 4, 12], [8, 8, 29]]
    np.testing.assert_array_equal(find_seeds(counts), expected)
    hmax = dynamics.max_pool_nd(torch.from_numpy(counts)[None], kernel_size=5)[0].numpy()
    np.testing.assert_array_equal(np.argwhere((counts == hmax) & (counts > 10)), expected)


def test_statistics_of_objects() -> None:
    rng = np.random.default_rng(2)
    local = rng.integers(0, 6, (7, 8, 9)).astype(np.int32)
    local[local == 4] = 0  # object 3 is not there
    probability = rng.normal(0, 1, local.shape).astype(np.float32)
    origin, shape = (10, 20, 30), (40, 50, 60)
    rows = measure(local, 5, origin, shape, probability)
    assert list(rows) == list(COLUMNS)
    index = [1, 2, 3, 5]
    present = [n - 1 for n in index]
    np.testing.assert_array_equal(rows["count"][present], np.bincount(local.ravel())[index])
    assert rows["count"][3] == 0
    for n in index:
        at = np.argwhere(local == n) + origin
        row = {name: values[n - 1] for name, values in rows.items()}
        assert row["first"] == np.ravel_multi_index(tuple(at[0]), shape)
        for axis, name in enumerate("zyx"):
            assert row[f"{name}0"] == at[:, axis].min()
            assert row[f"{name}1"] == at[:, axis].max() + 1
            assert row[f"sum_{name}"] == at[:, axis].sum()
        assert row["sum_probability"] == pytest.approx(probability[local == n].sum(dtype=float))


@pytest.mark.parametrize("shape", [(12, 13, 14), (1, 40, 30), (20, 1, 30), (9, 9, 1), (2, 30, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_holes_are_those_that_fill_voids_fills(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    # noise that encloses little things of any form, and reaches all faces of the box
    local = rng.choice([0, 1, 2, 5], size=shape, p=[0.2, 0.5, 0.2, 0.1]).astype(np.int32)
    for flat in (False, shape[0] == 1):
        rows, voxels = find_holes(local, 6, flat=flat)
        assert rows.dtype == voxels.dtype == np.int64
        for n in range(6):
            mask = local == n + 1
            filled = fill_voids.fill(mask[0])[np.newaxis] if flat else fill_voids.fill(mask)
            np.testing.assert_array_equal(
                voxels[rows == n], np.argwhere(filled.astype(bool) & ~mask)
            )
        assert (np.diff(rows) >= 0).all()
        assert len(rows) or min(shape) < 3


def test_holes_of_nested_objects() -> None:
    rng = np.random.default_rng(3)
    local = np.zeros((12, 13, 14), np.int32)
    local[1:9, 1:9, 1:9] = 1
    local[2:8, 2:8, 2:8] = 0
    local[3:7, 3:7, 3:7] = 2
    local[4:6, 4:6, 4:6] = 0
    local[9:, 9:, 9:] = rng.integers(0, 4, local[9:, 9:, 9:].shape)
    rows, voxels = find_holes(local, 3)
    for n in range(3):
        mask = local == n + 1
        added = np.argwhere(fill_voids.fill(mask).astype(bool) & ~mask)
        mine = voxels[rows == n]
        np.testing.assert_array_equal(mine[np.lexsort(mine.T[::-1])], added)
    assert (rows == 0).sum() == 6**3
