"""Volumes that are made from labels: themselves, the outlines of cells, the values of a column.

Each level is made from the same level of the label image. A voxel is on an outline in a section if
one of the four neighbours there is not of this cell; what is beyond the image does not count. A
section can be across Z, Y or X, so there are three outlines. A chunk needs one voxel more on each
side, and does not depend on how it was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.edges import edges
from terapose.apps.view.volumes import Level
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.io.images.model import Image

NOTHING = -(2.0**127)
"""Value of the background; of 32 bits exactly, and no measurement."""
MISSING = -(2.0**126)
"""Value of a cell that has none."""
SECTIONS = (1, 2, 4)
"""Bits of the outlines in sections across Z, Y and X."""
OPACITY = 3
"""Place of the bits that say how opaque an outline is."""
OPAQUE = 31
"""The largest number in them."""


class _OfLabels:
    """What all have in common.

    Parameters
    ----------
    images
        The levels of the label image, the finest first.
    levels
        Where they are.
    unit, dimensions
        As of `terapose.apps.view.volumes.Volume`.
    """

    def __init__(
        self, images: Sequence[Image], levels: Sequence[Level], *, unit: bool, dimensions: int
    ) -> None:
        self.levels, self.unit, self.dimensions = levels, unit, dimensions
        self._images = images

    def _labels(self, level: int, box: Box) -> NDArray[Any]:
        return self._images[level].read(box.slices)


class Numbers(_OfLabels):
    """Labels as they are, where their files are not for every web server."""

    fill = 0.0

    def __init__(
        self, images: Sequence[Image], levels: Sequence[Level], *, unit: bool, dimensions: int
    ) -> None:
        super().__init__(images, levels, unit=unit, dimensions=dimensions)
        self.dtype = images[0].dtype.newbyteorder("=")

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """Voxels of a box."""
        return self._labels(level, box)


class Outlines(_OfLabels):
    """Bits that say in which sections a voxel is on the cell's outline; 0 elsewhere.

    The three lowest are those of `SECTIONS`. The others say how opaque it is, up to `OPAQUE`: at
    coarser levels outlines cover more and more of the cells, so they are as much fainter.
    """

    dtype = np.dtype(np.uint8)
    fill = 0.0

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Voxels of a box."""
        around = (1, 1, 1) if self.dimensions == 3 else (0, 1, 1)
        grown = box.grow(around).clip(self.levels[level].shape)
        labels = self._labels(level, grown)
        along = [edges(labels, axis) for axis in range(3)]
        found = np.zeros(labels.shape, np.uint8)
        for across, bit in enumerate(SECTIONS):
            one, other = (edge for axis, edge in enumerate(along) if axis != across)
            found |= (one | other) * np.uint8(bit)
        found[labels == 0] = 0
        factor = self.levels[level].scale[-1] / self.levels[0].scale[-1]
        found[found > 0] |= np.uint8(max(1, int(OPAQUE / factor)) << OPACITY)
        return found[box.within(grown)]


class Values(_OfLabels):
    """The value of each voxel's cell in a column of the table.

    Parameters
    ----------
    column
        (N + 1,) float32 values by the number of the cell; of the first `NOTHING`, of cells without
        a value `MISSING`.
    images, levels, unit, dimensions
        As of the other volumes.
    """

    dtype = np.dtype(np.float32)
    fill = NOTHING

    def __init__(
        self,
        column: NDArray[np.float32],
        images: Sequence[Image],
        levels: Sequence[Level],
        *,
        unit: bool,
        dimensions: int,
    ) -> None:
        super().__init__(images, levels, unit=unit, dimensions=dimensions)
        self._column = column

    def read(self, level: int, box: Box) -> NDArray[np.float32]:
        """Voxels of a box."""
        labels = self._labels(level, box)
        if labels.size and int(labels.max()) >= len(self._column):
            raise InputError(
                "the label image has cells that are not in the table",
                where=self._images[level].address,
                got=int(labels.max()),
                allowed=f"up to {len(self._column) - 1}",
                remedy="terapose verify lists what has changed since the run",
            )
        found: NDArray[np.float32] = self._column[labels]
        return found
