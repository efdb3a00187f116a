"""Flow following in planes against Cellpose's own."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from cellpose import dynamics
from numpy.typing import NDArray
from scipy import ndimage

from terapose.algorithms.flows import sampling as kernel
from terapose.algorithms.flows.follow import find_places, follow, scale_flows
from terapose.core.geometry import ZYX, Box

contracts = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="PyTorch's code for this processor rounds otherwise than its code for AVX2 and AVX-512",
)
PLANES = [(2, 2), (2, 17), (33, 5), (2000, 3), (96, 101), (7, 1999), (311, 407)]


def field(components: int, shape: ZYX, seed: int, strength: float = 8.0) -> NDArray[np.float32]:
    """Random flows that change slowly: trajectories wander, meet, circle and leave the image."""
    noise = np.random.default_rng(seed).normal(0, 1, (components, *shape))
    sigma = (0, 0 if components == 2 else 1.5, 1.5, 1.5)
    flows = ndimage.gaussian_filter(noise, sigma)
    return np.asarray(flows * (strength / flows.std()), np.float32)


def foreground(shape: ZYX) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Some voxels, and their positions."""
    inside = np.random.default_rng(1).random(shape) < 0.85
    inside[0, 0, 0] = inside[-1, -1, -1] = True
    return inside, np.argwhere(inside).astype(np.int32)


def cropped(flows: NDArray[np.float32], inside: NDArray[np.bool_], box: Box) -> NDArray[np.float32]:
    """Flows of a box, ready to be followed."""
    part = flows[(slice(None), *box.slices)].copy()
    return scale_flows(part, inside[box.slices], inside.shape)


@contracts
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("niter", [1, 2, 41, 200])
@pytest.mark.parametrize("strength", [1.0, 12.0])
def test_positions_in_a_plane_are_those_of_cellpose(
    plane: tuple[int, int], niter: int, strength: float
) -> None:
    shape = (1, *plane)
    flows = field(2, shape, niter, strength)
    inside, starts = foreground(shape)
    whole = flows[:, 0] * inside[0] / np.float32(5)
    expected = dynamics.steps_interp(whole, tuple(starts.T[1:]), niter).numpy()
    ready = cropped(flows, inside, Box.whole(shape))
    places, _, lost = find_places(ready, (0, 0, 0), shape, starts, niter)
    np.testing.assert_array_equal(places.T[1:], expected)
    assert not lost.any()
    ends, far, _ = follow(ready, (0, 0, 0), shape, starts, niter)
    np.testing.assert_array_equal(ends.T[1:], expected.astype(np.int32))
    np.testing.assert_array_equal(ends[:, 0], 0)
    assert (np.abs(ends - starts).max(axis=1) <= far + np.abs(flows).max() / 5 + 2).all()


def test_flows_in_a_plane_are_scaled_along_y_and_x() -> None:
    flows = np.full((2, 4, 3, 3), 10, np.float32)
    inside = np.ones((4, 3, 3), bool)
    inside[0] = False
    scale_flows(flows, inside, (4, 101, 5))
    np.testing.assert_array_equal(flows[0, 1:], np.float32(2) * np.float32(0.02))
    np.testing.assert_array_equal(flows[1, 1:], 1)
    np.testing.assert_array_equal(flows[:, 0], 0)


def test_planes_of_a_stack_are_followed_by_themselves() -> None:
    shape = (5, 40, 33)
    flows = field(2, shape, 3)
    inside, starts = foreground(shape)
    ready = cropped(flows, inside, Box.whole(shape))
    ends, _, lost = follow(ready, (0, 0, 0), shape, starts, 120)
    np.testing.assert_array_equal(ends[:, 0], starts[:, 0])
    for z in range(shape[0]):
        here = starts[:, 0] == z
        alone = starts[here] * np.array([0, 1, 1], np.int32)
        found = follow(ready[:, z : z + 1], (0, 0, 0), (1, 40, 33), alone, 120)
        np.testing.assert_array_equal(found[0][:, 1:], ends[here, 1:])
        exact = find_places(ready[:, z : z + 1], (0, 0, 0), (1, 40, 33), alone, 120)[1]
        assert found[1].max() == exact.max() and (found[1] <= exact).all()
        assert not found[2].any()
    assert not lost.any()


def test_a_box_of_planes_gives_the_same_end_points_or_says_lost() -> None:
    shape = (6, 70, 90)
    flows = field(2, shape, 5, strength=4.0)
    inside = np.ones(shape, bool)
    core = Box((2, 20, 30), (4, 45, 61))
    starts = (np.argwhere(np.ones(core.shape, bool)) + core.start).astype(np.int32)
    whole, far, _ = follow(cropped(flows, inside, Box.whole(shape)), (0, 0, 0), shape, starts, 150)
    losses = []
    for halo in (0, 2, 5, 10, 70):
        box = Box((2, *core.grow(halo).start[1:]), (4, *core.grow(halo).stop[1:])).clip(shape)
        ends, _, lost = follow(cropped(flows, inside, box), box.start, shape, starts, 150)
        np.testing.assert_array_equal(ends[~lost], whole[~lost])
        # a point that never went as far as the halo cannot be lost
        assert not lost[far + 2 < halo].any()
        losses.append(int(lost.sum()))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 100
    assert losses[-1] == 0


