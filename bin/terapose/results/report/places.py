"""Where to look: where most cells are, at random, at the corners of blocks, and at extreme cells.

Random choices are made with a fixed seed, so the same results are looked at in the same places.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass

import numpy as np

from terapose.core.geometry import ZYX
from terapose.results.report.cells import Cell, Summary

RANDOM, CORNERS = 6, 6
_TRIES = 400
KINDS = {
    "random": "Random places",
    "corner": "Corners of blocks",
    "error": "Highest flow error",
    "probability": "Lowest cell probability",
    "largest": "Largest cells",
    "smallest": "Smallest cells",
}
"""Kinds of places by their titles, in the order of the page."""


@dataclass(frozen=True)
class Place:
    """A place to look at.

    Attributes
    ----------
    kind
        One of `KINDS`.
    center
        (Z, Y, X) voxel of the label image.
    cell
        The cell that is shown, if it is about one.
    """

    kind: str
    center: ZYX
    cell: Cell | None = None


def fullest(found: Summary | None, shape: ZYX) -> ZYX:
    """The voxel of a cell where most cells are; the middle if there are none."""
    if found is None or not found.size.count:
        return shape[0] // 2, shape[1] // 2, shape[2] // 2
    from scipy.ndimage import uniform_filter

    # of a wide surrounding, of which nothing is beyond the border; and there a part with a cell
    wide = [min(n, max(3, n // 4)) for n in found.density.shape]
    around = uniform_filter(found.density.astype(np.float64), wide, mode="constant")
    around = np.where(found.density > 0, around, -1)
    part = np.unravel_index(int(around.argmax()), around.shape)
    z, y, x = (int(n) for n in found.samples[part])
    return z, y, x


def places(found: Summary, block: tuple[float, float, float] | None) -> list[Place]:
    """All places of a report, by kind.

    Parameters
    ----------
    found
        What the table of cells says.
    block
        Shape of the blocks in voxels of the label image, if known.
    """
    chance = random.Random("places")
    chosen = _anywhere(found, chance)
    if block is not None:
        chosen += _corners(found, block, chance)
    return [
        *chosen,
        *(Place(kind, cell.center, cell) for kind, some in found.kinds.items() for cell in some),
    ]


def _anywhere(found: Summary, chance: random.Random) -> list[Place]:
    """Voxels in parts of the image that have cells, each part as likely as another."""
    parts = np.argwhere(found.density > 0)
    some = []
    for _ in range(RANDOM if len(parts) else 0):
        part = parts[int(chance.random() * len(parts))]
        z, y, x = (
            _within(int(p), n, whole, chance.random())
            for p, n, whole in zip(part, found.density.shape, found.shape, strict=True)
        )
        some.append(Place("random", (z, y, x)))
    return some


def _within(part: int, parts: int, whole: int, share: float) -> int:
    """A voxel of a part of an axis."""
    first, stop = -(-part * whole // parts), -(-(part + 1) * whole // parts)
    return min(first + int(share * (stop - first)), whole - 1)


def _corners(
    found: Summary, block: tuple[float, float, float], chance: random.Random
) -> list[Place]:
    """Voxels where blocks meet, along all axes that are divided; first where there are cells."""
    edges = [math.ceil(n / b) - 1 for n, b in zip(found.shape, block, strict=True)]
    if not any(edges[1:]):
        return []
    # a plane or slab that is not divided along an axis: anywhere along it
    counts = [e or n for e, n in zip(edges, found.shape, strict=True)]
    if math.prod(counts) <= _TRIES:
        order = list(itertools.product(*(range(n) for n in counts)))
        chance.shuffle(order)
    else:
        order = [tuple(int(chance.random() * n) for n in counts) for _ in range(_TRIES)]
    steps = [b if e else 0.0 for e, b in zip(edges, block, strict=True)]
    voxels = dict.fromkeys(_voxel(steps, picked) for picked in order)
    return [Place("corner", voxel) for voxel in sorted(voxels, key=found.is_empty)[:CORNERS]]


def _voxel(steps: list[float], picked: tuple[int, ...]) -> ZYX:
    """The voxel of a corner, the first of the blocks after the picked ones.

    Along an axis that is not divided, which has no step, it is the one that was picked.
    """
    z, y, x = (round((n + 1) * step) if step else n for step, n in zip(steps, picked, strict=True))
    return z, y, x
