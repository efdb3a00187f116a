"""The table of seeds, as ``seeds`` leaves it: by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box, Grid
from terapose.core.voxels import held_by
from terapose.io.store.rows_by_block import rows_of
from terapose.io.store.store import Store
from terapose.pipeline.state import State

COLUMNS = {"position": np.uint64, "count": np.int32, "id": np.uint64}
"""Linear index of the seed's voxel, end points it holds, provisional ID."""


def seeds_in(
    store: Store, before: State, box: Box, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Seeds in a box: voxels (N, 3) int64 ZYX, end points each holds, and provisional IDs.

    They are in the order of their IDs.
    """
    rows = rows_of(store, before.seeds, (*COLUMNS,), grid.touching(box))
    index, count, ids = (rows[column].astype(np.int64) for column in COLUMNS)
    voxels = np.stack(np.unravel_index(index, grid.shape), axis=1)
    inside = np.flatnonzero(held_by(box, voxels))
    order = inside[np.argsort(ids[inside])]
    return voxels[order], count[order], ids[order]