@pytest.mark.parametrize("components", [2, 3])
def test_a_tolerance_ends_walks_that_hardly_move_whatever_the_box(components: int) -> None:
    shape = (1, 60, 70) if components == 2 else (30, 40, 50)
    flows = field(components, shape, 6, strength=4.0)
    inside = np.ones(shape, bool)
    core = Box((0, 20, 20), (shape[0], 40, 40))
    starts = (np.argwhere(np.ones(core.shape, bool)) + core.start).astype(np.int32)
    whole = cropped(flows, inside, Box.whole(shape))
    exact, _, _ = find_places(whole, (0, 0, 0), shape, starts, 2000)
    for tolerance in (1e-5, 1e-3, 0.01):
        near, _, _ = find_places(whole, (0, 0, 0), shape, starts, 2000, tolerance)
        short, _, _ = find_places(whole, (0, 0, 0), shape, starts, 20, tolerance)
        assert not np.array_equal(near, exact) and not np.array_equal(near, short)
        assert np.median(np.abs(near - exact)) < 50 * tolerance
        halo = Box(core.start, core.stop).grow((0, 8, 8))
        part = cropped(flows, inside, halo)
        found, _, lost = find_places(part, halo.start, shape, starts, 2000, tolerance)
        assert 0 < lost.sum() < len(starts)
        np.testing.assert_array_equal(found[~lost], near[~lost])


def test_points_of_a_plane_that_was_not_read_are_lost() -> None:
    flows = np.zeros((2, 2, 8, 8), np.float32)
    starts = np.array([[z, 3, 4] for z in range(5)], np.int32)
    args = (flows, (1, 0, 0), (5, 8, 8), starts, 10)
    assert follow(*args)[2].tolist() == [True, False, False, True, True]


@numba.njit
def fused(a, b, c, out):  # type: ignore[no-untyped-def]
    """The kernel's fused multiply-add on arrays."""
    for i in range(len(a)):
        out[i] = kernel._fma(a[i], b[i], c[i])


def test_fused_operations_are_rounded_once() -> None:
    tiny, unit = np.float32(2**-24), np.float32(2**-23)
    # a hair off the middle between two float32: lost in float64, and the tie goes to even
    a = tiny * np.array([1 + unit, 1 + unit, -1 - unit, 1 + unit], np.float32)
    b = np.array([1 - unit, -1 + unit, 1 - unit, 1 + unit], np.float32)
    c = np.array([1 + unit, -1 - unit, -1 - unit, 1], np.float32)
    expected = np.array([1 + unit, -1 - unit, -1 - unit, 1 + unit], np.float32)
    twice = (a.astype(float) * b + c).astype(np.float32)
    assert (twice[:3] != expected[:3]).all()
    rng = np.random.default_rng(0)
    more = rng.normal(0, 1, (3, 10**5)).astype(np.float32)
    more[2] *= rng.choice(np.array([1, 1e-6, 1e6, 0, 1e-38], np.float32), more.shape[1])
    triple = np.concatenate([[a, b, c], more], axis=1).astype(np.float32)
    on_cpu = np.empty(triple.shape[1], np.float32)
    fused(*triple, on_cpu)
    np.testing.assert_array_equal(on_cpu[:4], expected)


@pytest.mark.parametrize("components", [2, 3])
def test_flows_that_are_no_numbers_lose_no_point(components: int) -> None:
    """A lost point is followed again with more around it: it would be for ever."""
    flows = np.zeros((components, 6, 20, 20), np.float32)
    flows[:, 3, 10, 10] = np.nan
    starts = np.argwhere(np.ones((6, 20, 20), bool)).astype(np.int32)
    places, _, lost = find_places(flows, (0, 0, 0), (6, 20, 20), starts, 30)
    assert not lost.any()
    assert 0 < np.isnan(places).any(axis=1).sum() < 30


@contracts
@pytest.mark.parametrize("components", [2, 3])
def test_cycles_of_any_length_end_where_they_would(components: int) -> None:
    """Steps that are left are made by the remainder: every one of them, around each remembered."""
    shape = (1, 24, 31) if components == 2 else (9, 10, 11)
    flows = field(components, shape, 2, 14.0)
    inside, starts = foreground(shape)
    ready = cropped(flows, inside, Box.whole(shape))
    whole = (flows[:, 0] * inside[0] if components == 2 else flows * inside) / np.float32(5)
    for niter in (*range(1, 70, 3), *range(200, 224)):
        expected = dynamics.steps_interp(whole, tuple(starts.T[-components:]), niter).numpy()
        places = find_places(ready, (0, 0, 0), shape, starts, niter)[0]
        np.testing.assert_array_equal(places.T[-components:], expected, err_msg=str(niter))


def test_flows_that_cannot_be_followed_are_refused() -> None:
    starts = np.zeros((1, 3), np.int32)
    for components, shape, message in (
        (4, (3, 3, 3), "2 or 3 components"),
        (3, (1, 3, 3), "at least 2 long"),
        (2, (3, 3, 1), "at least 2 long"),
    ):
        flows = np.zeros((components, *shape), np.float32)
        with pytest.raises(ValueError, match=message):
            follow(flows, (0, 0, 0), shape, starts, 3)
        with pytest.raises(ValueError, match=message):
            scale_flows(flows, np.ones(shape, bool), shape)
