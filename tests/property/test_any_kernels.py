"""Seeds, growth and assignment on random histograms against Cellpose; holes against fill_voids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cellpose import dynamics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fields import same_partition, stable_sort

from terapose.algorithms.objects.seeds import (
    GROWTH,
    PEAK,
    assign,
    count_ends,
    find_seeds,
    grow_seeds,
)
from terapose.core.geometry import ZYX, Box

shapes = st.tuples(st.integers(2, 14), st.integers(2, 14), st.integers(2, 14))


def random_ends(shape: ZYX, seed: int, spread: float) -> tuple[NDArray[np.int32], ...]:
    """Every voxel ends at one of a few places; many places hold equally many (ties)."""
    rng = np.random.default_rng(seed)
    starts = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    places = rng.integers(0, shape, (rng.integers(1, 12), 3))
    ends = places[np.arange(len(starts)) % len(places)] + np.rint(
        rng.normal(0, spread, starts.shape)
    )
    return starts, np.clip(ends, 0, np.array(shape) - 1).astype(np.int32)


def labelled(
    starts: NDArray[np.int32], ends: NDArray[np.int32], shape: ZYX, window: Box
) -> NDArray[np.int64]:
    """Labels of all points that end in a window, worked out from what lies near it alone."""
    wide = window.grow(2 * GROWTH + PEAK).clip(shape)
    counts = count_ends(ends, wide.start, wide.shape)
    seeds = find_seeds(counts)
    heights = counts[tuple(seeds.T)]
    position = np.ravel_multi_index(tuple((seeds + wide.start).T), shape)
    rank = np.empty(len(seeds), np.int64)
    rank[np.lexsort((position, heights))] = np.arange(len(seeds))
    owner = grow_seeds(counts, seeds, rank)
    labels = np.zeros(shape, np.int64)
    inside = ((ends >= window.start) & (ends < window.stop)).all(axis=1)
    ids = position.astype(np.uint64) + np.uint64(1)
    target = np.zeros(shape, np.uint64)
    assign(starts[inside], ends[inside], owner, wide.start, ids, target, (0, 0, 0))
    labels += target.astype(np.int64)
    return labels


@given(shapes, st.integers(0, 2**16), st.sampled_from([0.0, 0.6, 1.5]))
@settings(max_examples=40)
def test_masks_of_end_points(shape: ZYX, seed: int, spread: float) -> None:
    starts, ends = random_ends(shape, seed, spread)
    with pytest.MonkeyPatch.context() as patch:
        stable_sort(patch)
        expected = dynamics.get_masks_torch(
            torch.from_numpy(ends.T.copy()), tuple(starts.T), shape, max_size_fraction=1.0
        )
    whole = labelled(starts, ends, shape, Box.whole(shape))
    assert same_partition(whole, expected)


@given(st.integers(0, 2**16), st.integers(1, 29), st.sampled_from([0.6, 1.5]))
@settings(max_examples=15)
def test_a_margin_of_seed_window_and_growth_is_enough(seed: int, cut: int, spread: float) -> None:
    shape = (6, 7, 40)
    starts, ends = random_ends(shape, seed, spread)
    whole = labelled(starts, ends, shape, Box.whole(shape))
    window = Box((0, 0, cut), (6, 7, cut + 10))
    part = labelled(starts, ends, shape, window)
    inside = ((ends >= window.start) & (ends < window.stop)).all(axis=1)
    at = tuple(starts[inside].T)
    np.testing.assert_array_equal(part[at], whole[at])
