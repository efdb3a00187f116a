"""Lists of points and images of displacements are one another's, as NumPy has them."""

from __future__ import annotations

import numpy as np
import pytest

from terapose.algorithms.flows.points import NOWHERE, displaced, places_of, points_in


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 40, 30), (9, 8, 7), (3, 1, 5), (2, 0, 3)])
def test_points_are_those_of_numpy(shape: tuple[int, int, int], share: float) -> None:
    rng = np.random.default_rng(1)
    inside = rng.random(shape) < share
    cells = places_of(inside)
    np.testing.assert_array_equal(cells, np.argwhere(inside))
    turned = np.asfortranarray(inside)
    np.testing.assert_array_equal(places_of(turned), cells)
    moved = rng.integers(NOWHERE + 1, -NOWHERE, cells.shape, dtype=np.int32)
    origin = (5, 6, 70_000)
    image, largest = displaced(inside, cells + moved + np.array(origin, np.int32), origin)
    assert largest == np.abs(moved).max(initial=0)
    expected = np.full((3, *shape), NOWHERE, np.int16)
    expected[(slice(None), *cells.T)] = moved.T
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.int16
    starts, ends = points_in(image, origin)
    np.testing.assert_array_equal(starts, cells + np.array(origin))
    np.testing.assert_array_equal(ends, starts + moved)
    assert starts.dtype == ends.dtype == cells.dtype == np.int32
