"""Sizes at the edge of each rule; nested objects of any kind are in test_any_filters.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cellpose import utils
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import Windows, resolved, small_enough
from terapose.algorithms.objects.measure import measure
from terapose.core.geometry import Box
from terapose.core.tables import Table

SHAPE = (4, 10, 10)
SIZES = {1: 14, 2: 15, 3: 16, 4: 40}


def rods() -> NDArray[np.int32]:
    """One object of each size, apart from each other; the last one away from the border."""
    labels = np.zeros(SHAPE, np.int32)
    labels[0].ravel()[: SIZES[1]] = 1
    labels[0].ravel()[30 : 30 + SIZES[2]] = 2
    labels[0].ravel()[60 : 60 + SIZES[3]] = 3
    labels[1:3, 3:8, 3:7] = 4
    return labels


def kept(errors: Sequence[float] = (0, 0, 0, 0), **rules: Any) -> list[int]:
    labels = rods()
    probability = np.zeros(SHAPE, np.float32)
    objects: Table = {"id": np.arange(1, 5), **measure(labels, 4, (0, 0, 0), SHAPE, probability)}
    objects |= {"sum_error": np.array(errors) * objects["count"], "measured": objects["count"]}
    none = np.zeros(0, np.int64)
    holes: Table = {
        "id": none,
        "voxel": none,
        "under": none,
        "probability": np.zeros(0, np.float32),
    }
    plain = {"min_size": 1, "flow_threshold": 0, "min_median_fraction": 0, "border": "keep"}

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        raise AssertionError("nothing is nested: the label image need not be read")

    windows = Windows.of(objects, holes)
    found, patches = resolved(windows, SHAPE, {**plain, **rules}, read)
    assert not len(patches["voxel"])
    return [int(i) for i in found["id"]]


@pytest.mark.parametrize("least", [-1, 0, 1, 14, 15, 16, 17, 41])
def test_smallest_size(least: int) -> None:
    masks = utils.fill_holes_and_remove_small_masks(rods(), min_size=least)
    left = np.unique(rods()[masks > 0]).tolist()
    assert kept(min_size=least) == left


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.1, [1, 2, 3, 4]), (0.0999, [1, 2, 3]), (0.04, [1, 2, 3]), (0.0399, [1, 2])],
)
def test_largest_size(fraction: float, expected: list[int]) -> None:
    """40 voxels are exactly a tenth of the image: not more than that."""
    objects: Table = {"count": np.array(list(SIZES.values()))}
    kept = small_enough(objects, SHAPE, fraction)
    assert [i for i, small in zip(SIZES, kept, strict=True) if small] == expected
    in_planes = small_enough(objects, SHAPE, 4 * fraction, flat=True)
    np.testing.assert_array_equal(in_planes, kept)


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [1, 2, 3, 4]), (0.4, [2, 3, 4])])
def test_wrong_flows(threshold: float, expected: list[int]) -> None:
    """An error that equals the threshold is no reason to go."""
    assert kept(flow_threshold=threshold, errors=[0.41, 0.4, 0.1, 0]) == expected


@pytest.mark.parametrize(("fraction", "expected"), [(0.9, [1, 2, 3, 4]), (0.95, [2, 3, 4])])
def test_fraction_of_the_median(fraction: float, expected: list[int]) -> None:
    """The median of 14, 15, 16 and 40 is 15.5."""
    assert kept(min_median_fraction=fraction) == expected


def test_objects_at_the_border() -> None:
    assert kept(border="drop") == [4]
