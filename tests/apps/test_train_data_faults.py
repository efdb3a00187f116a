"""Data from which nothing can be learnt, and options that do not go with them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from tests.discs import discs, write_cells

from terapose.apps.train.dataset import Dataset, read_dataset
from terapose.apps.train.files import find_pairs
from terapose.apps.train.settings import Settings
from terapose.apps.train.start import begin
from terapose.cli.train import command
from terapose.core.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


def read(folder: Path, **options: Any) -> Dataset:
    return read_dataset([folder], channels=(1,), **options)


def empty(path: Path) -> None:
    tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return write_cells(tmp_path / "cells", 3)


# -- cells and contrast -----------------------------------------------------------------------


def test_labels_without_any_cell(cells: Path, tmp_path: Path) -> None:
    for number in range(3):
        empty(cells / f"{number}_masks.tif")
    with pytest.raises(InputError, match=r"cells: no cell in any of 3 label images; got backgro"):
        read(cells)
    with pytest.raises(InputError, match=r"cells: no cell in the label image; got .*; check that"):
        read(cells, exclude=["1.tif", "2.tif"])
    # one cell will do, but not one that is held out
    tifffile.imwrite(cells / "1_masks.tif", discs(1)[1])
    assert len(read(cells).training) == 3
    with pytest.raises(InputError, match="no cell in any of 2 label images"):
        read(cells, holdout=["1.tif"])
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    tifffile.imwrite(volumes / "v.tif", np.stack([discs(0)[0]] * 6))
    tifffile.imwrite(volumes / "v_masks.tif", np.zeros((6, 64, 64), np.uint8))
    with pytest.raises(InputError, match="no cell in the label image"):
        read_dataset([volumes], voxel_size=(1, 1, 1))


def test_held_out_labels_without_any_cell(cells: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty(cells / "1_masks.tif")
    with caplog.at_level(logging.WARNING):
        read(cells, holdout=["1.tif", "2.tif"])
        assert not caplog.records
        read(cells, holdout=["1.tif"])
    assert "no label image that is held out has a cell: all scores will be 0" in caplog.text


def test_constant_images(cells: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        empty(cells / f"{number}.tif")
    with caplog.at_level(logging.WARNING):
        read(cells)
        assert not caplog.records
        read(cells, holdout=["2.tif"])
    assert "all images to train on are constant" in caplog.text


def test_copies_that_are_held_out(
    cells: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for end in (".tif", "_masks.tif"):
        shutil.copy(cells / f"1{end}", other / f"again{end}")
    with caplog.at_level(logging.WARNING):
        read_dataset([cells, other], channels=(1,))
        assert not caplog.records
        read_dataset([cells, other], channels=(1,), holdout=["again.tif"])
    assert "trained on and held out" in caplog.text
    assert "1.tif (folder 1) and again.tif (folder 2); exclude" in caplog.text


def test_copies_of_volumes_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.stack([discs(0)[0]] * 6))
        tifffile.imwrite(tmp_path / f"{name}_masks.tif", np.stack([discs(0)[1]] * 6))
    with caplog.at_level(logging.WARNING):
        read_dataset([tmp_path], voxel_size=(1, 1, 1), holdout=["b.tif"])
    assert ": a.tif (folder 1) and b.tif (folder 1); exclude" in caplog.text


def test_no_training_images_are_left(cells: Path) -> None:
    with pytest.raises(InputError, match=r"cells: no training.*3 found, 2 held out, 1 excluded"):
        read(cells, holdout=["0.tif", "1.tif"], exclude=["2.tif"])


def test_labels_without_an_image(tmp_path: Path) -> None:
    image, labels = discs(0)
    for kind, array in (("images", image), ("labels", labels)):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "a.tif", array)
    assert len(find_pairs(tmp_path)) == 1
    tifffile.imwrite(tmp_path / "labels" / "b.tif", labels)
    with pytest.raises(InputError, match=r"b\.tif: labels have no image; .*add its image to .*im"):
        find_pairs(tmp_path)


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["holdout", "exclude"])
@pytest.mark.parametrize("pattern", ["", ".", "./", "./."])
def test_empty_patterns(cells: Path, tmp_path: Path, option: str, pattern: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"1.tif\n{pattern}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{option}: a pattern of file names is empty; got '"):
        read(cells, **{option: [pattern]})
    if pattern:  # empty lines are none
        with pytest.raises(InputError, match=rf"{option}: a pattern .* in .*list\.txt; give the"):
            read(cells, **{option: [f"@{listed}"]})


@pytest.mark.parametrize(
    ("voxel_size", "became"),
    [
        ((0.05, 1, 1), "0 x 64 x 64"),
        ((1, 1, 1e7), "0 x 0 x 64"),
        ((1e7, 1, 1), r"6e\+07 x 64 x 64"),
        ((1e300, 1, 1e-300), r"inf x 6.4e\+301 x 64"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_voxel_sizes_that_leave_no_volume(
    tmp_path: Path, voxel_size: tuple[float, float, float], became: str, own: bool
) -> None:
    metadata: dict[str, Any] = {"axes": "ZYX"}
    for axis, size in zip("ZYX", voxel_size, strict=True):
        metadata |= {f"PhysicalSize{axis}": size} if own else {}
    name = "a.ome.tif" if own else "a.tif"
    how: dict[str, Any] = {"ome": True, "metadata": metadata} if own else {}
    tifffile.imwrite(tmp_path / name, np.stack([discs(0)[0]] * 6), **how)
    tifffile.imwrite(tmp_path / "a_masks.tif", np.stack([discs(0)[1]] * 6))
    with pytest.raises(InputError, match=rf"a(\.ome)?\.tif: the volume cannot.*{became}") as error:
        read_dataset([tmp_path], voxel_size=None if own else voxel_size)
    assert ("correct it in the file" if own else "correct --voxel-size") in str(error.value)


def test_plane_steps_that_leave_no_plane(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([discs(0)[0]] * 6))
    tifffile.imwrite(tmp_path / "a_masks.tif", np.stack([discs(0)[1]] * 6))
    with pytest.raises(InputError, match=r"a\.tif: no plane of.*got .* 128; allowed: up to 127"):
        read_dataset([tmp_path], plane_step=128, voxel_size=(1, 1, 1))
    # of which there is one
    assert read_dataset([tmp_path], plane_step=63, voxel_size=(1, 1, 1)).training


def test_numbers_beyond_all_machines(cells: Path, tmp_path: Path) -> None:
    for option in ("--seed", "--batch", "--crop"):
        given = [str(cells), "--output", str(tmp_path / "net.pth"), option, "9" * 24]
        done = CliRunner().invoke(command, given, catch_exceptions=False)
        assert done.exit_code == 2 and "is not in the range" in done.output
    with pytest.raises(InputError, match="a level of the network has too many channels; got 99999"):
        Settings(widths=(1, 99999999999, 4))


@pytest.mark.parametrize("channels", [(0,), (2, 2), (-1, 2)])
def test_channels_that_cannot_be_used(channels: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"channels: channels that .* numbers from 1, each once"):
        begin({"channels": channels}, init=None, output=Path("net.pth"))
