"""Voxels of a coarser level over those of level 0, held against sums over whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terapose.core.geometry import Box, zyx
from terapose.core.levels import Cover, factor_between, moved_by


def index(fine: int, coarse: int) -> np.ndarray:
    """The voxel of the level for each voxel of level 0, one by one, in the words of the module."""
    factor = factor_between(fine, coarse)
    if factor == int(factor):
        found = [i // int(factor) for i in range(fine)]
    else:
        found = [(2 * i + 1) * coarse // (2 * fine) for i in range(fine)]
    return np.minimum(found, coarse - 1)


@pytest.mark.parametrize(
    ("fine", "coarse", "factor"),
    [(61, 31, 2), (61, 30, 2), (7, 2, 4), (100, 67, 100 / 67), (5, 5, 1), (90, 60, 1.5), (9, 1, 9)],
)
def test_factors_are_whole_where_they_can_be(fine: int, coarse: int, factor: float) -> None:
    assert factor_between(fine, coarse) == factor


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted)


@given(sizes, sizes, sizes, st.randoms(use_true_random=False))
def test_any_box_is_a_part_of_the_whole(z, y, x, random) -> None:  # type: ignore[no-untyped-def]
    coarse, fine = (zyx(n) for n in zip(z, y, x, strict=True))
    cover = Cover(coarse=coarse, fine=fine)
    level = np.random.default_rng(0).integers(0, 2**32, coarse, dtype=np.uint32)
    whole = level[np.ix_(*(index(f, c) for f, c in zip(fine, coarse, strict=True)))]
    start = zyx(random.randrange(n) for n in fine)
    stop = zyx(random.randint(a + 1, n) for a, n in zip(start, fine, strict=True))
    box = Box(start, stop)
    part = cover.under(box)
    np.testing.assert_array_equal(cover.spread(level[part.slices], part, box), whole[box.slices])
    assert cover.over(Box.whole(coarse)) == Box.whole(fine)
    for n in range(3):
        # every voxel has at least one of its own, and together they are level 0
        widths = np.diff(cover.edges(n))
        assert widths.min() >= 1
        np.testing.assert_array_equal(
            np.repeat(np.arange(coarse[n]), widths), index(fine[n], coarse[n])
        )


@given(sizes, st.integers(-50, 50))
def test_a_level_that_is_moved_loses_no_voxel(size: list[int], moved: int) -> None:
    coarse, fine = size
    edges = Cover(coarse=(1, 1, coarse), fine=(1, 1, fine), moved=(0, 0, moved)).edges(2)
    assert (edges[0], edges[-1]) == (0, fine)
    assert np.diff(edges).min() >= 1


def test_moved_levels() -> None:
    """What translations say, in voxels of level 0 from its first voxel's centre."""
    assert moved_by(0.0, 4) == 0  # the same translation for all levels says nothing
    assert moved_by(1.5, 4) == 0  # a pyramid of means
    assert moved_by(0.5000004, 2) == 0
    assert moved_by(1.0, 2) == 0  # half a voxel away: labels have no halves
    assert moved_by(2.5, 2) == 2
    assert moved_by(-1.5, 2) == -2
    cover = Cover(coarse=(1, 1, 5), fine=(1, 1, 10), moved=(0, 0, 2))
    assert cover.edges(2).tolist() == [0, 4, 6, 8, 9, 10]
    cover = Cover(coarse=(1, 1, 5), fine=(1, 1, 10), moved=(0, 0, -2))
    assert cover.edges(2).tolist() == [0, 1, 2, 4, 6, 10]


def test_the_label_is_the_nearest_one_where_it_is_moved() -> None:
    """Centres of level 0 and those of a level that begins elsewhere, by their distance."""
    factor, place, fine, coarse = 4, 3.5, 41, 10
    centres = place + factor * np.arange(coarse)
    nearest = np.abs(np.arange(fine)[:, np.newaxis] - centres).argmin(axis=1)
    cover = Cover(coarse=(1, 1, coarse), fine=(1, 1, fine), moved=(0, 0, moved_by(place, factor)))
    widths = np.diff(cover.edges(2))
    np.testing.assert_array_equal(np.repeat(np.arange(coarse), widths), nearest)
