"""Resizing a region is the region of the resized image, and that is Cellpose's."""

from __future__ import annotations

import numpy as np
from cellpose import transforms
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terapose.algorithms.resize import resize, source_box, taps
from terapose.core.geometry import ZYX, Box

lengths = st.tuples(st.integers(1, 17), st.integers(1, 17), st.integers(1, 17))


def of_region(values: NDArray[np.float32], box: Box, old: ZYX, new: ZYX) -> NDArray[np.float32]:
    """Resize a region from no more than it says it needs."""
    part = values[(slice(None), *source_box(box, old, new).slices)]
    return resize(part, box, old, new, len(values))


@given(st.integers(1, 5), lengths, lengths, st.integers(0, 2**16), st.data())
@settings(max_examples=100)
def test_regions_of_a_resized_image(
    channels: int, old: ZYX, new: ZYX, seed: int, data: st.DataObject
) -> None:
    values = np.random.default_rng(seed).normal(0, 3, (channels, *old)).astype(np.float32)
    whole = of_region(values, Box.whole(new), old, new)
    expected = transforms.resize_image_3d(np.moveaxis(values, 0, -1).copy(), new)
    np.testing.assert_array_equal(np.moveaxis(whole, 0, -1), expected)
    edges = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in new]
    box = Box(*(tuple(e[i] for e in edges) for i in range(2)))  # type: ignore[arg-type]
    if not box.size:
        return
    part = of_region(values, box, old, new)
    np.testing.assert_array_equal(part, whole[(slice(None), *box.slices)])


@given(st.integers(2, 10**6), st.integers(2, 10**6), st.data())
def test_taps_stay_inside_and_are_neighbours(old: int, new: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, new - 1))
    left, right, weight = taps(old, new, start, min(new, start + 20))
    assert left.min() >= 0
    assert right.max() <= old - 1
    assert ((right - left) <= 1).all()
    assert ((weight >= 0) & (weight < 1)).all()
