"""What is tried, where, and how label images are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest

from terapose.apps.tune.changes import ALIKE, changed, compact, most_changed, pooled
from terapose.apps.tune.regions import contrast, sample, usual_size
from terapose.apps.tune.search import MARGIN, Search
from terapose.apps.tune.sweeps import Sweep, starting, sweeps_of
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.core.params import check


def _start(mode: str = "2d", **given: object) -> dict[str, float]:
    return starting(check(given), mode, 17.0)


def test_values_of_the_start_are_always_tried() -> None:
    start = _start(min_size=40)
    found = sweeps_of(["min-size=9,100", "cellprob_threshold=2"], start, "2d")
    assert found == [
        Sweep("cellprob_threshold", (0.0, 2.0)),
        Sweep("min_size", (9.0, 40.0, 100.0)),
    ]


def test_usual_sizes_are_those_of_a_ball_of_fewer_planes() -> None:
    """10 % of its voxels, whatever the distance of its planes."""
    start = {**_start("3d"), "diameter": 20.0, "min_size": 0.0}
    for anisotropy in (1.0, 5.0):
        (sizes,) = (s for s in sweeps_of([], start, "3d", anisotropy) if s.name == "min_size")
        z, y, x = np.mgrid[-10:10, -10:10, -10:10] + 0.5
        ball = (z**2 + y**2 + x**2 <= 100).sum() / anisotropy
        assert max(sizes.values) == pytest.approx(0.1 * ball, rel=0.05)


@pytest.mark.parametrize("mode", ["2d", "stitch", "3d"])
def test_usual_values_are_allowed_ones(mode: str) -> None:
    start = _start(mode)
    found = sweeps_of([], start, mode)
    assert ("flow3d_smooth" in [s.name for s in found]) is (mode == "3d")
    assert start["flow_threshold"] == (0.0 if mode == "3d" else 0.4)
    for sweep in found:
        assert start[sweep.name] in sweep.values and len(sweep.values) > 2
        for value in sweep.values:
            check({sweep.name: int(value) if sweep.name == "min_size" else value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("niter=1,2", "not a parameter that can be tried"),
        ("min_sise=1", "did you mean min_size?"),
        ("diameter", "has no values"),
        ("diameter=-1", "greater than or equal to 0"),
        ("min_size=1.5", "a whole number"),
        ("flow3d_smooth=1", "mode 3d only"),
    ],
)
def test_what_cannot_be_tried_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        sweeps_of([text], _start(), "2d")
    assert said in str(error.value)


def test_a_parameter_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        sweeps_of(["diameter=3", "diameter=4"], _start(), "2d")


def test_regions_are_of_cells_from_dim_to_bright() -> None:
    image = np.zeros((1, 400, 600), np.uint16)
    image[:, 40:60, :] = 100
    image[:, 240:260, :] = 900
    content = contrast(image, np.ones(image.shape, np.bool_))
    chosen = sample((1, 400, 600), (1, 100, 100), 4, content)
    assert chosen == sample((1, 400, 600), (1, 100, 100), 4, content)
    assert len(set(chosen)) == 4 and all(box.shape == (1, 100, 100) for box in chosen)
    assert [box.start[1] for box in chosen] == [0, 0, 200, 200]


def test_regions_of_an_odd_shape_are_within_the_image() -> None:
    shape = (5, 37, 41)
    for box in sample(shape, (2, 10, 41), 50, lambda box: 1.0):
        assert box.clip(shape) == box and box.shape == (2, 10, 41)


def test_an_empty_image_has_no_regions() -> None:
    flat = np.full((1, 50, 50), 7)
    with pytest.raises(InputError, match="nothing to try"):
        sample((1, 50, 50), (1, 20, 20), 2, contrast(flat, np.ones(flat.shape, np.bool_)))


def test_regions_are_chosen_by_their_tissue() -> None:
    image = np.zeros((1, 100, 400), np.uint16)
    image[:, 40:60] = 900
    tissue = np.zeros(image.shape, np.bool_)
    tissue[..., 100:200] = True
    tissue[..., 300:310] = True
    content = contrast(image, tissue)
    found = [content(Box((0, 0, x), (1, 100, x + 100))) for x in (0, 100, 200, 300)]
    # by its median, the little in the last one counts for little
    assert found == [0, 900, 0, 90]
    image[~tissue] = 60_000
    chosen = sample(image.shape, (1, 100, 100), 4, contrast(image, tissue))
    assert [box.start[2] for box in chosen] == [100, 300]


@pytest.mark.parametrize("mode", ["2d", "stitch", "3d"])
def test_regions_are_no_larger_than_the_image(mode: str) -> None:
    shape = (1 if mode == "2d" else 30, 90, 5000)
    size = usual_size(shape, 30, 2, mode)
    assert all(s <= n for s, n in zip(size, shape, strict=True))
    assert size[0] == {"2d": 1, "stitch": 8, "3d": 30}[mode]


def _cells(*boxes: tuple[int, int]) -> np.ndarray:
    """A row of cells, each from one pixel to another."""
    labels = np.zeros((1, 1, 100), np.int64)
    for number, (first, stop) in enumerate(boxes, 1):
        labels[..., first:stop] = number
    return labels


def test_cells_without_a_counterpart_have_changed() -> None:
    a = _cells((0, 10), (20, 30), (40, 50))
    b = _cells((0, 8), (20, 27), (60, 61))
    found = np.flatnonzero(changed(a, b))
    # 8 of 10 pixels are enough, 7 are not
    assert 0.7 < ALIKE <= 0.8
    assert found.tolist() == [*range(20, 30), *range(40, 50), 60]
    assert not changed(a, a).any() and not changed(a * 0, a * 0).any()


def test_numbers_of_cells_do_not_matter() -> None:
    a = _cells((0, 10), (20, 30))
    other = np.where(a == 1, 70_000_000_000, np.where(a == 2, 3, 0)).astype(np.uint64)
    assert not changed(a, compact(other)).any()
    assert compact(np.full((2, 2), 9)).tolist() == [[1, 1], [1, 1]]


def test_precision_is_of_all_regions_together() -> None:
    one, none = _cells((0, 10)), _cells()
    three = _cells((0, 10), (20, 30), (40, 50))
    assert pooled([(one, one), (three, none)]) == (0.25, 0.25)
    assert math.isnan(pooled([(none, none)])[0])


def test_the_place_is_where_cells_change() -> None:
    a = np.zeros((3, 400, 400), np.int64)
    a[:, 20:40, 20:40] = 1
    b = a.copy()
    b[1:, 300:310, 200:210] = 2
    place = most_changed([a, a, b], 10)
    (z, y, x), shape = place.window.start, place.window.shape
    assert shape == (1, 60, 60) and z in (1, 2) and abs(y - 275) < 3 and abs(x - 175) < 3
    assert place.share == 1.0
    assert most_changed([a, a], 10).share == 0.0
    assert most_changed([a, a], 10).window.start[1:] == (0, 0)


def test_the_best_value_is_kept_for_the_next_sweep() -> None:
    asked: list[dict[str, float]] = []
    truth = _cells(*((n, n + 5) for n in range(0, 100, 10)))

    def segment(values: dict[str, float], region: int) -> np.ndarray:
        asked.append(dict(values))
        found = truth.copy()
        if values["cellprob_threshold"] != 1:
            found[found > 5] = 0
        return found

    start = _start()
    sweeps = sweeps_of(["cellprob_threshold=-1,1", "min_size=3"], start, "2d")
    reference = [compact(truth)]
    first, second = Search(segment, 1, start, reference).run(sweeps)  # type: ignore[arg-type]
    assert (first.chosen, second.chosen) == (1.0, 15.0)
    assert [t.precision for t in first.trials] == [(0.5, 0.5), (0.5, 0.5), (1.0, 1.0)]
    assert [t.agreement for t in first.trials] == [None, (1.0, 1.0), (0.5, 0.5)]
    assert all(values["cellprob_threshold"] == 1 for values in asked[3:])
    # without one the start is kept
    (alone, _) = Search(segment, 1, start).run(sweeps)  # type: ignore[arg-type]
    assert alone.chosen == 0.0


def test_a_small_gain_changes_nothing() -> None:
    cells = [(n, n + 2) for n in range(0, 400 * 3, 3)]
    truth = np.zeros((1, 1, 1300), np.int64)
    for number, (first, stop) in enumerate(cells, 1):
        truth[..., first:stop] = number
    assert 1 / len(cells) < MARGIN

    def segment(values: dict[str, float], region: int) -> np.ndarray:
        return truth if values["min_size"] == 3 else np.where(truth == 7, 0, truth)

    sweeps = sweeps_of(["min_size=3"], _start(), "2d")
    (found,) = Search(segment, 1, _start(), [truth]).run(sweeps)  # type: ignore[arg-type]
    assert found.trials[0].score > found.trials[1].score and found.chosen == 15.0


def test_boxes_are_sorted() -> None:
    boxes = sample((1, 90, 90), (1, 30, 30), 9, lambda box: 60.0 + box.start[2])
    assert boxes == sorted(boxes) and len(boxes) == 9
    assert boxes[0] == Box((0, 0, 0), (1, 30, 30))
