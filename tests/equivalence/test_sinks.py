"""Sinks end walks early: end voxels have to be those of all steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from terapose.algorithms.flows import follow as kernel
from terapose.algorithms.flows.balls import BOX, KIND
from terapose.algorithms.flows.follow import find_places, follow, scale_flows
from terapose.core.geometry import ZYX, Box

SHAPES: dict[int, ZYX] = {2: (2, 96, 131), 3: (26, 34, 41)}
EVERYTHING = (0, 0, 0)


def field(components: int, seed: int, strength: float) -> NDArray[np.float32]:
    """Flows to the nearest of some centres, ready to be followed.

    With the strength 1 points come to rest, with 0.3 slowly; with more they circle.
    """
    shape, random = SHAPES[components], np.random.default_rng(seed)
    grid = np.moveaxis(np.indices(shape[-components:]), 0, -1)
    centres = random.uniform(
        0, shape[-components:], (grid[..., 0].size // 9**components, components)
    )
    nearest = cKDTree(centres).query(grid)[1]
    flows = np.moveaxis(centres[nearest] - grid, -1, 0)
    flows = flows / np.maximum(np.sqrt((flows**2).sum(axis=0)), 1)
    flows = np.stack([flows] * shape[0], axis=1) if components == 2 else flows
    noise = random.normal(0, 0.3, flows.shape)
    smooth = ndimage.gaussian_filter(flows + noise, (0, 0 if components == 2 else 1, 1, 1))
    return scale_flows(
        np.asarray(smooth * 5 * strength, np.float32), random.random(shape) < 0.99, shape
    )


def voxels(shape: ZYX) -> NDArray[np.int32]:
    return np.argwhere(np.ones(shape, bool)).astype(np.int32)


@pytest.mark.parametrize("components", [2, 3])
@pytest.mark.parametrize("strength", [0.3, 1.0, 1.8])
def test_ends_are_those_of_all_steps(components: int, strength: float) -> None:
    shape, starts = SHAPES[components], voxels(SHAPES[components])
    for seed in range(3):
        flows = field(components, seed, strength)
        for niter in (1, 2, 3, 8, 30, 77, 200, 201):
            places, whole, _ = find_places(flows, EVERYTHING, shape, starts, niter)
            ends, far, lost = follow(flows, EVERYTHING, shape, starts, niter)
            np.testing.assert_array_equal(ends, places.astype(np.int32), err_msg=str(niter))
            assert far.max() == whole.max() and (far <= whole).all()
            assert not lost.any()


@pytest.mark.parametrize("components", [2, 3])
def test_points_that_stop_early_end_where_they_would(components: int) -> None:
    shape, starts = SHAPES[components], voxels(SHAPES[components])
    for tolerance in (1e-4, 0.05):
        flows = field(components, 5, 0.6)
        places, _, _ = find_places(flows, EVERYTHING, shape, starts, 200, tolerance)
        ends, _, _ = follow(flows, EVERYTHING, shape, starts, 200, tolerance)
        np.testing.assert_array_equal(ends, places.astype(np.int32))


@pytest.mark.parametrize("components", [2, 3])
def test_a_box_gives_the_same_ends_and_loses_the_same_points(components: int) -> None:
    shape = SHAPES[components]
    core = Box((0, 9, 8), (shape[0], 26, 30))
    starts = voxels(core.shape) + np.array(core.start, np.int32)
    flows = field(components, 2, 1.0)
    whole, _, _ = follow(flows, EVERYTHING, shape, starts, 150)
    for halo in (0, 1, 2):
        box = core.grow((0, halo, halo)).clip(shape)
        part = np.ascontiguousarray(flows[(slice(None), *box.slices)])
        _, far, without = find_places(part, box.start, shape, starts, 150)
        ends, near, lost = follow(part, box.start, shape, starts, 150)
        np.testing.assert_array_equal(lost, without)
        assert 0 < lost.sum() < len(starts)
        np.testing.assert_array_equal(ends[~lost], whole[~lost])
        assert near[~lost].max() == far[~lost].max()


def bouncing(components: int) -> tuple[NDArray[np.float32], ZYX]:
    """Flows so long that points pass the middle along X, and come back, 0.68 voxels off."""
    shape: ZYX = (1, 60, 40) if components == 2 else (14, 20, 40)
    flows = np.zeros((components, *shape), np.float32)
    grid = np.indices(shape)[-components:]
    for axis in range(components - 1):
        flows[axis] = -0.3 * (grid[axis] - (shape[axis - components] - 1) / 2)
    off = grid[-1] - (shape[-1] - 1) / 2
    flows[-1] = -np.sign(off) * (1.3 + 0.3 * (np.abs(off) - 0.5))
    return scale_flows(flows * np.float32(5), np.ones(shape, bool), shape), shape


@pytest.mark.parametrize("components", [2, 3])
@pytest.mark.parametrize("niter", [120, 121, 200, 201])
def test_points_that_go_between_two_places(components: int, niter: int) -> None:
    flows, shape = bouncing(components)
    starts = voxels(shape)
    walks = kernel._walks(flows, EVERYTHING, shape, niter, 0.0)
    sinks = walks.sinks(starts)
    assert len(sinks.rows) == 2 and (sinks.rows[:, KIND] < BOX).all()
    places, _, lost, _ = walks.run(starts, sinks)
    assert (places == places.round()).all(axis=1).mean() > 0.9 and not lost.any()
    expected, _, _ = find_places(flows, EVERYTHING, shape, starts, niter)
    middle = (shape[-1] - 1) / 2
    np.testing.assert_allclose(np.abs(expected[:, 2] - middle), 0.68, atol=0.05)
    ends, _, _ = follow(flows, EVERYTHING, shape, starts, niter)
    np.testing.assert_array_equal(ends, expected.astype(np.int32))
    assert len(np.unique(ends[:, 2])) == 2


@pytest.mark.parametrize("components", [2, 3])
def test_most_points_end_in_sinks_of_both_kinds(components: int) -> None:
    shape, starts = SHAPES[components], voxels(SHAPES[components])
    flows = field(components, 0, 1.0)
    walks = kernel._walks(flows, EVERYTHING, shape, 200, 0.0)
    sinks = walks.sinks(starts)
    assert (sinks.rows[:, KIND] == BOX).any() and (sinks.rows[:, KIND] < BOX).any()
    # places in sinks are known to a voxel
    places = walks.run(starts, sinks)[0][:, -components:]
    assert (places == places.round()).all(axis=1).mean() > 0.5
    assert len(kernel._walks(flows, EVERYTHING, shape, 200, 1e-3).sinks(starts).rows) == 0


def test_flows_that_are_no_numbers_are_no_sinks() -> None:
    shape = SHAPES[3]
    flows, starts = field(3, 1, 1.0), voxels(shape)
    flows[:, 10:12] = np.nan
    places, _, _ = find_places(flows, EVERYTHING, shape, starts, 60)
    ends, _, lost = follow(flows, EVERYTHING, shape, starts, 60)
    known = np.isfinite(places).all(axis=1)
    assert not lost.any() and 0 < known.sum() < len(starts)
    np.testing.assert_array_equal(ends[known], places[known].astype(np.int32))


PAST_THE_BOX = """
import numpy as np
from terapose.algorithms.flows.follow import find_places, follow, scale_flows
shape, size, origin = (1, 40000, 40000), (1, 64, 64), (0, 2000, 2000)
for speed in (20, -20):
    flows = np.zeros((2, *size), np.float32)
    flows[0] = 5 * speed
    flows = scale_flows(flows, np.ones(size, bool), shape)
    starts = np.argwhere(np.ones(size, bool))
    starts = (np.random.default_rng(0).permutation(starts) + origin).astype(np.int32)
    ends, _, lost = follow(flows, origin, shape, starts, 1)
    places, _, same = find_places(flows, origin, shape, starts, 1)
    assert (lost == same).all() and (np.abs(ends[~lost, 1] - 2032) > 40).any()
    assert (ends[~lost] == places[~lost].astype(np.int32)).all()
"""


@pytest.mark.slow
def test_points_whose_last_step_leaves_the_box_are_no_sinks(tmp_path: Path) -> None:
    # compiled anew, so that an index that is out of bounds is an error
    path = str(Path(kernel.__file__).parents[3])
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", PAST_THE_BOX]
    environment = {**os.environ, "PYTHONPATH": path, **checked}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
