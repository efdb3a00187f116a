"""Scores of the CellMap challenge: known answers of its code, and the same in any slabs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from tests.synthetic import write_ome_zarr

from terapose.apps.evaluate.asked import Asked, cellmap_answer
from terapose.apps.evaluate.cellmap import (
    SCORED,
    SKIPPED,
    Instances,
    Semantic,
    assigned,
    cutoff,
    overall,
    score_instances,
    score_semantic,
)
from terapose.apps.evaluate.components import components_of, pieces_of
from terapose.apps.evaluate.counts import overlap_of
from terapose.io.images.model import Image

VOXEL = (4.0, 4.0, 4.0)


def cubes(*corners: tuple[int, int, int], shape: int = 40) -> NDArray[np.uint16]:
    """Cubes of 6 x 6 x 6 voxels, numbered."""
    labels = np.zeros((shape,) * 3, np.uint16)
    for number, (z, y, x) in enumerate(corners, 1):
        labels[z : z + 6, y : y + 6, x : x + 6] = number
    return labels


A, B, C = (4, 4, 4), (20, 20, 20), (32, 4, 30)


@pytest.mark.parametrize(
    ("predicted", "counts", "distances", "count"),
    [
        (cubes(A, B), (2, 0, 0), 2.0, 2),
        (cubes(A, (21, 20, 20)), (2, 0, 0), 1.994272, 2),
        (cubes(A), (1, 0, 1), 1.891458, 2),
        (cubes(A, B, C), (2, 1, 0), 2.891458, 3),
        (cubes(), (0, 0, 2), 1.782917, 2),
    ],
)
def test_known_answers(
    predicted: Any, counts: tuple[int, int, int], distances: float, count: int
) -> None:
    found = score_instances(cubes(A, B), predicted, VOXEL)
    assert counts == (found.true_positives, found.false_positives, found.false_negatives)
    # the challenge adds them in float32
    assert found.distances == pytest.approx(distances, abs=1e-6)
    assert (found.count, found.status) == (count, "scored")


def test_known_cut_offs_and_combined_score() -> None:
    found = [round(cutoff(n), 3) for n in (1, 5, 50)]
    assert found == [50.937, 28.394, 10.002]
    pooled = Instances(3, 1, 1, 3.0, 5) + Instances(5, 1, 0, 4.5, 6)
    assert round(pooled.score, 6) == 0.757735
    assert overall([pooled.score, math.nan], [0.25, 0.75]) == math.sqrt(pooled.score * 0.5)
    assert math.isnan(overall([], [0.5]))


def test_too_many_pieces_are_skipped() -> None:
    reference = cubes(A)
    predicted = np.zeros_like(reference)
    predicted[::6, ::6, ::6] = 1  # 343 voxels apart, one label: as many pieces
    found = score_instances(reference, predicted, VOXEL)
    assert (found.status, found.count, found.false_positives) == (SKIPPED, 0, 0)
    # so is a class of which nothing else is there
    scored = Instances(1, 0, 0, 1.0, 1)
    assert (found + found).status == SKIPPED
    assert (found + scored).status == (scored + found).status == SCORED


def test_of_a_finer_prediction_no_more_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[4:8, 4:8, 4:8], labels[8:12, 8:12, 10:14] = 1, 2
    fine = labels.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    half = 1.5 / 4  # voxels cover the same place: the centre of the first is not that of the other
    here = write_ome_zarr(tmp_path / "here.zarr", labels, voxel_size=(1, 1, 1),
                          translations=[(half, half, half)])  # fmt: skip
    there = write_ome_zarr(tmp_path / "there.zarr", fine, voxel_size=(0.25, 0.25, 0.25))
    sizes: list[int] = []
    read = Image.read

    def noting(self: Image, *given: Any) -> Any:
        found = read(self, *given)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(Image, "read", noting)
    monkeypatch.setattr("terapose.apps.evaluate.components.SLAB", 20_000)
    asked = Asked(align="position")
    found = cellmap_answer(str(here), str(there), "instance", asked)
    assert found.score == 1 and max(sizes) <= 20_000


def crowd(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Blobs that touch at corners, few labels in many pieces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, (6, 7, 8)) * (rng.random((6, 7, 8)) < 0.4)
    reference = pieces_of(coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2))[0].astype(np.uint8)
    predicted = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2).astype(np.uint8)
    predicted[rng.random(predicted.shape) < 0.2] = 0
    return reference, np.roll(predicted, 1, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_slabs_change_nothing(seed: int) -> None:
    reference, predicted = crowd(seed)
    whole = score_instances(reference, predicted, (8.0, 4.0, 4.0))
    assert whole.true_positives > 5
    assert whole.false_positives > 5
    for slab in (1, 5, 17):
        assert score_instances(reference, predicted, (8.0, 4.0, 4.0), slab) == whole


@pytest.mark.parametrize("slab", [1, 2, 7])
def test_components_are_those_of_the_whole_image(slab: int) -> None:
    _, predicted = crowd(3)
    expected, count = pieces_of(predicted)
    voxels = np.concatenate([pieces for _, pieces in components_of(predicted, slab).read()])
    assert len(np.unique(voxels)) == count + 1 > 20
    pairs = np.unique(np.stack([expected.ravel(), voxels.ravel()]), axis=1)
    assert pairs.shape[1] == count + 1  # one to one, the background among them


def naive(reference: Any, predicted: Any, voxel: tuple[float, ...]) -> tuple[Any, float]:
    """Points against points, and a dense assignment."""
    numbers, pieces = np.unique(reference[reference > 0]), pieces_of(predicted)[0]
    iou = np.array(
        [
            [
                np.sum((reference == a) & (pieces == b)) / np.sum((reference == a) | (pieces == b))
                for b in range(1, pieces.max() + 1)
            ]
            for a in numbers
        ]
    )
    rows, columns = linear_sum_assignment(-iou)
    kept = iou[rows, columns] > 0
    most = min(n * v for n, v in zip(reference.shape, voxel, strict=True)) / 2
    far = [most] * (len(numbers) + iou.shape[1] - 2 * int(kept.sum()))
    for row, column in zip(rows[kept], columns[kept], strict=True):
        one, other = (
            np.argwhere(m) * voxel for m in (reference == numbers[row], pieces == column + 1)
        )
        apart = np.linalg.norm(one[:, None] - other[None], axis=-1)
        far.append(min(max(apart.min(0).max(), apart.min(1).max()), most))
    h = sum(1.01 ** (-d / np.linalg.norm(voxel)) for d in far)
    total = float(iou[rows, columns].sum())
    return (int(kept.sum()), len(far), round(total, 4)), float(h)


def test_equals_the_definition() -> None:
    reference, predicted = crowd(4)
    voxel = (8.0, 4.0, 4.0)
    (true, count, total), h = naive(reference, predicted, voxel)
    found = score_instances(reference, predicted, voxel)
    assert (found.true_positives, found.count) == (true, count)
    assert found.distances == pytest.approx(h, rel=1e-9)
    # and the assignment has the largest sum of IoU
    pairs = overlap_of(reference, pieces_of(predicted)[0])
    assert pairs.iou[assigned(pairs)].sum() == pytest.approx(total, abs=1e-3)


def test_semantic_classes() -> None:
    reference, predicted = cubes(A, B), cubes(A, C)
    found = score_semantic(reference, predicted, (7, 11, 40))
    assert found == score_semantic(reference, predicted) == Semantic(216, 216, 216)
    assert found.score == 1 / 3
    assert (found + Semantic(0, 0, 432)).score == 216 / 1080
    assert score_semantic(cubes(), cubes()).score == 1.0
