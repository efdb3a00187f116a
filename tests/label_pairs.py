"""Pairs of label images that agree in part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.fields import balls

Pair = tuple[NDArray[Any], NDArray[Any]]


def blobs(seed: int, shape: tuple[int, int, int] = (20, 48, 52)) -> Pair:
    """Balls: moved a little, some missing, merged, divided, added; labels with gaps."""
    rng = np.random.default_rng(seed)
    reference = balls(shape, seed=seed, count=30, radius=8)
    predicted = np.roll(reference, rng.integers(0, 2, 2), (1, 2))
    labels, sizes = np.unique(reference[reference > 0], return_counts=True)
    labels = labels[np.argsort(-sizes)]  # the largest first, of which pieces are worth while
    predicted[np.isin(predicted, labels[4:7])] = 0
    predicted[predicted == labels[0]] = labels[1]
    predicted[(predicted == labels[2]) & (np.arange(shape[2]) % 8 < 4)] = 900
    predicted[:3, :5, :5] = 1000
    # at other rates, so that every threshold finds another number of matches
    eaten = rng.random(1001)
    predicted[rng.random(shape) < 0.4 * eaten[predicted]] = 0
    return reference * 3, predicted
