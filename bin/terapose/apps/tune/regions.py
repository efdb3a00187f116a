"""Regions of an image on which values are tried: few, spread over the image, the same every time.

1. The image is divided into windows of the regions' size, and at most `_LOOKED_AT` of them are
   drawn by chance, with a fixed seed.
2. Each is judged by how much is in it: the contrast of the image, or the labelled voxels of a
   reference; where a mask shows tissue, in that alone. Those with next to nothing are left out.
3. The others are sorted, and taken at even distances: some of the dimmest, some of the brightest.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx
from terapose.io.images.array_like import Voxels

_LOOKED_AT = 48
_EMPTY = 0.1
"""Part of a high contrast below which a window counts as empty."""
_DIAMETERS, _LEAST, _MOST = 12, 256, 1024
"""Width of a region of a plane: cells side by side, and limits in pixels."""
_DIAMETERS_3D, _LEAST_3D, _MOST_3D = 5, 64, 192


def usual_size(shape: ZYX, diameter: float, anisotropy: float, mode: str) -> ZYX:
    """A size of regions that holds some dozens of cells.

    Parameters
    ----------
    shape
        (Z, Y, X) of the image.
    diameter
        Of a cell, in pixels.
    anisotropy
        Distance of planes over that of pixels.
    mode
        Of the image.
    """
    if mode == "3d":
        wide = min(max(round(_DIAMETERS_3D * diameter), _LEAST_3D), _MOST_3D)
        size = max(round(wide / max(anisotropy, 1)), 2), wide, wide
    else:
        wide = min(max(round(_DIAMETERS * diameter), _LEAST), _MOST)
        size = (1 if mode == "2d" else min(shape[0], 8)), wide, wide
    return zyx(map(min, size, shape))


def sample(shape: ZYX, size: ZYX, count: int, content: Callable[[Box], float]) -> list[Box]:
    """Choose regions.

    Parameters
    ----------
    shape
        (Z, Y, X) of the image.
    size
        (Z, Y, X) of a region, no larger than the image.
    count
        How many there should be; fewer are chosen if the image has no more.
    content
        How much is in a window; 0 is nothing.

    Returns
    -------
    list of Box
        In the order of their positions.

    Raises
    ------
    InputError
        If there is nothing in any window that was looked at.
    """
    windows = _drawn(shape, size)
    found = [(content(box), box) for box in windows]
    least = _EMPTY * float(np.percentile([much for much, _ in found], 90))
    filled = sorted((much, box) for much, box in found if much > 0 and much >= least)
    if not filled:
        raise InputError(
            "there is nothing to try values on",
            where="regions",
            got=f"{len(windows)} empty windows of {' x '.join(map(str, size))} voxels",
            remedy="choose a part of the image with cells (region), or larger regions (size)",
        )
    count = min(count, len(filled))
    return sorted(filled[int((n + 0.5) * len(filled) / count)][1] for n in range(count))


def _drawn(shape: ZYX, size: ZYX) -> list[Box]:
    """Windows side by side, in the middle of the image, of which some are drawn."""
    counts = [n // s for n, s in zip(shape, size, strict=True)]
    first = [(n - c * s) // 2 for n, c, s in zip(shape, counts, size, strict=True)]
    total = int(np.prod(counts))
    numbers = sorted(random.Random("regions").sample(range(total), min(total, _LOOKED_AT)))
    boxes = []
    for number in numbers:
        place = np.unravel_index(number, counts)
        start = zyx(f + int(p) * s for f, p, s in zip(first, place, size, strict=True))
        boxes.append(Box(start, zyx(a + s for a, s in zip(start, size, strict=True))))
    return boxes


def contrast(image: Voxels, tissue: Voxels) -> Callable[[Box], float]:
    """How far the bright voxels of a window are above its median.

    Voxels that are no tissue, or no number, are left out, and the others count by their share.
    """

    def content(box: Box) -> float:
        voxels = np.asarray(image[box.slices]).astype(np.float64)
        seen = voxels[np.isfinite(voxels) & tissue[box.slices]]
        if not seen.size:
            return 0.0
        middle, high = np.percentile(seen, [50, 99.5])
        return float((high - middle) * (seen.size / voxels.size))

    return content


def labelled(reference: Voxels) -> Callable[[Box], float]:
    """How many voxels of a window are labelled."""
    return lambda box: float(np.count_nonzero(np.asarray(reference[box.slices])))
