"""Where the nuclei are: one candidate in each cell of a grid, thinned so that neighbours touch.

1. Each grid cell draws a centre anywhere inside itself, a size and a priority, from its own key.
2. It is empty with a probability that a slow random field sets: tissue has clusters and gaps.
3. A candidate gives way to any nearer candidate of higher priority (Matérn's second thinning):
   the rule looks at a fixed neighbourhood only, so it is the same seen from any block.
4. What is left becomes an ellipsoid, randomly turned and gently deformed; or a dividing pair.

Limits: diameters vary by `SIZE_RANGE` around the mean, never beyond; `REACH` bounds how far from
its centre, in mean diameters, a nucleus can have voxels.
"""

from __future__ import annotations

import math

import numpy as np

from terapose.apps.simulate.randomness import field, fold, normals, uniform
from terapose.io.compiled import njit

PITCH = 0.9  # side of a grid cell, in mean diameters
SIZE_RANGE = (0.65, 1.45)
MARGIN = 2  # grid cells before and after the scene: a nucleus beyond has no voxel in it
REACH = 1.6  # at least 0.5 * 1.45 * longest axis 1.35 * deformation 1.4
COLUMNS = 18
"""Columns of a nucleus's row: 0-2 centre (z, y, x; um), 3-11 matrix from um to the unit ball
(row by row), 12-15 amplitudes of deformation, 16 brightness, 17 reach (um)."""

_NEIGHBOURHOOD = 2  # cells; candidates further apart than this never get in each other's way
_OVERLAP = 0.80  # centres stay apart by this share of the sum of their radii
_DEFORMATION = 0.10


@njit
def _candidate(key, cell, pitch, planar, density):  # type: ignore[no-untyped-def]
    """Key, centre (um), size (in mean diameters) and priority of a grid cell; priority -1: none."""
    k = fold(fold(fold(key, cell[0]), cell[1]), cell[2])
    z = 0.0 if planar else (cell[0] + uniform(fold(k, 1))) * pitch
    y = (cell[1] + uniform(fold(k, 2))) * pitch
    x = (cell[2] + uniform(fold(k, 3))) * pitch
    size = math.exp(0.18 * normals(fold(k, 4))[0])
    size = min(max(size, SIZE_RANGE[0]), SIZE_RANGE[1])
    slow = 7.0 * pitch
    crowd = field(fold(key, -7), z / slow, y / slow, x / slow)
    wanted = density * min(1.0, max(0.0, 2.2 * crowd - 0.1))
    priority = uniform(fold(k, 5)) if uniform(fold(k, 6)) < wanted else -1.0
    return k, z, y, x, size, priority


@njit
def _gives_way(key, cell, pitch, planar, density, z, y, x, size, priority):  # type: ignore[no-untyped-def]
    """Whether a neighbour of higher priority is too near."""
    diameter = pitch / PITCH
    reach_z = 0 if planar else _NEIGHBOURHOOD
    for dz in range(-reach_z, reach_z + 1):
        for dy in range(-_NEIGHBOURHOOD, _NEIGHBOURHOOD + 1):
            for dx in range(-_NEIGHBOURHOOD, _NEIGHBOURHOOD + 1):
                if dz == 0 and dy == 0 and dx == 0:
                    continue
                other = (cell[0] + dz, cell[1] + dy, cell[2] + dx)
                _, oz, oy, ox, other_size, other_priority = _candidate(
                    key, other, pitch, planar, density
                )
                if other_priority <= priority:
                    continue
                limit = _OVERLAP * 0.5 * diameter * (size + other_size)
                if (oz - z) ** 2 + (oy - y) ** 2 + (ox - x) ** 2 < limit * limit:
                    return True
    return False


@njit
def _turn(k, planar):  # type: ignore[no-untyped-def]
    """Uniformly random rotation matrix (Shoemake 1992), about z only where planar."""
    angle_1 = 2.0 * math.pi * uniform(fold(k, 11))
    angle_2 = 2.0 * math.pi * uniform(fold(k, 12))
    share = 1.0 if planar else uniform(fold(k, 13))
    b, a = math.sqrt(share) * math.sin(angle_1), math.sqrt(share) * math.cos(angle_1)
    c, d = math.sqrt(1.0 - share) * math.sin(angle_2), math.sqrt(1.0 - share) * math.cos(angle_2)
    turn = np.empty((3, 3))
    turn[0] = 1 - 2 * (c * c + d * d), 2 * (c * b - d * a), 2 * (d * b + c * a)
    turn[1] = 2 * (c * b + d * a), 1 - 2 * (b * b + d * d), 2 * (c * d - b * a)
    turn[2] = 2 * (d * b - c * a), 2 * (c * d + b * a), 1 - 2 * (b * b + c * c)
    return turn


