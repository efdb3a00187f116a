"""How the voxels of a coarser pyramid level and those of level 0 cover one another.

A level that is coarser by a factor f along an axis *covers* level 0: voxel i of level 0 belongs to
the voxel of the level that contains its centre,

    floor((i - moved + 1/2) / f),

or to the first or last one where that is none. f is a whole number where one explains both lengths
(61 and 31: 2), else the quotient of the lengths (100 and 67: 100/67). Nothing is rounded: positions
are quotients of whole numbers.

``moved`` is 0 almost always: then the first voxel covers the first f voxels of level 0, as in a
pyramid of means. Where the translations in a file say that the level is elsewhere, it is by how
many voxels of level 0, rounded to whole ones (halves towards 0). Levels with one and the same
translation say nothing of each other, and ``moved`` is 0.

Voxels of the level then have *edges* on level 0, which rise strictly, so each covers one voxel or
more and no label gets lost. Labels are brought to level 0, and positions and outlines are put
there, by these edges alone, which do not depend on how the work is cut.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from terapose.core.geometry import ZYX, Box, zyx

_NEAR = 1e-3
"""Part of a voxel that does not count: files round their numbers."""


def factor_between(fine: int, coarse: int) -> float:
    """How much coarser a level is along an axis.

    Pyramids round odd lengths up or down: where a whole number explains the lengths, it is that.

    Parameters
    ----------
    fine, coarse
        Length of the axis at level 0 and at the level.
    """
    ratio = fine / coarse
    near = max(1, round(ratio))
    return float(near) if coarse in (fine // near, -(-fine // near)) else ratio


def moved_by(place: float, factor: float) -> int:
    """By how many voxels of level 0 a level is moved against a pyramid of means.

    Parameters
    ----------
    place
        Where the centre of the first voxel is, in voxels of level 0 from the centre of the first
        of these.
    factor
        How much coarser the level is.
    """
    if abs(place) < _NEAR:
        return 0
    away = place - (factor - 1) / 2
    return int(math.copysign(max(0, math.ceil(abs(away) - 0.5 - _NEAR)), away))


class Cover(BaseModel):
    """Which voxels of level 0 the voxels of a level cover.

    Attributes
    ----------
    coarse, fine
        (Z, Y, X) of the level and of level 0.
    moved
        (Z, Y, X) in voxels of level 0; see above.
    part
        Start and stop (Z, Y, X) of a region of the level: then boxes are counted from its start,
        and those of level 0 from the start of what it covers. None: all of it.
    """

    model_config = ConfigDict(frozen=True)

    coarse: ZYX
    fine: ZYX
    moved: ZYX = (0, 0, 0)
    part: tuple[ZYX, ZYX] | None = None

    def edges(self, axis: int) -> NDArray[np.int64]:
        """(n + 1,) first voxel of level 0 of each voxel along an axis, and the length of level 0.

        So voxel c of the level covers those from ``edges[c]`` to ``edges[c + 1]``.
        """
        edges = _edges(self.fine[axis], self.coarse[axis], self.moved[axis])
        if self.part is None:
            return edges
        first, stop = (end[axis] for end in self.part)
        return np.asarray(edges[first : stop + 1] - edges[first])

    def under(self, box: Box) -> Box:
        """The box of the level to which the voxels of a box of level 0 belong; not empty."""
        ends = zip(range(3), box.start, box.stop, strict=True)
        both = [(self._index(n, a, a + 1)[0], self._index(n, b - 1, b)[0] + 1) for n, a, b in ends]
        return Box(zyx(int(a) for a, _ in both), zyx(int(b) for _, b in both))

    def over(self, box: Box) -> Box:
        """The box of level 0 that a box of the level covers."""
        return Box(*(zyx(int(self.edges(n)[v]) for n, v in enumerate(end))
                     for end in (box.start, box.stop)))  # fmt: skip

    def spread(self, values: NDArray[Any], part: Box, box: Box) -> NDArray[Any]:
        """Values of a box of level 0.

        Parameters
        ----------
        values
            (Z, Y, X) of a box of the level.
        part
            That box; it holds ``under(box)``.
        box
            Box of level 0.
        """
        ends = zip(range(3), box.start, box.stop, part.start, strict=True)
        return values[np.ix_(*(self._index(n, a, b) - first for n, a, b, first in ends))]

    def _index(self, axis: int, start: int, stop: int) -> NDArray[np.int64]:
        """Voxel of the level for each voxel of level 0 from start to stop."""
        found = np.searchsorted(self.edges(axis), np.arange(start, stop), side="right") - 1
        return np.asarray(found, np.int64)


@cache
def _edges(fine: int, coarse: int, moved: int) -> NDArray[np.int64]:
    factor = factor_between(fine, coarse)
    # the factor as a quotient of whole numbers
    over, under = (int(factor), 1) if factor.is_integer() else (fine, coarse)
    index = np.arange(coarse + 1)
    # the first i with (2 * (i - moved) + 1) * under >= 2 * over * index
    edges = moved - (under - 2 * over * index) // (2 * under)
    edges[0], edges[-1] = 0, fine
    edges = np.clip(edges, index, fine - coarse + index)
    edges.flags.writeable = False
    return edges
