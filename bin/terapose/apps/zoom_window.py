"""Where to look at a large plane: `terapose.apps.picture.three_views` shows a window of it.

The coarsest level of the label image shows where most cells are: nothing is read as a whole.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from terapose.apps.picture import LARGEST
from terapose.core.errors import InputError
from terapose.io.images.array_like import Lazy
from terapose.io.images.opening import open_image

_SCAN = 1 << 27  # labels that are read to find the window


def fullest(labels: Lazy) -> tuple[int, int, int] | None:
    """Find the window of a large plane in which most pixels belong to cells.

    Parameters
    ----------
    labels
        (Z, Y, X) label image; its coarsest level is looked at, at every eighth of a window.

    Returns
    -------
    tuple of int or None
        The pixel (z, y, x) in the middle of the window. None where there is nothing to find: of a
        volume or a small plane all is shown, and of one without a pyramid the middle.
    """
    if labels.shape[0] > 1 or max(labels.shape) <= LARGEST:
        return None
    coarse = _coarsest(labels)
    if math.prod(coarse.shape) > _SCAN:
        return None
    filled = coarse[slice(0, 1), slice(0, coarse.shape[1]), slice(0, coarse.shape[2])][0] != 0
    scales = [n / c for n, c in zip(labels.shape[1:], filled.shape, strict=True)]
    edges = [min(max(1, round(LARGEST / s)), c) for s, c in zip(scales, filled.shape, strict=True)]
    steps = [max(1, edge // 8) for edge in edges]
    seen = _window_sums(filled, (edges[0], edges[1]))[:: steps[0], :: steps[1]]
    best = np.unravel_index(int(seen.argmax()), seen.shape)
    y, x = (
        int((b * step + edge / 2) * scale)
        for b, step, edge, scale in zip(best, steps, edges, scales, strict=True)
    )
    return 0, y, x


def _coarsest(labels: Lazy) -> Lazy:
    """The coarsest level of a label image; the image itself where its address names a level."""
    image = labels.image
    chosen = replace(image.selection, level=image.levels - 1)
    try:
        return Lazy(open_image(image.address, **chosen.options), labels.channel)
    except InputError:
        return labels


def _window_sums(filled: NDArray[np.bool_], edges: tuple[int, int]) -> NDArray[np.int64]:
    """Sum of a plane over each window of these edges, by the window's first pixel."""
    total = np.pad(filled.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    rows = total[edges[0] :] - total[: -edges[0]]
    sums: NDArray[np.int64] = rows[:, edges[1] :] - rows[:, : -edges[1]]
    return sums
