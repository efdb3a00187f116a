"""What differs between two label images of the same region: which cells, and where most do.

A cell has a counterpart in the other image if the two overlap with an intersection over union of
`ALIKE` or more. All voxels of cells without one count as changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.scores import Scores, average_precision
from terapose.core.geometry import ZYX, Box, zyx

ALIKE = 0.75
THRESHOLDS = (0.5, ALIKE)
"""IoU at which agreement, and average precision, are given."""
_LEAST, _MOST = 48, 256
"""Pixels of the side of a window that is shown."""


class Place(NamedTuple):
    """Where most changes in a region.

    Attributes
    ----------
    window
        One plane of the region.
    share
        Of the voxels in it that belong to a cell for some value: those that change, from 0 to 1.
    """

    window: Box
    share: float


def changed(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels of the cells of either image that have no counterpart in the other."""
    pairs, counts = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
    sizes = [np.bincount(side, counts) for side in pairs]
    iou = counts / (sizes[0][pairs[0]] + sizes[1][pairs[1]] - counts)
    same = (iou >= ALIKE) & (pairs[0] > 0) & (pairs[1] > 0)
    found = np.zeros(a.shape, np.bool_)
    for labels, side, size in zip((a, b), pairs, sizes, strict=True):
        lone = np.ones(len(size), np.bool_)
        lone[side[same]] = False
        lone[0] = False
        found |= lone[labels]
    return found


def compact(labels: NDArray[Any]) -> NDArray[np.int64]:
    """The same cells, numbered from 1 without gaps; 0 stays the background."""
    numbers, found = np.unique(labels, return_inverse=True)
    first = int(not len(numbers) or numbers[0] != 0)
    compacted: NDArray[np.int64] = found.reshape(labels.shape).astype(np.int64) + first
    return compacted


def pooled(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[float, ...]:
    """Average precision at `THRESHOLDS` over all regions together; NaN where there are no cells.

    Parameters
    ----------
    pairs
        Reference and prediction of each region.
    """
    scores: list[Scores] = [average_precision(a, b, THRESHOLDS) for a, b in pairs]
    found = []
    for n in range(len(THRESHOLDS)):
        true = sum(one.true_positives[n] for one in scores)
        wrong = sum(one.false_positives[n] + one.false_negatives[n] for one in scores)
        found.append(true / (true + wrong) if true + wrong else float("nan"))
    return tuple(found)


def most_changed(found: Sequence[NDArray[Any]], diameter: float) -> Place:
    """Where the label images of one region differ most, from each value to the next.

    Parameters
    ----------
    found
        (Z, Y, X) labels for each value, in the order of the values.
    diameter
        Of a cell, in pixels.
    """
    from scipy.ndimage import gaussian_filter

    shape = zyx(found[0].shape)
    changes, filled = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    for before, after in itertools.pairwise(found):
        changes += changed(before, after)
    for labels in found:
        filled |= labels != 0
    size = (1, *(min(n, max(_LEAST, min(_MOST, round(6 * diameter)))) for n in shape[1:]))
    # where nothing changes, where most cells are
    weights = changes if changes.any() else filled.astype(np.float32)
    sigmas = (0.0, size[1] / 4, size[2] / 4)
    around = gaussian_filter(weights, sigmas, mode="constant", truncate=2.0)
    window = _window(np.unravel_index(int(around.argmax()), shape), zyx(size), shape)
    inside = window.slices
    cells = int(np.count_nonzero(filled[inside]))
    return Place(window, int(np.count_nonzero(changes[inside])) / max(cells, 1))


def _window(center: Sequence[Any], size: ZYX, shape: ZYX) -> Box:
    """A window around a voxel, within the region."""
    start = zyx(
        min(max(int(c) - s // 2, 0), n - s) for c, s, n in zip(center, size, shape, strict=True)
    )
    return Box(start, zyx(a + s for a, s in zip(start, size, strict=True)))
