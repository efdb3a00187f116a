"""Many voxels at once: which are in a box, and in which block each is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box, Grid


def held_by(box: Box, voxels: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which of some voxels, (N, 3) ZYX, are in a box."""
    inside = (voxels >= box.start) & (voxels < box.stop)
    return np.asarray(inside.all(axis=1))


def blocks_of(grid: Grid, voxels: Sequence[NDArray[np.integer[Any]]]) -> NDArray[np.int64]:
    """Number of the block in which each voxel is, of their Z, Y and X."""
    index = tuple(place // edge for place, edge in zip(voxels, grid.block, strict=True))
    return np.ravel_multi_index(index, grid.counts)


def blocks_of_indices(grid: Grid, index: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The same, of their linear indices."""
    return blocks_of(grid, np.unravel_index(index, grid.shape))
