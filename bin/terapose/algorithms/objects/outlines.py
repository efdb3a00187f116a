"""Outlines of objects along the edges of their pixels: filled in, they give the same pixels.

Corners of pixels are numbered row by row. An edge between a pixel of the object and one that is not
runs so that the object is on its right (Y points down): around a pixel clockwise, around a hole
the other way. Where two pixels touch at a corner alone, the way turns right, so that each ring
goes around pixels that share edges (4-connected).

Such a ring comes back to a corner where holes touch at corners, or a hole the outside. Then the
pixels on both sides of the corner are of one piece, and the ring is cut there in two, so that no
ring touches itself. Two rings of a piece touch at single corners only, and never so that they would
part it, for its pixels share edges. So polygons are valid in the sense of the OGC, which JTS (in
QuPath) and GEOS check: rings are simple, holes are inside, the interior is connected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit

# directions: right, down, left, up
_DY = np.array([0, 1, 0, -1])
_DX = np.array([1, 0, -1, 0])


@njit
def _edges(mask):  # type: ignore[no-untyped-def]
    """For each corner a bit for each direction in which an edge leaves it."""
    height, width = mask.shape
    edges = np.zeros((height + 1, width + 1), np.uint8)
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                continue
            if y == 0 or not mask[y - 1, x]:
                edges[y, x] |= 1
            if x == width - 1 or not mask[y, x + 1]:
                edges[y, x + 1] |= 2
            if y == height - 1 or not mask[y + 1, x]:
                edges[y + 1, x + 1] |= 4
            if x == 0 or not mask[y, x - 1]:
                edges[y + 1, x] |= 8
    return edges


@njit
def _trace(mask, points, ends, back):  # type: ignore[no-untyped-def]
    """Corners at which rings turn, where each ring ends in them, and whether it comes back to one.

    Returns the numbers of corners and of rings.
    """
    edges = _edges(mask)
    seen = np.zeros(edges.shape, np.int64)
    count = rings = 0
    for y0 in range(edges.shape[0]):
        for x0 in range(edges.shape[1]):
            while edges[y0, x0]:
                first = 0
                while not edges[y0, x0] >> first & 1:
                    first += 1
                y, x, way = y0, x0, first
                begin = count
                back[rings] = False
                seen[y0, x0] = rings + 1
                while True:
                    edges[y, x] ^= 1 << way
                    y += _DY[way]
                    x += _DX[way]
                    if y == y0 and x == x0:
                        break
                    # to the right, straight on, to the left
                    for turn in (1, 0, 3):
                        after = (way + turn) % 4
                        if edges[y, x] >> after & 1:
                            break
                    if after != way:
                        points[count, 0], points[count, 1] = y, x
                        count += 1
                        back[rings] |= seen[y, x] == rings + 1
                        seen[y, x] = rings + 1
                    way = after
                # where it began is a corner, too: the topmost and leftmost one of what is left
                for n in range(count, begin, -1):
                    points[n, 0], points[n, 1] = points[n - 1, 0], points[n - 1, 1]
                points[begin, 0], points[begin, 1] = y0, x0
                count += 1
                ends[rings] = count
                rings += 1
    return count, rings


def outline(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Rings around an object.

    Parameters
    ----------
    mask
        (Y, X) of one object.

    Returns
    -------
    list of (N, 2) int64
        Corners of pixels as Y, X (pixel ``(y, x)`` reaches from ``(y, x)`` to ``(y + 1, x + 1)``),
        at which a ring turns, each once, the topmost one (of several the leftmost) first. Rings
        around pixels run clockwise (Y down), rings around holes the other way; `ring_area`
        distinguishes them. No ring touches itself.
    """
    most = int(2 * np.count_nonzero(mask) + 2 * sum(mask.shape) + 4) * 2
    points, ends = np.empty((most, 2), np.int64), np.empty(most, np.int64)
    back = np.empty(most, np.bool_)
    count, rings = _trace(np.ascontiguousarray(mask), points, ends, back)
    traced = np.split(points[:count], ends[: rings - 1]) if rings else []
    return [
        part
        for ring, again in zip(traced, back, strict=False)
        for part in (_simple(ring) if again else [ring])
    ]


def _simple(ring: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a ring at the corners to which it comes back; parts by their first corners."""
    parts: list[list[tuple[int, int]]] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for corner in map(tuple, ring.tolist()):
        if corner in place:
            start = place[corner]
            parts.append(path[start:])
            for left in path[start + 1 :]:
                del place[left]
            del path[start + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    parts.append(path)
    turned = []
    for part in parts:
        first = part.index(min(part))
        turned.append([*part[first:], *part[:first]])
    return [np.array(part, np.int64) for part in sorted(turned)]


def ring_area(ring: NDArray[np.int64]) -> int:
    """Twice the area inside of a ring; negative around a hole."""
    y, x = ring.T
    return int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def polygons(mask: NDArray[np.bool_]) -> list[list[NDArray[np.int64]]]:
    """Rings of an object as polygons: for each piece the outer ring, then its holes."""
    outer, holes = list[list[NDArray[np.int64]]](), list[NDArray[np.int64]]()
    for ring in outline(mask):
        if ring_area(ring) > 0:
            outer.append([ring])
        else:
            holes.append(ring)
    if len(outer) == 1:
        outer[0] += holes
    elif holes:
        piece, same = _pieces(np.ascontiguousarray(mask))
        # the pixel below the first corner of an outer ring is inside of it, and the pixel above
        # that of a hole is of the piece that the hole is in
        owner = {same[piece[tuple(found[0][0])]]: found for found in outer}
        for hole in holes:
            owner[same[piece[hole[0, 0] - 1, hole[0, 1]]]].append(hole)
    return outer


@njit
def _pieces(mask):  # type: ignore[no-untyped-def]
    """A number for each pixel (4-connected, 0 outside), and for each number one of the piece."""
    height, width = mask.shape
    found = np.zeros((height, width), np.int32)
    same = np.zeros(mask.size // 2 + 2, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                continue
            above = found[y - 1, x] if y else 0
            beside = found[y, x - 1] if x else 0
            if not above and not beside:
                count += 1
                same[count] = count
                found[y, x] = count
                continue
            found[y, x] = max(above, beside)
            if above and beside:
                while same[above] != above:
                    same[above] = same[same[above]]
                    above = same[above]
                while same[beside] != beside:
                    same[beside] = same[same[beside]]
                    beside = same[beside]
                same[max(above, beside)] = min(above, beside)
    # the smallest number of a piece comes first
    for number in range(1, count + 1):
        same[number] = same[same[number]]
    return found, same