@njit
def _body(row, k, turn, radii, centre, brightness, deformation):  # type: ignore[no-untyped-def]
    """Fill one nucleus's row of the table."""
    longest = 0.0
    stretch = 1.0
    for i in range(3):
        row[i] = centre[i]
        longest = max(longest, radii[i])
        for j in range(3):
            row[3 + 3 * i + j] = turn[i, j] / radii[i]
    for i in range(4):
        row[12 + i] = deformation * (2.0 * uniform(fold(k, 20 + i)) - 1.0)
        stretch += abs(row[12 + i])
    row[16] = brightness
    row[17] = longest * stretch


@njit
def _bodies(rows, k, centre, size, diameter, planar, dividing):  # type: ignore[no-untyped-def]
    """Fill the row, or the two rows of a dividing pair, of a cell; return how many."""
    turn = _turn(k, planar)
    brightness = min(max(math.exp(0.33 * normals(fold(k, 14))[0]), 0.4), 2.2)
    radius = 0.5 * diameter * size
    if uniform(fold(k, 15)) < dividing:
        # Anaphase to telophase: two bright plates move apart along the axis `turn[1]`.
        apart = radius * (0.42 + 0.3 * uniform(fold(k, 16)))
        radii = (0.68 * radius, 0.34 * radius, 0.68 * radius)
        for side in range(2):
            shift = apart if side else -apart
            moved = (
                centre[0] + shift * turn[1, 0],
                centre[1] + shift * turn[1, 1],
                centre[2] + shift * turn[1, 2],
            )
            _body(rows[side], fold(k, 40 + side), turn, radii, moved, 1.9 * brightness, 0.06)
        return 2
    longer = math.sqrt(1.0 + 0.8 * uniform(fold(k, 17)) ** 1.5)
    middle = math.sqrt(0.8 + 0.4 * uniform(fold(k, 18)))
    radii = (radius / (longer * middle), radius * longer, radius * middle)
    _body(rows[0], k, turn, radii, centre, brightness, _DEFORMATION)
    return 1


@njit
def find(key, first, last, grid, margin, pitch, planar, density, dividing, centre_z):  # type: ignore[no-untyped-def]
    """Nuclei of the grid cells first..last (inclusive, (z, y, x)), in order of their IDs.

    Parameters
    ----------
    key
        uint64 key of the scene's placement.
    first, last
        Grid cells as int tuples; cell 0 starts at the scene's first voxel.
    grid, margin
        Number of grid cells of the whole scene (z, y, x), and of those how many are before its
        first voxel. They number the cells; nuclei outside have IDs that mean nothing, and light.
    pitch
        Side of a grid cell in um.
    planar
        All centres in one plane, at `centre_z` um.
    density, dividing
        Share of cells with a candidate; share of nuclei that divide.

    Returns
    -------
    ids : int64 (N,), keys : uint64 (N,), table : float64 (N, COLUMNS)
    """
    most = 2
    for i in range(3):
        most *= last[i] - first[i] + 1
    ids = np.empty(most, np.int64)
    keys = np.empty(most, np.uint64)
    table = np.empty((most, COLUMNS))
    count = 0
    for cz in range(first[0], last[0] + 1):
        for cy in range(first[1], last[1] + 1):
            for cx in range(first[2], last[2] + 1):
                cell = (cz, cy, cx)
                k, z, y, x, size, priority = _candidate(key, cell, pitch, planar, density)
                if priority < 0.0 or _gives_way(
                    key, cell, pitch, planar, density, z, y, x, size, priority
                ):
                    continue
                centre = (centre_z if planar else z, y, x)
                rows = table[count : count + 2]
                made = _bodies(rows, k, centre, size, pitch / PITCH, planar, dividing)
                rank = (cz + margin[0]) * grid[1] + cy + margin[1]
                rank = rank * grid[2] + cx + margin[2]
                for side in range(made):
                    ids[count] = 1 + 2 * rank + side
                    keys[count] = fold(k, 60 + side)
                    count += 1
    return ids[:count], keys[:count], table[:count]
