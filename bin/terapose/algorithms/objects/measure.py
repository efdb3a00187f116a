"""Statistics of objects that are wholly inside a box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit

COLUMNS = {
    "count": np.int64,
    "first": np.int64,
    "z0": np.int64,
    "y0": np.int64,
    "x0": np.int64,
    "z1": np.int64,
    "y1": np.int64,
    "x1": np.int64,
    "sum_z": np.int64,
    "sum_y": np.int64,
    "sum_x": np.int64,
    "sum_probability": np.float64,
}
"""Columns of an object: voxels, linear index of the first voxel in C order, box (stop is
exclusive), sums of the coordinates and of the cell probability (logit) of all voxels."""


@njit
def _measure(local, origin, shape, probability, whole, real):  # type: ignore[no-untyped-def]
    nz, ny, nx = local.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                n = local[z, y, x] - 1
                if n < 0:
                    continue
                gz, gy, gx = z + origin[0], y + origin[1], x + origin[2]
                row = whole[n]
                if row[0] == 0:
                    row[1] = (gz * shape[1] + gy) * shape[2] + gx
                    row[2], row[3], row[4] = gz, gy, gx
                    row[5], row[6], row[7] = gz + 1, gy + 1, gx + 1
                row[0] += 1
                row[2], row[3], row[4] = min(row[2], gz), min(row[3], gy), min(row[4], gx)
                row[5] = max(row[5], gz + 1)
                row[6] = max(row[6], gy + 1)
                row[7] = max(row[7], gx + 1)
                row[8] += gz
                row[9] += gy
                row[10] += gx
                real[n] += probability[z, y, x]


def measure(
    local: NDArray[np.int32],
    count: int,
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    probability: NDArray[np.float32],
) -> dict[str, NDArray[Any]]:
    """Statistics of objects.

    Parameters
    ----------
    local
        (Z, Y, X) int32: object ``n`` has the value ``n + 1``, everything else 0. Voxels are summed
        in C order, so that sums do not depend on the box.
    count
        Number of objects.
    origin
        Where the box starts in the image (ZYX).
    shape
        Shape of the image.
    probability
        (Z, Y, X) float32 cell probability.

    Returns
    -------
    dict
        ``count`` rows of each of `COLUMNS`.
    """
    whole = np.zeros((count, 11), np.int64)
    real = np.zeros(count, np.float64)
    _measure(local, origin, shape, probability, whole, real)
    names = list(COLUMNS)
    return {**{n: whole[:, i] for i, n in enumerate(names[:-1])}, names[-1]: real}
