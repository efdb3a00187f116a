"""What of images and labels a training takes for contrast and for cells, and how it counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from torch import nn

from terapose.apps.evaluate import scores
from terapose.apps.train import score
from terapose.apps.train.data import Item, items_of, make_item, median_diameter, normalise
from terapose.apps.train.dataset import read_dataset
from terapose.apps.train.files import find_pairs
from terapose.core.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

EDGE, STEP, RADIUS = 160, 40, 6
Y, X = np.mgrid[:EDGE, :EDGE]
ROW, COLUMN = Y // STEP, X // STEP
INSIDE = np.hypot(Y % STEP - STEP // 2, X % STEP - STEP // 2) <= RADIUS
CELLS = np.where(INSIDE, 1 + ROW * (EDGE // STEP) + COLUMN, 0).astype(np.int32)
CLASSES = np.where(INSIDE, 1 + ROW % 2, 0).astype(np.int32)
STRAYS = CELLS.copy()
STRAYS[5::STEP, 5::STEP] = CELLS[STEP // 2 :: STEP, STEP // 2 :: STEP]
"""Sixteen discs; two numbers for all of them; a single pixel far from each disc with its number."""


def write(folder: Path, image: NDArray[Any], labels: NDArray[Any], **metadata: Any) -> Path:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / "a.tif", image, **metadata)
    tifffile.imwrite(folder / "a_masks.tif", labels)
    return folder


def items(folder: Path, **options: Any) -> list[Item]:
    (pair,) = find_pairs(folder)
    return items_of(pair, 0, **options)


# -- intensities ------------------------------------------------------------------------------


def noisy() -> NDArray[np.float64]:
    grain = np.random.default_rng(0).integers(0, 20, CELLS.shape)
    return np.where(INSIDE, 100.0, 0.0) + grain


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ((noisy() * 1e-6).astype(np.float32), "so little contrast that Cellpose would treat it"),
        ((noisy() + 3e9).astype(np.uint32), "differences between intensities are lost in 32-bit"),
        (noisy() * 1e300, "too large for 32-bit numbers"),
    ],
    ids=["faint", "offset", "large"],
)
def test_intensities_that_segment_refuses(
    tmp_path: Path, image: NDArray[Any], sentence: str
) -> None:
    good = noisy().astype(image.dtype)
    folder = write(tmp_path / "a", np.stack([good, image]), CELLS)
    with pytest.raises(InputError, match=rf"a\.tif, channel 2: .*{sentence}") as refused:
        items(folder, limit=2)
    assert "lowhigh" not in str(refused.value)
    with pytest.raises(InputError, match=rf"a\.tif, channel 2: .*{sentence}"):
        items(folder, channels=(2,))
    assert items(folder, channels=(1,))[0].image.any()


def test_faint_volumes_are_refused(tmp_path: Path) -> None:
    volume = np.stack([noisy()] * 5).astype(np.float32) * np.float32(1e-6)
    folder = write(tmp_path / "a", volume, np.stack([CELLS] * 5))
    with pytest.raises(InputError, match=r"channel 1: .*so little contrast"):
        items(folder, voxel_size=(1.0, 1.0, 1.0))


def test_what_is_constant_becomes_zeros(tmp_path: Path) -> None:
    """A channel, nearly all of one, and a plane of a volume."""
    for dtype, value in ((np.uint8, 0), (np.uint32, 3_000_000_000), (np.float64, 0.1)):
        flat = np.full(CELLS.shape, value, dtype)
        assert not normalise(flat).any()
        flat[:1, :9] = value // 2 if value else 7
        assert not normalise(flat).any()
    good = noisy().astype(np.uint16)
    (item,) = items(write(tmp_path / "a", np.stack([good, good * 0]), CELLS), limit=2)
    assert item.image[0].any() and not item.image[1].any()
    volume = np.stack([good, good * 0, good, good, good])
    folder = write(tmp_path / "v", volume, np.stack([CELLS] * 5))
    planes = items(folder, voxel_size=(1.0, 1.0, 1.0), plane_step=1)
    constant = [np.ptp(item.image) == 0 for item in planes if ":YX" in item.name]
    assert constant == [False, True, False, False, False]


def test_values_are_those_of_a_segmentation() -> None:
    image = noisy().astype(np.uint16)
    low, high = np.percentile(image, (1, 99)).astype(np.float32)
    np.testing.assert_array_equal(
        normalise(image), (image.astype(np.float32) - low) / (high - low), strict=True
    )


# -- cells ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [CELLS, CLASSES, STRAYS], ids=["cells", "classes", "strays"])
def test_diameter_is_that_of_the_cells(tmp_path: Path, labels: NDArray[np.int32]) -> None:
    """Of numbers that several cells have, of strays, in planes and in volumes."""
    image = noisy().astype(np.uint16)
    expected = median_diameter(CELLS)
    (item,) = items(write(tmp_path / "a", image, labels))
    assert item.diameter == expected == pytest.approx(2 * RADIUS, rel=0.05)
    assert len(np.unique(item.labels)) == 17  # and the background
    volume = write(tmp_path / "v", np.stack([image] * 5), np.stack([labels] * 5))
    planes = items(volume, voxel_size=(1.0, 1.0, 1.0), plane_step=2)
    assert {plane.diameter for plane in planes} == {expected}
    # everything that has a label is trained on
    np.testing.assert_array_equal(item.target[2] > 0, labels > 0)


def test_a_cell_of_few_pixels_is_a_cell() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:4, 2:4] = labels[9:10, 9:11] = 4  # the larger of two parts
    labels[12:16, 12:17] = labels[2:6, 12:16] = 5  # both
    item = make_item("", 0, np.zeros((1, 20, 20), np.float32), labels)
    ids, sizes = np.unique(item.labels[item.labels > 0], return_counts=True)
    assert len(ids) == 3 and sorted(sizes.tolist()) == [4, 16, 20]
    full = make_item("", 0, np.zeros((1, 20, 20), np.float32), np.ones((20, 20), np.int32))
    assert (full.labels == 1).all()


# -- scores -----------------------------------------------------------------------------------


def scored(monkeypatch: pytest.MonkeyPatch, labels: NDArray[Any], found: NDArray[Any]) -> float:
    """Average precision at 0.5 as a training computes it, of a network that finds ``found``."""
    monkeypatch.setattr(score, "_predict", lambda *_: (found, 0))
    monkeypatch.setattr(score, "_masks", lambda output, steps: output)
    item = make_item("", 0, np.zeros((1, *labels.shape), np.float32), labels)
    return score.average_precision(nn.Identity(), [item], (0.5,))[0]


def test_scores_are_those_of_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    crowded = (ROW * (EDGE // STEP) + COLUMN + 1).astype(np.int32)  # without any background
    some = np.where(CELLS > 4, CELLS, 0).astype(np.int32)
    for labels, found in ((CELLS, some), (STRAYS, CELLS), (crowded, crowded), (crowded, CELLS)):
        expected = scores.average_precision(labels, found, (0.5,)).average_precision[0]
        assert scored(monkeypatch, labels, found) == expected
    assert scored(monkeypatch, CLASSES, CELLS) == 1.0


def test_small_masks_are_dropped_as_in_a_segmentation() -> None:
    item = make_item("", 0, np.zeros((1, *CELLS.shape), np.float32), CELLS)
    dot = np.pad(np.ones((3, 3), np.int32), 18)
    small = make_item("", 0, np.zeros((1, *dot.shape), np.float32), dot)
    for target, count in ((item.target, 16), (small.target, 0)):
        output = np.concatenate([5 * target[:2], 20 * target[2:] - 10]).astype(np.float32)
        assert score._masks(output, 100).max() == count


def test_data_are_read_into_items_with_digests(tmp_path: Path) -> None:
    image = noisy().astype(np.uint16)
    digests = []
    for changed, labels in (
        (image, CELLS),
        (image + ROW.astype(np.uint16), CELLS),
        (image, STRAYS),
    ):
        folder = write(tmp_path / "a", changed, labels)
        digests += [item.digest for item in read_dataset([folder]).training]
    assert len(set(digests)) == 3 and all(len(digest) == 64 for digest in digests)
