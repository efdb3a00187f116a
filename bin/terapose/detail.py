"""The part of an image that a picture shows: all of it, or where a large plane holds most.

A picture has about 1500 pixels a side. A slide of 20,000 drawn into it would have cells of one
pixel, and outlines of none; so of a plane longer than that a window is shown, at full resolution.
The coarsest level of the label image tells where most cells are: neither image is read as a whole.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.image import open_image
from terapose.lazy import Lazy, Slices
from terapose.picture import three_views

EDGE = 1500
"""Longest side of a plane that is shown as a whole, in pixels."""
_SCAN = 1 << 27  # labels that are read to find the window


def draw(
    image: Lazy,
    labels: Lazy,
    path: Path,
    *,
    at: tuple[int, int, int] | None = None,
    title: str = "",
    reference: Lazy | None = None,
    voxel_size: tuple[float, float, float] | None = None,
) -> tuple[int, int, int]:
    """Draw `terapose.picture.three_views`, or a window of a large plane.

    Parameters
    ----------
    image, labels, path, title, reference, voxel_size
        As for `three_views`; images are (Z, Y, X).
    at
        Voxel (z, y, x) to look at, in the whole image.

    Returns
    -------
    tuple of int
        The voxel (z, y, x) of the whole image that is shown.

    Raises
    ------
    InputError
        As `three_views`.
    """
    options: dict[str, Any] = {"title": title, "reference": reference, "voxel_size": voxel_size}
    fits = all(o.shape == image.shape for o in (labels, reference) if o is not None)
    inside = at is None or all(0 <= a < n for a, n in zip(at, image.shape, strict=True))
    if image.shape[0] > 1 or max(image.shape) <= EDGE or not (fits and inside):
        return three_views(image, labels, path, at=at, **options)
    window = _around(at, image.shape) if at else fullest(labels)
    _, rows, columns = window
    height, width = image.shape[1:]
    where = (
        f"y {rows.start} to {rows.stop}, x {columns.start} to {columns.stop} "
        f"of {height} x {width} pixels"
    )
    options["title"] = f"{title}\n{where}" if title else where
    if reference is not None:
        options["reference"] = reference[window]
    middle = (0, (rows.stop - rows.start) // 2, (columns.stop - columns.start) // 2)
    three_views(image[window], labels[window], path, at=middle, **options)
    return 0, rows.start + middle[1], columns.start + middle[2]


def _around(at: tuple[int, int, int], shape: tuple[int, ...]) -> Slices:
    """The window with a voxel in its middle, moved into the plane where it would leave it."""
    starts = [min(max(a - EDGE // 2, 0), max(n - EDGE, 0)) for a, n in zip(at, shape, strict=True)]
    y, x = (slice(s, min(s + EDGE, n)) for s, n in zip(starts[1:], shape[1:], strict=True))
    return slice(0, 1), y, x


def fullest(labels: Lazy) -> Slices:
    """Find the window of a plane, `EDGE` pixels a side, in which most pixels belong to cells.

    Parameters
    ----------
    labels
        (1, Y, X) label image; its coarsest level is looked at, every eighth of a window.

    Returns
    -------
    tuple of slice
        Z, Y and X; in the middle of the plane where the coarsest level is large, too.
    """
    shape = labels.shape
    coarse = labels
    if labels.image.levels > 1:
        coarse = Lazy(open_image(labels.image.address, level=labels.image.levels - 1))
    if math.prod(coarse.shape) > _SCAN:
        return _around((0, shape[1] // 2, shape[2] // 2), shape)
    filled = coarse[slice(0, 1), slice(0, coarse.shape[1]), slice(0, coarse.shape[2])][0] != 0
    scales = [n / c for n, c in zip(shape[1:], filled.shape, strict=True)]
    edges = [min(max(1, round(EDGE / s)), c) for s, c in zip(scales, filled.shape, strict=True)]
    sums = _window_sums(filled, (edges[0], edges[1]))
    steps = [max(1, edge // 8) for edge in edges]
    seen = sums[:: steps[0], :: steps[1]]
    best = np.unravel_index(int(seen.argmax()), seen.shape)
    middle = [
        int((b * step + edge / 2) * scale)
        for b, step, edge, scale in zip(best, steps, edges, scales, strict=True)
    ]
    return _around((0, middle[0], middle[1]), shape)


def _window_sums(filled: NDArray[np.bool_], edges: tuple[int, int]) -> NDArray[np.int64]:
    """Sum of a plane over each window of these edges, by the window's first pixel."""
    total = np.pad(filled.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    rows = total[edges[0] :] - total[: -edges[0]]
    sums: NDArray[np.int64] = rows[:, edges[1] :] - rows[:, : -edges[1]]
    return sums
