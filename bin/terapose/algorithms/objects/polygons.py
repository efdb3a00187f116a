"""Polygons as pixels: those whose centres are inside.

A centre on an edge counts for the polygon on its right or below it, so of two polygons that share
an edge one has it, and none of a polygon along the edges of pixels is lost or added: what
`terapose.algorithms.objects.outlines` has traced comes back as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rings = Sequence[NDArray[np.float64]]
"""A polygon: the outer ring, then those of holes; each is (N, 2) of X, Y, closed or not."""


def bounds(polygons: Sequence[Rings]) -> tuple[int, int, int, int]:
    """First row and column whose pixels can be inside, and the ones beyond the last."""
    corners = np.concatenate([ring for rings in polygons for ring in rings])
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return int(np.floor(y0)), int(np.floor(x0)), int(np.ceil(y1)), int(np.ceil(x1))


def filled(
    polygons: Sequence[Rings], start: tuple[int, int], stop: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which pixels of a window are inside of one of several polygons.

    Parameters
    ----------
    polygons
        Of one cell.
    start, stop
        (Y, X) of the window.
    """
    inside = np.zeros((stop[0] - start[0], stop[1] - start[1]), bool)
    for rings in polygons:
        # of many small ones none takes all of the window
        y0, x0, y1, x1 = bounds([rings])
        low = max(y0, start[0]), max(x0, start[1])
        shape = min(y1, stop[0]) - low[0], min(x1, stop[1]) - low[1]
        if min(shape) < 1:
            continue
        toggles = np.zeros((shape[0], shape[1] + 1), np.int64)
        for ring in rings:
            _toggle(ring, low, toggles)
        y, x = low[0] - start[0], low[1] - start[1]
        part = inside[y : y + shape[0], x : x + shape[1]]
        part |= np.cumsum(toggles[:, :-1], axis=1) % 2 == 1
    return inside


def _toggle(ring: NDArray[np.float64], start: tuple[int, int], toggles: NDArray[np.int64]) -> None:
    """Count where the centres of each row change between outside and inside of a ring."""
    after = np.roll(ring, -1, axis=0)
    up = ring[:, 1] > after[:, 1]
    low, high = np.where(up[:, None], after, ring), np.where(up[:, None], ring, after)
    # rows whose centres are at or below the upper end and above the lower end
    first = np.ceil(low[:, 1] - 0.5).astype(np.int64) - start[0]
    stop = np.ceil(high[:, 1] - 0.5).astype(np.int64) - start[0]
    first, stop = np.clip(first, 0, len(toggles)), np.clip(stop, 0, len(toggles))
    count = stop - first
    edge = np.repeat(np.arange(len(ring)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    (x0, y0), (x1, y1) = low[edge].T, high[edge].T
    x = x0 + (row + start[0] + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.ceil(x - 0.5).astype(np.int64) - start[1]
    np.add.at(toggles, (row, np.clip(column, 0, toggles.shape[1] - 1)), 1)
