"""Resizing as Cellpose does; any shapes are in tests/property/test_any_resize.py."""

from __future__ import annotations

import numpy as np
import pytest
from cellpose import transforms

from terapose.algorithms.resize import resize, source_box
from terapose.core.geometry import ZYX, Box


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((20, 30, 40), (60, 30, 40)),  # anisotropy alone
        ((20, 30, 40), (34, 51, 68)),
        ((21, 33, 45), (7, 11, 15)),  # a third: taps skip voxels
        ((16, 40, 24), (8, 20, 12)),  # a half
        ((1, 1, 24), (3, 7, 110)),  # single voxels
        ((5, 34, 39), (5, 15, 15)),  # new voxels that lie on old ones
    ],
)
def test_cellpose_resizes_the_same(old: ZYX, new: ZYX, channels: int) -> None:
    values = np.random.default_rng(0).normal(100, 30, (channels, *old)).astype(np.float32)
    box = Box.whole(new)
    part = values[(slice(None), *source_box(box, old, new).slices)]
    found = resize(part, box, old, new, channels)
    expected = transforms.resize_image_3d(np.moveaxis(values, 0, -1).copy(), new)
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), expected)


def test_the_same_size_changes_nothing() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 4, 5, 6)).astype(np.float32)
    box = Box((1, 0, 2), (4, 5, 6))
    assert source_box(box, (4, 5, 6), (4, 5, 6)) == box
    part = values[(slice(None), *box.slices)]
    np.testing.assert_array_equal(resize(part, box, (4, 5, 6), (4, 5, 6)), part)


def test_a_region_reads_one_voxel_more_at_most() -> None:
    old, new = (30, 30, 30), (60, 45, 30)
    source = source_box(Box((20, 15, 10), (40, 30, 20)), old, new)
    assert source == Box((9, 9, 10), (21, 21, 20))
