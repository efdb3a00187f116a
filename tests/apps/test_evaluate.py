"""Scores equal Cellpose's, whatever the blocks, and hold at the edges."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner
from scipy.ndimage import zoom

from terapose.apps.evaluate.scores import average_precision, compare
from terapose.cli.evaluate import command
from terapose.core.errors import InputError

THRESHOLDS = (0.3, 0.5, 0.6, 0.75, 0.9)


def labels_pair(seed: int, shape: tuple[int, ...] = (12, 40, 40)) -> tuple[Any, Any]:
    """Two label images of blobs that agree in part: shifted, merged, split, missing, added."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 60, [max(1, n // 6) for n in shape])
    coarse[0, 0] = 0  # Cellpose counts an instance too few where there is no background
    reference = zoom(coarse, [n / m for n, m in zip(shape, coarse.shape, strict=True)], order=0)
    predicted = np.roll(reference, rng.integers(0, 3, reference.ndim), range(reference.ndim))
    predicted[predicted == 3] = 4
    predicted[predicted == 5] = 0
    predicted[(predicted == 7) & (rng.random(shape) < 0.5)] = 200
    predicted[rng.random(shape) < 0.05] = 0
    return reference, predicted


@pytest.mark.parametrize("seed", range(6))
def test_equals_cellpose(seed: int) -> None:
    cellpose_metrics = pytest.importorskip("cellpose.metrics")
    reference, predicted = labels_pair(seed)
    expected = cellpose_metrics.average_precision(reference, predicted, list(THRESHOLDS))
    scores = average_precision(reference, predicted, THRESHOLDS)
    assert np.any(np.diff(scores.true_positives))  # the thresholds tell images apart
    np.testing.assert_allclose(scores.average_precision, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(scores.true_positives, expected[1])
    np.testing.assert_array_equal(scores.false_positives, expected[2])
    np.testing.assert_array_equal(scores.false_negatives, expected[3])


def test_ties_at_one_half_match_one_to_one() -> None:
    cellpose_metrics = pytest.importorskip("cellpose.metrics")
    # Instance 1 is cut in equal halves, both with IoU 0.5; 2 and 3 are two halves merged.
    reference = np.array([0, 1, 1, 1, 1, 0, 2, 2, 3, 3, 0])
    predicted = np.array([0, 8, 8, 9, 9, 0, 4, 4, 4, 4, 0])
    expected = cellpose_metrics.average_precision(reference, predicted, [0.5])
    scores = average_precision(reference, predicted, [0.5])
    assert scores.true_positives == (2,) == tuple(expected[1])
    assert scores.mean_iou == 0.5
    assert scores.panoptic_quality == pytest.approx(2 * 0.5 / 3)


@pytest.mark.parametrize("block", [(12, 40, 40), (5, 7, 40), (1, 13, 11)])
def test_blocks_change_nothing(block: tuple[int, int, int], tmp_path: Any) -> None:
    reference, predicted = labels_pair(1)
    stored = zarr.create_array(str(tmp_path / "p.zarr"), data=predicted.astype("uint32"))
    seen: list[tuple[int, int]] = []
    scores = compare(
        reference, stored, block, thresholds=THRESHOLDS, progress=lambda *done: seen.append(done)
    )
    assert scores == average_precision(reference, predicted, THRESHOLDS)
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_perfect_and_numbers_by_hand() -> None:
    labels = np.zeros((2, 4, 4), np.uint64)
    labels[0, :2, :2], labels[1, 2:, 2:] = 7, 2**40 + 1
    perfect = average_precision(labels, labels)
    assert perfect.average_precision == (1.0, 1.0, 1.0)
    assert (perfect.panoptic_quality, perfect.mean_iou, perfect.reference) == (1.0, 1.0, 2)
    predicted = labels.copy()
    predicted[0, 0, 0] = 0  # IoU 3/4
    predicted[predicted > 2**40] = 0  # missed
    scores = average_precision(labels, predicted)
    assert scores.true_positives == (1, 1, 0)
    assert scores.average_precision == (0.5, 0.5, 0.0)
    assert scores.recall == (0.5, 0.5, 0.0)
    assert scores.precision == (1.0, 1.0, 0.0)
    assert scores.mean_iou == 0.75
    assert scores.panoptic_quality == 0.75 / 1.5


def test_without_instances() -> None:
    empty, full = np.zeros((2, 3, 3), int), np.ones((2, 3, 3), int)
    assert average_precision(full, empty).average_precision == (0.0, 0.0, 0.0)
    assert average_precision(full, empty).false_negatives == (1, 1, 1)
    assert average_precision(full, full).average_precision == (1.0, 1.0, 1.0)  # no background
    nothing = average_precision(empty, empty)
    assert math.isnan(nothing.average_precision[0])
    assert json.loads(json.dumps(nothing.as_dict(), allow_nan=False))["mean_iou"] is None


def test_bad_input_is_named() -> None:
    labels = np.ones((2, 3, 3), int)
    with pytest.raises(InputError, match="predicted: the two label images differ in shape; got 2"):
        average_precision(labels, labels[:, :2])
    with pytest.raises(
        InputError, match="reference: a label image must have whole numbers; got float64"
    ):
        average_precision(labels.astype(float), labels)
    with pytest.raises(InputError, match=r"predicted: .* whole numbers from 0 up; got -1; write 0"):
        average_precision(labels, labels - 2)
    with pytest.raises(InputError, match=r"thresholds: out of range; got 1\.5"):
        average_precision(labels, labels, [1.5])


def test_command(tmp_path: Path) -> None:
    reference, predicted = labels_pair(2)
    tifffile.imwrite(tmp_path / "a.tif", reference.astype("uint16"))
    zarr.create_array(str(tmp_path / "b.zarr"), data=predicted.astype("uint32"))
    report = tmp_path / "scores.json"
    result = CliRunner().invoke(
        command, [str(tmp_path / "a.tif"), str(tmp_path / "b.zarr"), "--json", str(report)]
    )
    assert result.exit_code == 0, result.output
    scores = average_precision(reference, predicted)
    written = json.loads(report.read_text())
    assert written | scores.as_dict() == written
    assert f"{scores.average_precision[0]:.3f}" in result.output
    assert f"{scores.reference} instances in the reference" in result.output
    wrong = CliRunner().invoke(
        command, [str(tmp_path / "a.tif"), str(tmp_path / "b.zarr"), "--json", f"{tmp_path}/no/a"]
    )
    assert "no: there is no such folder" in str(wrong.exception)


@pytest.mark.parametrize("length", [10**5, 10**9, 2**40])
def test_blocks_are_not_listed(length: int) -> None:
    """There is no room for a list of all blocks of what a file of a few bytes says it is."""

    class Endless:
        shape, dtype, read = (length,) * 3, np.dtype(np.uint8), 0

        def __getitem__(self, region: tuple[slice, ...]) -> np.ndarray:
            self.read += 1
            return np.ones([part.stop - part.start for part in region], np.uint8)

    class EnoughError(Exception):
        pass

    def stop(done: int, blocks: int) -> None:
        assert (done, blocks) == (1, -(-length // 2) * (-(-length // 4)) ** 2)
        raise EnoughError

    labels: Any = Endless()
    with pytest.raises(EnoughError):
        compare(labels, labels, (2, 4, 4), progress=stop)
    assert labels.read == 2
