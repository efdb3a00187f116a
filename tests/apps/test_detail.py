"""Where to look at a large plane: where most cells are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from tests.synthetic import write_ome_zarr

from terapose.apps.picture import LARGEST
from terapose.apps.zoom_window import _window_sums, fullest
from terapose.cli.picture import command
from terapose.io.images.array_like import open_labels

SHAPE = (2 * LARGEST + 300, LARGEST + 900)
CELLS = (slice(2200, 2900), slice(1100, 2300))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of a patch of cells in a large plane, with a pyramid."""
    labels = np.zeros(SHAPE, np.uint32)
    rows, columns = (np.arange(size) // 40 for size in SHAPE)
    labels[CELLS] = np.add.outer(rows * 100, columns + 1)[CELLS]
    labels[::37, ::41] = 1  # a little everywhere
    path = tmp_path_factory.mktemp("slide") / "labels.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(labels, subifds=2, metadata={"axes": "YX"})
        for step in (4, 8):
            file.write(labels[::step, ::step], subfiletype=1, metadata=None)
    return path


def test_sums_are_those_of_the_windows() -> None:
    filled = np.random.default_rng(0).random((7, 9)) < 0.4
    expected = [[filled[y : y + 3, x : x + 4].sum() for x in range(6)] for y in range(5)]
    np.testing.assert_array_equal(_window_sums(filled, (3, 4)), expected)


@pytest.mark.parametrize("levels", [3, 1])
def test_the_window_is_where_the_cells_are(slide: Path, tmp_path: Path, levels: int) -> None:
    if levels == 1:
        tifffile.imwrite(tmp_path / "flat.tif", tifffile.imread(slide))
        slide = tmp_path / "flat.tif"
    labels = open_labels(slide)
    assert labels.image.levels == levels
    found = fullest(labels)
    assert found is not None and found[0] == 0
    for middle, cells in zip(found[1:], CELLS, strict=True):
        # all of the patch, but for the step of the search
        assert middle - LARGEST // 2 <= cells.start + LARGEST // 8
        assert middle + LARGEST // 2 >= cells.stop - LARGEST // 8


@pytest.mark.parametrize("named", ["0", "1"])
def test_labels_that_are_a_level_by_name(tmp_path: Path, named: str) -> None:
    """No other level can be opened by that address; the level itself tells."""
    labels = np.zeros((LARGEST + 700, LARGEST + 900), np.uint16)
    labels[1500:1700, 100:300] = 5
    step = 2 if named == "1" else 1
    whole = labels.repeat(step, 0).repeat(step, 1)
    path = write_ome_zarr(tmp_path / "a.zarr", whole, axes="yx", factors=(1, 2))
    found = fullest(open_labels(path / named))
    assert found is not None
    assert abs(found[1] - 1600) <= LARGEST // 2 and abs(found[2] - 200) <= LARGEST // 2 + 200


def test_of_a_small_plane_all_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "small.tif"
    tifffile.imwrite(path, np.eye(60, 50, dtype=np.uint8))
    assert fullest(open_labels(path)) is None


def test_the_command_looks_there(slide: Path, tmp_path: Path) -> None:
    words = [str(slide), str(slide), str(tmp_path / "p.png")]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    y, x = map(int, result.output.split("voxel 0, ")[1].split(", "))
    assert CELLS[0].start < y < CELLS[0].stop and CELLS[1].start < x < CELLS[1].stop
