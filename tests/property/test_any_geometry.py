"""Boxes, grids and margins against sets of voxels."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from terapose.core.geometry import ZYX, Box, Grid, batches, reach

small = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
grids = st.builds(Grid, small, small)


@st.composite
def boxes(draw: st.DrawFn, low: int = -4, high: int = 13) -> Box:
    """Boxes that may be empty and may lie outside of the image."""
    edges = [sorted(draw(st.tuples(*[st.integers(low, high)] * 2))) for _ in range(3)]
    (a, d), (b, e), (c, f) = edges
    return Box((a, b, c), (d, e, f))


def voxels(box: Box) -> set[ZYX]:
    ranges = [range(a, b) for a, b in zip(box.start, box.stop, strict=True)]
    return set(itertools.product(*ranges))  # type: ignore[arg-type]


@given(grids)
def test_a_grid_holds_every_voxel_once(grid: Grid) -> None:
    times = np.zeros(grid.shape, int)
    for box in grid:
        assert box.size
        times[box.slices] += 1
    np.testing.assert_array_equal(times, 1)
    assert len(list(grid)) == len(grid)


@given(grids, boxes())
def test_blocks_that_touch_a_box(grid: Grid, box: Box) -> None:
    expected = [n for n, block in enumerate(grid) if voxels(block) & voxels(box)]
    assert grid.touching(box) == expected


@given(boxes(), boxes())
def test_boxes_are_sets_of_voxels(one: Box, other: Box) -> None:
    assert voxels(one.intersect(other)) == voxels(one) & voxels(other)
    assert one.size == len(voxels(one)) == np.prod(one.shape)


@given(boxes(-3, 5), boxes(-3, 5))
@settings(max_examples=50)
def test_distance_is_that_of_the_nearest_voxels(one: Box, other: Box) -> None:
    if one.size and other.size:
        nearest = min(
            max(abs(p - q) for p, q in zip(a, b, strict=True))
            for a in voxels(one)
            for b in voxels(other)
        )
        assert one.distance(other) == nearest


@given(boxes(0, 8), st.integers(0, 3))
def test_a_box_within_another(box: Box, margin: int) -> None:
    outer = box.grow(margin).clip((8, 8, 8))
    whole = np.arange(512).reshape(8, 8, 8)
    np.testing.assert_array_equal(whole[outer.slices][box.within(outer)], whole[box.slices])


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 40))
def test_batches_hold_every_item_once_and_are_even(items: int, most: int, least: int) -> None:
    runs = batches(items, most, least)
    assert [i for a, b in runs for i in range(a, b)] == list(range(items))
    sizes = [b - a for a, b in runs]
    assert len(runs) <= most
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(least, items)


@given(st.builds(Grid, small, small), st.data())
@settings(max_examples=60)
def test_reach_sees_all_that_arrives(grid: Grid, data: st.DataObject) -> None:
    """No voxel beyond the margin can end within ``extra`` of the block."""
    distances = data.draw(st.lists(st.integers(0, 7), min_size=len(grid), max_size=len(grid)))
    number = data.draw(st.integers(0, len(grid) - 1))
    extra = data.draw(st.integers(0, 3))
    core = grid[number]
    seen = voxels(core.grow(reach(grid, np.array(distances), grid[number], extra)))
    for far, block in zip(distances, grid, strict=True):
        arriving = voxels(core.grow(extra + far)) & voxels(block)
        assert arriving <= seen
