"""The table of seeds, as ``seeds`` leaves it: sorted by position, found by bisection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Box
from terapose.io.store.sorted_columns import rows_within
from terapose.io.store.store import Store
from terapose.pipeline.state import State


def seeds_in(
    store: Store, before: State, box: Box, shape: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Seeds in a box: voxels (N, 3) int64 ZYX, end points each holds, and provisional IDs."""
    found = [(np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    columns = ("position", "count")
    # most seeds of these planes lie elsewhere: of many, a part is in memory at a time
    rows = rows_within(store, before.seeds, columns, before.found, box, shape)
    found += [(voxels, count, numbers + 1) for numbers, voxels, count in rows]
    voxels, count, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return voxels, count, ids
