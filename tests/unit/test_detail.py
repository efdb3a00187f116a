"""The part of a large plane that a picture shows: where most cells are, or where one looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread

from terapose.detail import EDGE, _window_sums, draw, fullest
from terapose.errors import InputError
from terapose.lazy import Lazy, open_labels

SHAPE = (1, 2 * EDGE + 300, EDGE + 900)
CELLS = (slice(2200, 2900), slice(1100, 2300))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lazy, Lazy]:
    """A bright patch of cells in a large plane, and its labels with a pyramid."""
    folder = tmp_path_factory.mktemp("slide")
    labels = np.zeros(SHAPE[1:], np.uint32)
    labels = np.zeros(SHAPE[1:], np.uint32)
    rows, columns = (np.arange(size) // 40 for size in labels.shape)
    labels[CELLS] = np.add.outer(rows * 100, columns + 1)[CELLS]
    labels[::37, ::41] = 1  # a little everywhere
    tifffile.imwrite(folder / "image.tif", np.where(labels > 1, 200, 10).astype(np.uint8))
    with tifffile.TiffWriter(folder / "labels.ome.tif", ome=True) as file:
        file.write(labels, subifds=2, metadata={"axes": "YX"})
        for step in (4, 8):
            file.write(labels[::step, ::step], subfiletype=1, metadata=None)
    return open_labels(folder / "image.tif"), open_labels(folder / "labels.ome.tif")


def test_sums_are_those_of_the_windows() -> None:
    filled = np.random.default_rng(0).random((7, 9)) < 0.4
    expected = [[filled[y : y + 3, x : x + 4].sum() for x in range(6)] for y in range(5)]
    np.testing.assert_array_equal(_window_sums(filled, (3, 4)), expected)


@pytest.mark.parametrize("levels", [3, 1])
def test_the_window_is_where_the_cells_are(
    slide: tuple[Lazy, Lazy], tmp_path: Path, levels: int
) -> None:
    labels = slide[1]
    if levels == 1:
        path = tmp_path / "flat.tif"
        tifffile.imwrite(path, labels[slice(0, 1), slice(0, SHAPE[1]), slice(0, SHAPE[2])][0])
        labels = open_labels(path)
    assert labels.image.levels == levels
    _, rows, columns = fullest(labels)
    for window, cells, size in zip((rows, columns), CELLS, SHAPE[1:], strict=True):
        assert window.stop - window.start == EDGE and 0 <= window.start <= size - EDGE
        # all of the patch, but for the step of the search
        assert window.start <= cells.start + EDGE // 8 and window.stop >= cells.stop - EDGE // 8


def test_a_large_plane_is_drawn_in_part(slide: tuple[Lazy, Lazy], tmp_path: Path) -> None:
    image, labels = slide
    shown = draw(image, labels, tmp_path / "auto.png", title="slide")
    assert CELLS[0].start < shown[1] < CELLS[0].stop and CELLS[1].start < shown[2] < CELLS[1].stop
    assert draw(image, labels, tmp_path / "corner.png", at=(0, 3, 5)) == (0, EDGE // 2, EDGE // 2)
    # outlines at full resolution colour the patch; a corner has the specks alone
    coloured = [
        (np.ptp(imread(tmp_path / name)[..., :3], axis=-1) > 0.3).mean()
        for name in ("auto.png", "corner.png")
    ]
    assert coloured[0] > 0.03 and coloured[1] < 0.02


def test_a_small_plane_and_what_does_not_fit_go_to_the_whole_picture(
    slide: tuple[Lazy, Lazy], tmp_path: Path
) -> None:
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.eye(60, 50, dtype=np.uint8))
    plane = open_labels(small)
    assert draw(plane, plane, tmp_path / "small.png", at=(0, 1, 2)) == (0, 1, 2)
    with pytest.raises(InputError, match="not the shape of the image"):
        draw(slide[0], open_labels(small), tmp_path / "no.png")
    with pytest.raises(InputError, match="outside of the image"):
        draw(*slide, tmp_path / "no.png", at=(0, SHAPE[1], 0))
    assert not (tmp_path / "no.png").exists()
