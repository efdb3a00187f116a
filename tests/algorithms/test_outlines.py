"""Outlines are valid polygons, whatever the mask: simple rings, one connected piece each.

What makes a polygon valid (OGC, as JTS in QuPath checks it) can be counted on the grid of pixels:
a ring comes to no corner twice; rings share no edge; every ring but the first lies inside of it;
and the interior is connected, that is, the polygon's pixels are, by their edges.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.measure import label

from terapose.algorithms.objects import outlines
from terapose.algorithms.objects import polygons as pixels
from terapose.algorithms.objects.outlines import polygons, ring_area

Mask = NDArray[np.bool_]


def drawn(text: str) -> Mask:
    return np.array([[c == "#" for c in line] for line in text.split()])


MASKS = {
    "pixel": "#",
    "line": "#####",
    "diagonal": "#... .#.. ..#. ...#",
    "ring": "### #.# ###",
    "holes that touch": "###### #..### #..### ###..# ###..# ######",
    "holes in a chain": "##### #.### ##.## ###.# #####",
    "holes around a pixel": "####### ###.### ##.#.## ###.### #######",
    "a hole at the corner": ".#### #.### ##### #####",
    "holes at two sides": ".##### #.#### ###### ####.# #####.",
    "a hole at a hole at the outside": ".##### #.#### ##.### ###### ######",
    "an island in a hole": "##### #...# #.#.# #...# #####",
    "an island that touches": "##### #.#.# ##.## #.#.# #####",
    "a spiral": "####### ......# #####.# #...#.# #.###.# #.....# #######",
    "a chess board": "#.#.# .#.#. #.#.# .#.#.",
}


def edges(ring: NDArray[np.int64]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """A ring's edges of pixels, in its direction."""
    found = []
    for (y, x), (b, a) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        assert (y == b) != (x == a), "rings run along rows and columns"
        steps = max(abs(b - y), abs(a - x))
        way = ((b - y) // steps, (a - x) // steps)
        at = [(y + n * way[0], x + n * way[1]) for n in range(steps + 1)]
        found += list(itertools.pairwise(at))
    return found


def filled(ring: NDArray[np.int64], shape: tuple[int, ...]) -> Mask:
    """Pixels inside of a ring: those with an odd number of upright edges to their left."""
    crossed = np.zeros((shape[0], shape[1] + 1), int)
    for (y, x), (b, a) in edges(ring):
        if x == a:
            crossed[min(y, b), x] += 1
    return np.asarray(np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1)


def check(mask: Mask) -> list[list[NDArray[np.int64]]]:
    """Hold the polygons of a mask against all that makes them valid, and against its pixels."""
    pieces = label(mask, connectivity=1)
    found = polygons(mask)
    assert len(found) == pieces.max()
    taken: set[Any] = set()
    for outer, *holes in found:
        area = filled(outer, mask.shape)
        assert ring_area(outer) > 0 and all(ring_area(hole) < 0 for hole in holes)
        rest = area.copy()
        for hole in holes:
            inside = filled(hole, mask.shape)
            assert (rest & inside == inside).all(), "holes lie inside, apart from one another"
            rest &= ~inside
        number = pieces[rest].max()
        np.testing.assert_array_equal(rest, pieces == number)
        for ring in (outer, *holes):
            around = edges(ring)
            corners = [start for start, _ in around]
            assert len(set(corners)) == len(corners), "a ring touches itself"
            assert tuple(ring[0]) == min(corners), "the topmost corner comes first"
            assert not taken & set(around), "two rings share an edge"
            taken |= set(around)
    return found


@pytest.mark.parametrize("name", MASKS)
def test_shapes_that_touch_at_corners(name: str) -> None:
    mask = drawn(MASKS[name])
    for turned in (mask, mask.T, mask[::-1], np.rot90(mask), np.pad(mask, 2)):
        check(np.ascontiguousarray(turned))


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_mask(mask: Mask) -> None:
    check(mask)


@pytest.mark.parametrize("filling", [0.4, 0.6, 0.8, 0.95])
def test_sponges(filling: float) -> None:
    found = check(np.random.default_rng(3).random((60, 70)) < filling)
    assert filling < 0.5 or sum(len(rings) - 1 for rings in found) > 30


def test_each_ring_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holes are not compared with all pieces: of a sponge there are thousands of both."""
    mask, seen = np.random.default_rng(3).random((60, 70)) < 0.62, list[int]()

    def counted(ring: NDArray[np.int64]) -> int:
        seen.append(len(ring))
        return ring_area(ring)

    monkeypatch.setattr(outlines, "ring_area", counted)
    found = polygons(mask)
    assert len(found) > 50 and len(seen) == sum(map(len, found)) > 200


def test_small_polygons_do_not_take_the_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled in, polygons are the mask again, in any window."""
    mask, seen = np.random.default_rng(3).random((60, 70)) < 0.3, list[int]()
    toggle = pixels._toggle

    def counted(ring: Any, start: tuple[int, int], toggles: NDArray[np.int64]) -> None:
        seen.append(toggles.size)
        toggle(ring, start, toggles)

    monkeypatch.setattr(pixels, "_toggle", counted)
    found = [[ring[:, ::-1].astype(np.float64) for ring in p] for p in polygons(mask)]
    for start, stop in (((0, 0), (60, 70)), ((7, 9), (31, 64)), ((-5, -3), (70, 80))):
        here = np.pad(mask, 10)[start[0] + 10 : stop[0] + 10, start[1] + 10 : stop[1] + 10]
        seen.clear()
        np.testing.assert_array_equal(pixels.filled(found, start, stop), here)
        assert len(seen) > 150 and sum(seen) < 3 * mask.size


def test_the_corners_of_an_ordinary_cell_stay_as_they_are() -> None:
    (cell,) = check(drawn(".##. #### ##.# .###"))
    assert [ring.tolist() for ring in cell] == [
        [[0, 1], [0, 3], [1, 3], [1, 4], [4, 4], [4, 1], [3, 1], [3, 0], [1, 0], [1, 1]],
        [[2, 2], [3, 2], [3, 3], [2, 3]],
    ]
    # one piece or two, by whether the pixels share an edge
    assert len(check(drawn("#. .#"))) == 2 and len(check(drawn("## .#"))) == 1
