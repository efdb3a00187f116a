"""Sizes, shapes and sums of intensities of objects that are seen in bands.

An object is added up band by band, in C order: whole planes of the box, or whole rows where there
is one plane. The order of the sums is then that of the whole object, however thick the bands are,
so the bits do not depend on it. Whole numbers are added as such.

The columns are those of scikit-image's `regionprops` (`terapose.algorithms.objects.shapes` makes
them of the sums); the convex hull is that of `skimage.morphology.convex_hull_image`: of the middles
of the edges of pixels, counted by the pixels whose centre is in it or on its border. Here it is
found in whole numbers, at twice the resolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit

SUMS = ("count", "z", "y", "x", "zz", "yy", "xx", "zy", "zx", "yx")
"""Columns of the sums: voxels, and their coordinates and products of these."""
FAR = 2**31 - 1
"""First row, column or plane of an object that was not seen."""


@njit
def add_sums(local, origin, starts, sums, box):  # type: ignore[no-untyped-def]
    """Add the coordinates of a band.

    Parameters
    ----------
    local
        (Z, Y, X) int32: object ``n`` has the value ``n + 1``, everything else 0.
    origin
        Where the band starts in the image (ZYX).
    starts
        (N, 3) int64: the point from which coordinates of each object count.
    sums
        (N, 10) int64, `SUMS`.
    box
        (N, 6) int64: first ZYX and the one after the last; first starts as `FAR`, last as 0.
    """
    nz, ny, nx = local.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                n = local[z, y, x] - 1
                if n < 0:
                    continue
                gz, gy, gx = z + origin[0], y + origin[1], x + origin[2]
                dz, dy, dx = gz - starts[n, 0], gy - starts[n, 1], gx - starts[n, 2]
                row = sums[n]
                row[0] += 1
                row[1] += dz
                row[2] += dy
                row[3] += dx
                row[4] += dz * dz
                row[5] += dy * dy
                row[6] += dx * dx
                row[7] += dz * dy
                row[8] += dz * dx
                row[9] += dy * dx
                seen = box[n]
                seen[0], seen[1], seen[2] = min(seen[0], gz), min(seen[1], gy), min(seen[2], gx)
                seen[3] = max(seen[3], gz + 1)
                seen[4] = max(seen[4], gy + 1)
                seen[5] = max(seen[5], gx + 1)


@njit
def add_values(local, values, totals):  # type: ignore[no-untyped-def]
    """Add the intensities of a band, (Z, Y, X) float64, to ``totals``, (N,) float64."""
    nz, ny, nx = local.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                n = local[z, y, x] - 1
                if n >= 0:
                    totals[n] += values[z, y, x]


@njit
def add_rows(local, origin, tops, first, left, right):  # type: ignore[no-untyped-def]
    """Widen the rows of planar objects by a band.

    Parameters
    ----------
    local, origin
        As in `add_sums`.
    tops
        (N,) int64: row of the image in which each object's rows start.
    first
        (N + 1,) int64: where these rows start in ``left`` and ``right``.
    left, right
        First and last column of each row; left starts as `FAR`, right as -1.
    """
    nz, ny, nx = local.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                n = local[z, y, x] - 1
                if n < 0:
                    continue
                at = first[n] + y + origin[1] - tops[n]
                left[at] = min(left[at], x + origin[2])
                right[at] = max(right[at], x + origin[2])


@njit
def _chain(points, count):  # type: ignore[no-untyped-def]
    """Lower convex chain of points (row, column) of rising rows, in place; returns its length."""
    length = 0
    for i in range(count):
        while length > 1:
            ay, ax = points[length - 2]
            by, bx = points[length - 1]
            cy, cx = points[i]
            if (bx - ax) * (cy - ay) < (cx - ax) * (by - ay):
                break
            length -= 1
        points[length, 0], points[length, 1] = points[i, 0], points[i, 1]
        length += 1
    return length


@njit
def _side(left, points):  # type: ignore[no-untyped-def]
    """Hull of the left side, at twice the resolution, of the first pixels of rows (or `FAR`)."""
    rows = len(left)
    count = 0
    for twice in range(2 * rows + 1):
        # an even number is the border between two rows of pixels, an odd one the middle of a row
        best = FAR
        if twice % 2:
            if left[twice // 2] != FAR:
                best = 2 * left[twice // 2] - 1
        else:
            for row in (twice // 2 - 1, twice // 2):
                if 0 <= row < rows and left[row] != FAR:
                    best = min(best, 2 * left[row])
        if best != FAR:
            points[count, 0], points[count, 1] = twice, best
            count += 1
    return _chain(points, count)


@njit
def hull_areas(first, left, right, areas):  # type: ignore[no-untyped-def]
    """Pixels in the convex hull of each object, into ``areas`` (N,) int64; rows of `add_rows`."""
    for n in range(len(areas)):
        rows = first[n + 1] - first[n]
        # the right side is the left one of the mirror image
        near = np.empty(rows, np.int64)
        far = np.empty(rows, np.int64)
        for row in range(rows):
            there = right[first[n] + row] >= 0
            near[row] = left[first[n] + row] if there else FAR
            far[row] = -right[first[n] + row] if there else FAR
        a = np.empty((2 * rows + 1, 2), np.int64)
        b = np.empty((2 * rows + 1, 2), np.int64)
        last_a, last_b = _side(near, a), _side(far, b)
        if last_a == 0:  # a compartment without pixels: there is no edge to look at
            areas[n] = 0
            continue
        i = j = 0
        total = 0
        for row in range(rows):
            twice = 2 * row + 1
            if twice < a[0, 0] or twice > a[last_a - 1, 0]:
                continue
            while i + 2 < last_a and a[i + 1, 0] < twice:
                i += 1
            while j + 2 < last_b and b[j + 1, 0] < twice:
                j += 1
            low = _inside(a, i, twice)
            high = _inside(b, j, twice)
            total += max(0, -high - low + 1)
        areas[n] = total


@njit
def _inside(points, i, twice):  # type: ignore[no-untyped-def]
    """First pixel of a row that is not left of the edge from point ``i`` to the next."""
    dy = points[i + 1, 0] - points[i, 0]
    value = points[i, 1] * dy + (points[i + 1, 1] - points[i, 1]) * (twice - points[i, 0])
    return -((-value) // (2 * dy))


def rows_of(box: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Empty rows of objects with these boxes, as `add_rows` wants them: first, left, right."""
    heights = box[:, 4] - box[:, 1]
    first = np.concatenate([[0], np.cumsum(heights)]).astype(np.int64)
    left = np.full(first[-1], FAR, np.int64)
    return first, left, np.full(first[-1], -1, np.int64)
