"""Confidence intervals of 95 %: of a share, of the difference of two shares, over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054
"""Of the normal distribution: 95 % are within so many standard deviations."""
RESAMPLES, SEED = 2000, 0

Interval = tuple[float, float]


def wilson(hits: int, total: int) -> Interval:
    """The interval of a share by Wilson 1927: good for few counts, too; NaN of nothing."""
    if not total:
        return math.nan, math.nan
    share, square = hits / total, _Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return middle - half if hits else 0.0, middle + half if hits < total else 1.0


def difference(one: tuple[int, int], other: tuple[int, int]) -> tuple[float, float, float]:
    """The difference of two shares, and its interval by Newcombe 1998 (method 10).

    Parameters
    ----------
    one, other
        Hits and total of each.

    Returns
    -------
    difference, low, high : float
        NaN if one of them is a share of nothing.
    """
    if not one[1] or not other[1]:
        return math.nan, math.nan, math.nan
    p, q = one[0] / one[1], other[0] / other[1]
    (p_low, p_high), (q_low, q_high) = wilson(*one), wilson(*other)
    return (
        p - q,
        p - q - math.hypot(p - p_low, q_high - q),
        p - q + math.hypot(p_high - p, q - q_low),
    )


def bootstrap(
    columns: Sequence[NDArray[np.float64]],
    score: Callable[..., NDArray[np.float64]],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The interval of a score of sums over images: images are drawn again, with replacement.

    Parameters
    ----------
    columns
        Values of each image.
    score
        Score by the sum of each column; called with arrays of sums.
    resamples
        How often images are drawn.
    seed
        Of the random numbers: the same images give the same interval.

    Returns
    -------
    low, high : float
        Percentiles 2.5 and 97.5 of the scores; NaN of fewer than two images.
    """
    images = len(columns[0])
    if images < 2:
        return math.nan, math.nan
    drawn = _drawn(images, resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = score(*(drawn @ column for column in columns))
    known = scores[np.isfinite(scores)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


@lru_cache(maxsize=1)
def _drawn(images: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """(resamples, images) how often each image is drawn; the same for all scores."""
    random = np.random.default_rng(seed)
    return random.multinomial(images, [1 / images] * images, resamples).astype(np.float64)
