"""Several channels as one input of the network: a nucleus is seen in all stains of nuclei.

Each channel is normalised first, by the statistics of the whole image; then they become one, voxel
by voxel, on the image's grid; only then is the result resized. So a cut cannot be seen.

- ``max``: the largest of the normalised channels;
- ``mean``: their mean, added in the order given, in float32;
- ``gmm``: a sum of channels that are scaled by Gaussian mixtures in place of percentiles. In each
  channel two Gaussians are fitted to the logarithms of intensities above 0 (`mixture_ends`);
  the mean of the lower one, the background, becomes 0, and the mean of the upper one, the
  foreground, plus two standard deviations, becomes 1. What is outside of 0 to 1 is clipped, so
  that neither a dark channel's noise nor a speck of dust counts in the sum. A background of any
  share of the image has the same place; percentiles move with it.

The mixture is fitted to a histogram of the whole image: of integers of up to 16 bits one bin for
each value, of wider types the 65,536 coarse bins of `terapose.algorithms.normalize.histogram`,
which are 1/128 of their value wide.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.histogram import Histogram, values_of

_ROUNDS = 3000
_GAIN = 1e-9
"""EM ends when the mean logarithm of the likelihood grows by less."""
_LEAST_VARIANCE = 1e-6
"""Added to each variance, so that none becomes 0 (scikit-learn's ``reg_covar``)."""
_DEVIATIONS = 2.0


def merge(channels: Iterable[NDArray[np.float32]], how: str) -> NDArray[np.float32]:
    """Make one image of several.

    Parameters
    ----------
    channels
        Normalised images of one shape, float32; looked at one after the other.
    how
        "max", "mean" or "gmm".

    Returns
    -------
    numpy.ndarray
        float32 of the same shape.
    """
    several = iter(channels)
    result = np.array(next(several))
    count = 1
    for other in several:
        combine = np.maximum if how == "max" else np.add
        combine(result, other, out=result)
        count += 1
    if how == "mean":
        result /= np.float32(count)
    return result


def mixture_ends(histogram: Histogram) -> tuple[float, float]:
    """Intensities of the background and of the bright end of the foreground.

    Parameters
    ----------
    histogram
        Of a whole channel.

    Returns
    -------
    low, high : float
        ``exp`` of the background's mean, and of the foreground's mean and two standard deviations
        (at most the largest intensity); six digits of them, so that the last bits of a processor's
        logarithm are not seen.

    Raises
    ------
    ValueError
        If there are fewer than two different intensities above 0.
    """
    values, counts = _positive(histogram)
    if len(values) < 2:
        raise ValueError("fewer than two different intensities above 0")
    logarithms = np.log(values)
    means, variances = fit(logarithms, counts)
    order = np.argsort(means)
    background, foreground = means[order]
    top = foreground + _DEVIATIONS * np.sqrt(variances[order[1]])
    low, high = np.exp([background, min(top, logarithms[-1])])
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def _positive(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intensities above 0 in rising order (the middle of a bin of several), and their counts."""
    bins = np.flatnonzero(histogram.coarse)
    if histogram.wide:
        values = values_of((bins << 16 | 0x8000).astype(np.uint32), histogram.dtype)
    else:
        values = values_of(bins.astype(np.uint16), histogram.dtype)
    above = values > 0
    return values[above].astype(np.float64), histogram.coarse[bins][above].astype(np.float64)


def fit(
    points: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit two Gaussians to points that count several times, by expectation and maximisation.

    A weighted fit on a few thousand bins is what scikit-learn's ``GaussianMixture``, which knows no
    weights, does on all voxels. It starts from the two classes with the largest variance between
    them (Otsu's threshold), so it gives the same each time.

    Parameters
    ----------
    points
        Two or more different ones, in rising order.
    counts
        How often each is there.

    Returns
    -------
    means, variances
        (2,) float64 each.
    """
    total = counts.sum()
    upper = np.zeros(len(points))
    upper[_otsu(points, counts) :] = 1.0
    before = -np.inf
    for _ in range(_ROUNDS):
        share = np.stack([1.0 - upper, upper]) * counts
        sizes = share.sum(axis=1)
        # a Gaussian without points stays where it is, of weight 0
        sizes = np.maximum(sizes, 1e-12)
        means = share @ points / sizes
        away = points - means[:, None]
        variances = (share * away**2).sum(axis=1) / sizes + _LEAST_VARIANCE
        density = np.log(sizes / total)[:, None] - 0.5 * (
            np.log(2 * np.pi * variances)[:, None] + away**2 / variances[:, None]
        )
        likelihood = np.logaddexp(*density)
        upper = np.exp(density[1] - likelihood)
        now = float(counts @ likelihood / total)
        if now - before < _GAIN:
            break
        before = now
    return means, variances


def _otsu(points: NDArray[np.float64], counts: NDArray[np.float64]) -> int:
    """Where the upper class starts."""
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * points)
    above = counts.sum() - below
    between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return int(np.argmax(between)) + 1
