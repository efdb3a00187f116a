"""Objects that are split: in planes by themselves, in pieces, and without losing a voxel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import label

from terapose.core.geometry import zyx
from terapose.results.processing.builtin import BUILTIN
from terapose.results.processing.functions import Block


def split(
    labels: NDArray[np.uint8], distance: float, size: tuple[float, float, float] | None = None
) -> NDArray[np.int32]:
    """The object, split; with a voxel around it, as the function gets it."""
    shape = zyx(labels.shape)
    block = Block((0, 0, 0), shape, shape, size, {"distance": distance})
    found: NDArray[np.int32] = BUILTIN["split"].call(labels, None, block)
    np.testing.assert_array_equal(found > 0, labels > 0)
    return found


def disc(radius: int, planes: int) -> NDArray[np.uint8]:
    """A disc in the middle plane of several."""
    y, x = np.mgrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2]
    labels = np.zeros((planes, *y.shape), np.uint8)
    labels[planes // 2] = y**2 + x**2 <= radius**2
    return labels


@pytest.mark.parametrize("planes", [1, 2, 3])
@pytest.mark.parametrize("size", [None, (1.0, 0.5, 0.5), (5.0, 0.5, 0.5)])
def test_a_disc_stays_whole_in_any_stack(
    planes: int, size: tuple[float, float, float] | None
) -> None:
    assert split(disc(20, planes), 5, size).max() == 1


def test_two_discs_of_a_plane_are_two_in_any_stack() -> None:
    joined = np.concatenate([disc(9, 3)[..., :-3], disc(9, 3)[..., 2:]], axis=2)
    alone = split(joined[1:2], 6)
    assert alone.max() == 2
    np.testing.assert_array_equal(split(joined, 6)[1], alone[0])


@pytest.mark.parametrize("distance", [2, 8, 20, 500])
@pytest.mark.parametrize("planes", [1, 4])
def test_pieces_keep_all_of_their_voxels(distance: float, planes: int) -> None:
    """One touches the large one with a corner, one does not touch it, and one is a single voxel."""
    labels = np.zeros((planes, 40, 40), np.uint8)
    labels[:, 1:21, 1:21] = 1
    labels[:, 21:24, 21:24] = 1
    labels[:, 30:34, 5:9] = 1
    labels[0, 38, 38] = 1
    found = split(labels, distance)
    pieces, count = label(labels)
    assert count == 4 and found.max() >= 4
    for part in range(1, found.max() + 1):
        assert len(np.unique(pieces[found == part])) == 1
    if distance == 500:
        assert found.max() == 4


def test_an_object_that_fills_the_image_stays_whole() -> None:
    assert split(np.ones((3, 8, 8), np.uint8), 100).max() == 1
