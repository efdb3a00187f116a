"""Flows of instance masks, against Cellpose's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cellpose.dynamics import masks_to_flows_gpu
from numpy.typing import NDArray
from scipy.ndimage import label

from terapose.apps.train.flows import flows_from_masks


def cellpose_flows(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    flows: NDArray[np.float64] = masks_to_flows_gpu(labels, device=torch.device("cpu"))[0]
    return flows


def blobs(seed: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Touching rectangles and discs of all sizes, some at the border, numbered from 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int64)
    for number in range(1, 12):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(1, 14)
        stretch = rng.uniform(0.3, 3)
        labels[(y - cy) ** 2 * stretch + (x - cx) ** 2 / stretch < r * r] = number
    # One piece for each ID, as Cellpose expects of its input.
    pieces = np.zeros_like(labels)
    for number in np.unique(labels[labels > 0]):
        marks, count = label(labels == number)
        for piece in range(1, count + 1):
            pieces[marks == piece] = pieces.max() + 1
    return pieces


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_cellpose(seed: int) -> None:
    labels = blobs(seed, (61, 83))
    assert np.abs(flows_from_masks(labels) - cellpose_flows(labels)).max() < 1e-6


def test_centre_outside_the_object() -> None:
    labels = np.zeros((30, 30), np.int64)
    labels[4:26, 4:8] = labels[4:26, 22:26] = labels[22:26, 4:26] = 1  # a U, its mean in the gap
    assert np.abs(flows_from_masks(labels) - cellpose_flows(labels)).max() < 1e-6


def test_rounds_follow_the_largest_object() -> None:
    small = np.zeros((20, 90), np.int64)
    small[5:9, 3:7] = 1
    large = small.copy()
    large[3:17, 10:88] = 2
    assert np.abs(flows_from_masks(large) - cellpose_flows(large)).max() < 1e-6


def test_ids_may_have_gaps_and_any_type() -> None:
    labels = blobs(1, (40, 40))
    gaps = (labels * 1000).astype(np.uint32)
    assert np.array_equal(flows_from_masks(gaps), flows_from_masks(labels))


def test_image_without_background() -> None:
    labels = np.ones((12, 15), np.int64)
    labels[:, 7:] = 2
    assert np.abs(flows_from_masks(labels) - cellpose_flows(labels)).max() < 1e-6


def test_empty_image() -> None:
    flows = flows_from_masks(np.zeros((5, 7), np.uint8))
    assert flows.shape == (2, 5, 7)
    assert flows.dtype == np.float32
    assert not flows.any()
