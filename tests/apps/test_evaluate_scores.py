"""Every score equals its definition, another program's, or both; whatever the blocks."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import adapted_rand_error, variation_of_information
from tests.label_pairs import blobs

from terapose.apps.evaluate import counts
from terapose.apps.evaluate.boundary import Reach
from terapose.apps.evaluate.evaluation import CURVE, Settings, evaluate
from terapose.apps.evaluate.intervals import bootstrap, difference, wilson
from terapose.apps.evaluate.seams import planes_of
from terapose.apps.evaluate.sizes import Scale
from terapose.core.errors import InputError

ONE, NOWHERE = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_is_cellposes(seed: int) -> None:
    cellpose_metrics = pytest.importorskip("cellpose.metrics")
    reference, predicted = blobs(seed)
    expected = cellpose_metrics.average_precision(reference, predicted, list(CURVE))
    found = evaluate(reference, predicted, block=(7, 19, 23))
    assert len(set(found.curve.true_positives)) > 4
    np.testing.assert_allclose(found.curve.average_precision, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(found.curve.true_positives, expected[1])
    assert found.mean_average_precision == pytest.approx(expected[0].mean())


@pytest.mark.parametrize("block", [(20, 48, 52), (64, 512, 512), (1, 7, 52), (6, 13, 11)])
def test_blocks_change_nothing(block: tuple[int, int, int]) -> None:
    reference, predicted = blobs(3)
    planes = planes_of(reference.shape, (10, 24, 26), ONE, NOWHERE)
    settings = Settings((0.5, 0.7), Reach(2.5, (2, 1, 1)), Scale((300, 800)), planes)
    expected = evaluate(reference, predicted, settings, (9, 30, 31)).as_dict()
    assert evaluate(reference, predicted, settings, block).as_dict() == expected
    assert 0 < expected["boundary"]["f"] < 1
    assert expected["seams"]["at_seams"]["reference"] > 5
    json.dumps(expected, allow_nan=False)


def test_only_blocks_are_read() -> None:
    """With their halo, and each once: images may be larger than memory."""
    reference, predicted = blobs(3)
    read = []

    class Watched:
        shape, dtype = reference.shape, reference.dtype

        def __getitem__(self, region: tuple[slice, ...]) -> NDArray[Any]:
            read.append([part.stop - part.start for part in region])
            return np.asarray(reference[region])

    watched: Any = Watched()
    evaluate(watched, predicted, block=(10, 16, 26))
    assert len(read) == 2 * 3 * 2
    assert np.max(read, axis=0).tolist() == [13, 22, 29]


def naive(a: NDArray[Any], b: NDArray[Any]) -> dict[str, float]:
    """Scores from the images, label by label."""
    mine, theirs = (np.unique(labels[labels > 0]) for labels in (a, b))
    seg, coverage, pieces, merged = [], [], dict.fromkeys(mine, 0), 0
    for label in mine:
        one = a == label
        ious = {t: np.sum(one & (b == t)) / np.sum(one | (b == t)) for t in np.unique(b[one]) if t}
        held = [t for t in ious if np.sum(one & (b == t)) > one.sum() / 2]
        seg.append(ious[held[0]] if held else 0)
        coverage.append(max(ious.values(), default=0))
    for label in theirs:
        other = b == label
        inside = np.unique(a[other])
        for m in inside[inside > 0]:
            pieces[m] += np.sum(other & (a == m)) > other.sum() / 2
        held = [m for m in inside if m and np.sum(other & (a == m)) > np.sum(a == m) / 2]
        merged += len(held) > 1
    split = sum(n > 1 for n in pieces.values())
    return {
        "seg": np.mean(seg),
        "mean_coverage": np.mean(coverage),
        "split": split,
        "merged": merged,
    }


@pytest.mark.parametrize("seed", [0, 4])
def test_agreement_is_as_defined(seed: int) -> None:
    reference, predicted = blobs(seed)
    found = evaluate(reference, predicted).as_dict()
    expected = naive(reference, predicted)
    assert expected["split"] and expected["merged"]
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    split, merge = variation_of_information(reference, predicted, ignore_labels=(0,))
    # scikit-image divides by pairs of the reference and calls it precision
    error, recall, precision = adapted_rand_error(reference, predicted)
    assert found["variation_of_information"]["split"] == pytest.approx(split)
    assert found["variation_of_information"]["merge"] == pytest.approx(merge)
    rand = {"error": error, "precision": precision, "recall": recall}
    assert found["adapted_rand"] == pytest.approx(rand)
    counts = [found[f"{n}_positives"][0] for n in ("true", "false")]
    assert found["f1"][0] == 2 * counts[0] / (found["reference"] + sum(counts))
    assert found["panoptic_quality"] == pytest.approx(
        found["recognition_quality"] * found["segmentation_quality"]
    )


def test_splits_and_merges_by_hand() -> None:
    """A cell in three pieces, two cells in one, a cell half in another."""
    reference = np.repeat([[[1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 0, 4, 4, 4, 4]]], 2, axis=1)
    predicted = np.repeat([[[5, 5, 6, 6, 7, 7, 8, 8, 8, 8, 8, 8, 0, 9, 9, 0, 0]]], 2, axis=1)
    found = evaluate(reference, predicted)
    assert (found.agreement.split, found.agreement.merged) == (1, 1)
    assert found.agreement.volume_ratio == (0.75, 1.0, 1.25)  # of 3 and 4
    halves = evaluate(reference, np.where(reference == 4, [10, 11] * 8 + [10], 0))
    assert (halves.agreement.split, halves.agreement.merged) == (1, 0)


@pytest.mark.parametrize("spacing", [ONE, (2.0, 1.0, 1.0), (0.7, 1.0, 1.1)])
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.4])
def test_boundaries_are_those_of_distances(
    tolerance: float, spacing: tuple[float, float, float]
) -> None:
    reference, predicted = blobs(5)
    edges = []
    for labels in (reference, predicted):
        low, high = (
            f(labels, footprint=ndimage.generate_binary_structure(3, 1), mode="nearest")
            for f in (ndimage.minimum_filter, ndimage.maximum_filter)
        )
        edges.append((labels > 0) & (low != high))
    near = [ndimage.distance_transform_edt(~edge, sampling=spacing) <= tolerance for edge in edges]
    precision = (edges[1] & near[0]).sum() / edges[1].sum()
    recall = (edges[0] & near[1]).sum() / edges[0].sum()
    found = evaluate(reference, predicted, Settings(reach=Reach(tolerance, spacing)), (6, 17, 19))
    assert found.boundary.precision == precision
    assert found.boundary.recall == recall
    assert found.boundary.f == pytest.approx(2 * precision * recall / (precision + recall))


def test_scores_by_size_add_up() -> None:
    reference, predicted = blobs(2)
    for scale in (Scale(), Scale((600, 1200)), Scale((10.5, 13.0), diameter=True)):
        found = evaluate(reference, predicted, Settings(scale=scale))
        parts = [one.found for one in found.sizes]
        assert len(parts) == (4 if scale.edges is None else 3)
        assert all(part.reference for part in parts)
        curve = found.curve
        assert sum(part.reference for part in parts) == curve.reference
        assert sum(part.matched for part in parts) == curve.true_positives[0]
        assert sum(part.extra for part in parts) == curve.false_positives[0]
    sizes = np.bincount(reference.ravel())[1:]
    below = evaluate(reference, predicted, Settings(scale=Scale((600, 1200)))).sizes[0]
    assert below.found.reference == np.count_nonzero((sizes > 0) & (sizes < 600))
    ball = 4 / 3 * math.pi * 5**3
    assert Scale(diameter=True, length=0.5).of(np.array([round(ball)]), is_plane=False) == (
        pytest.approx([5.0], rel=1e-3)
    )
    assert Scale(diameter=True).of(np.array([314]), is_plane=True) == pytest.approx([20], rel=1e-3)
    with pytest.raises(InputError, match="sizes: edges of sizes must be above 0 and ascending"):
        Scale((5, 2))


def test_cells_at_seams_by_hand() -> None:
    """Cells of 2 x 2 x 2 voxels, in and between blocks of 8 voxels."""
    reference, predicted = np.zeros((1, 16, 24), int), np.zeros((1, 16, 24), int)
    for number, x in enumerate((0, 2, 6, 8, 12, 15, 20), 1):
        reference[0, 1:3, x : x + 2] = number
    predicted[reference > 0] = reference[reference > 0]
    predicted[predicted == 3] = 0  # x 6 and 7: up to the seam
    predicted[0, 8:10, 0:2] = 50  # one too many, at a seam of Y
    planes = planes_of((1, 16, 24), (1, 8, 8), ONE, NOWHERE)
    assert [axis.tolist() for axis in planes.seams] == [[], [8.0], [8.0, 16.0]]
    assert [axis.tolist() for axis in planes.halfway] == [[], [4.0, 12.0], [4.0, 12.0, 20.0]]
    seams = evaluate(reference, predicted, Settings(planes=planes)).seams
    assert seams is not None
    # touching 8: the cells at 6 and at 8; 16: the one at 15
    counts = [(one.reference, one.matched, one.extra) for one in vars(seams).values()]
    assert counts == [(3, 2, 1), (4, 4, 0), (3, 2, 1), (3, 3, 0)]
    found = seams.as_dict()
    assert found["difference"]["recall"]["value"] == pytest.approx(-1 / 3)
    assert found["at_seams"]["average_precision"] == 0.5
    with pytest.raises(InputError, match="there are no seams: the image is one block"):
        planes_of((1, 8, 8), (1, 8, 8), ONE, NOWHERE)


def test_intervals_are_the_published_ones() -> None:
    # Newcombe 1998: 81 of 263 (part I); 56 of 70 against 48 of 80 (part II)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert difference((56, 70), (48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference((0, 10), (0, 10)) == pytest.approx((0, -0.2775, 0.2775), abs=5e-5)
    assert all(map(math.isnan, (*wilson(0, 0), *difference((1, 2), (0, 0)))))


def test_bootstrap_is_repeated_and_covers() -> None:
    rng = np.random.default_rng(0)

    def mean(total: Any, count: Any) -> Any:
        return total / count

    hits = 0
    for _ in range(200):
        values = rng.normal(3, 1, 40)
        low, high = bootstrap((values, np.ones(40)), mean)
        hits += low <= 3 <= high
    assert 0.88 <= hits / 200 <= 0.99
    assert bootstrap((values, np.ones(40)), mean) == (low, high)
    assert bootstrap((values, np.ones(40)), mean, seed=1) != (low, high)
    assert all(map(math.isnan, bootstrap((values[:1], np.ones(1)), mean)))


def test_nothing_and_everything() -> None:
    empty, full = np.zeros((2, 6, 6), int), np.ones((2, 6, 6), int)
    nothing = evaluate(empty, empty).as_dict()
    assert nothing["seg"] is None is nothing["boundary"]["f"]
    assert evaluate(full, empty).as_dict()["adapted_rand"]["recall"] == 1.0
    missed = evaluate(np.pad(full, 1), np.pad(empty, 1))
    assert (missed.agreement.seg, missed.boundary.f) == (0, 0)
    json.dumps(missed.as_dict(), allow_nan=False)
    with pytest.raises(InputError, match="boundary tolerance: out of range; got 21"):
        Reach(21)


def test_long_tables_are_merged_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, predicted = blobs(3)
    expected = evaluate(reference, predicted, block=(4, 9, 10)).as_dict()
    merges: list[int] = []
    merge = counts.smallest

    def counted(labels: Any, values: Any) -> Any:
        merges.append(len(labels))
        return merge(labels, values)

    monkeypatch.setattr(counts, "_PENDING", 20)
    monkeypatch.setattr(counts, "smallest", counted)
    assert evaluate(reference, predicted, block=(4, 9, 10)).as_dict() == expected
    # tables of at least 20 rows and their like are merged again and again
    assert sum(n > 20 for n in merges) > 10


def test_a_tolerance_is_no_larger_than_the_image() -> None:
    flat = (1e-9, 1.0, 1.0)  # any plane is near
    reference, predicted = (labels[5:8] for labels in blobs(3))
    found = evaluate(reference, predicted, Settings(reach=Reach(1.0, flat)), (2, 17, 19))
    expected = evaluate(reference, predicted, Settings(reach=Reach(1.0, (0.4, 1.0, 1.0))))
    assert found.boundary.predicted_near > expected.boundary.predicted_near
    deep = np.ones((200, 2, 2), int)
    with pytest.raises(InputError, match="boundary tolerance: spans too many voxels; got 199"):
        evaluate(deep, deep, Settings(reach=Reach(1.0, flat)))
