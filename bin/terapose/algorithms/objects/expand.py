"""Grow labels into the background by a distance in their plane, with ties that no cut can change.

A pixel of background gets the label of the nearest labelled pixel, as in
`skimage.segmentation.expand_labels`, if that is no farther than ``distance``. Of several at the
same distance the smallest label wins; scikit-image takes any of them, which depends on the array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit


def _disk(distance: float) -> NDArray[np.int64]:
    """(N, 3) offsets along Y and X within a distance, nearest first, and their squared length."""
    r = math.floor(distance)
    y, x = np.mgrid[-r : r + 1, -r : r + 1].reshape(2, -1)
    square = y * y + x * x
    inside = (square > 0) & (square <= distance * distance)
    order = np.argsort(square[inside], kind="stable")
    disk: NDArray[np.int64] = np.stack([y, x, square], axis=1)[inside][order].astype(np.int64)
    return disk


@njit
def _grow(labels, disk, grown):  # type: ignore[no-untyped-def]
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                best = labels[z, y, x]
                square = -1
                for n in range(len(disk)):
                    if best and disk[n, 2] != square:
                        break
                    v, u = y + disk[n, 0], x + disk[n, 1]
                    if v < 0 or u < 0 or v >= height or u >= width or not labels[z, v, u]:
                        continue
                    if not best or labels[z, v, u] < best:
                        best = labels[z, v, u]
                        square = disk[n, 2]
                grown[z, y, x] = best


def expand(labels: NDArray[Any], distance: float) -> NDArray[Any]:
    """Labels grown by a distance, each plane by itself.

    Parameters
    ----------
    labels
        (Z, Y, X) of unsigned integers; those within ``distance`` of the edges are right only if the
        image ends there.
    distance
        In pixels, Euclidean, between the centres of pixels.

    Returns
    -------
    (Z, Y, X) of the same type
    """
    grown = np.empty_like(labels)
    _grow(labels, _disk(distance), grown)
    return grown
