"""Sizes and shapes of cells from sums: the columns of scikit-image's `regionprops`, and MCQuant's.

Formulas are those of `skimage.measure.regionprops`: lengths of the axes of the ellipse (of a
volume: the ellipsoid) with the same second moments, from the eigenvalues of the inertia tensor;
orientation, the angle between the rows' axis and the major axis, counter-clockwise, from -pi/2 to
pi/2; solidity, voxels over those of the convex hull; extent, voxels over those of the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.moments import SUMS

PLANAR = (
    "MajorAxisLength",
    "MinorAxisLength",
    "Eccentricity",
    "Solidity",
    "Extent",
    "Orientation",
)
SOLID = ("MajorAxisLength", "MinorAxisLength", "Extent")
"""Columns of cells of planes and of volumes."""

Columns = dict[str, NDArray[Any]]


def _moments(sums: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Central second moments over the number of voxels: variances and covariances."""
    s = dict(zip(SUMS, sums.T.astype(np.float64), strict=True))
    n = np.maximum(s["count"], 1)
    return {
        a + b: s[a + b] / n - s[a] / n * (s[b] / n) for a, b in ("zz", "yy", "xx", "zy", "zx", "yx")
    }


def planar(sums: NDArray[np.int64], box: NDArray[np.int64], hull: NDArray[np.int64]) -> Columns:
    """Shapes of objects of planes.

    Parameters
    ----------
    sums
        (N, 10) int64, `terapose.algorithms.objects.moments.SUMS`.
    box
        (N, 6) int64: first ZYX and the one after the last.
    hull
        (N,) int64 pixels of the convex hulls.

    Returns
    -------
    dict
        `PLANAR`, (N,) float64 each, in pixels and radians.
    """
    m, count = _moments(sums), sums[:, 0]
    half = (m["yy"] + m["xx"]) / 2
    root = np.hypot((m["yy"] - m["xx"]) / 2, m["yx"])
    large, small = half + root, np.maximum(half - root, 0)
    ratio = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    # of a circle or a square no axis is the longer one: scikit-image says 45 degrees
    turned = 0.5 * np.arctan2(2 * m["yx"], m["yy"] - m["xx"])
    even = np.where(m["yx"] > 0, np.pi / 4, -np.pi / 4)
    pixels = (box[:, 4] - box[:, 1]) * (box[:, 5] - box[:, 2])
    values = (
        4 * np.sqrt(large),
        4 * np.sqrt(small),
        np.sqrt(1 - ratio),
        count / np.maximum(hull, 1),
        count / np.maximum(pixels, 1),
        np.where(m["yy"] == m["xx"], even, turned),
    )
    return dict(zip(PLANAR, values, strict=True))


def solid(sums: NDArray[np.int64], box: NDArray[np.int64], anisotropy: float) -> Columns:
    """Shapes of objects of volumes.

    Parameters
    ----------
    sums, box
        As of `planar`.
    anisotropy
        Z step over pixel size; lengths are in pixels of Y and X.

    Returns
    -------
    dict
        `SOLID`, (N,) float64 each.
    """
    m, count = _moments(sums), sums[:, 0]
    step = {"z": anisotropy, "y": 1.0, "x": 1.0}
    m = {ab: values * step[ab[0]] * step[ab[1]] for ab, values in m.items()}
    covariance = np.empty((len(sums), 3, 3))
    for i, a in enumerate("zyx"):
        for j, b in enumerate("zyx"):
            covariance[:, i, j] = m[a + b] if a + b in m else m[b + a]
    # eigenvalues of the inertia tensor: each the sum of two of the covariance's
    c = np.maximum(np.linalg.eigvalsh(covariance), 0)
    ev = np.stack([c[:, 2] + c[:, 1], c[:, 2] + c[:, 0], c[:, 1] + c[:, 0]])
    voxels = (box[:, 3:] - box[:, :3]).prod(axis=1)
    values = (
        np.sqrt(10 * np.maximum(ev[0] + ev[1] - ev[2], 0)),
        np.sqrt(10 * np.maximum(ev[1] + ev[2] - ev[0], 0)),
        count / np.maximum(voxels, 1),
    )
    return dict(zip(SOLID, values, strict=True))
