"""Images into which no label images can be written are refused before anything is computed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.command import Terapose
from tests.in_image import (
    other,
    pixels,
    placed,
    tree,
)
from tests.synthetic import write_ome_zarr, write_tiff, write_zarr


def _plain(folder: Path) -> Path:
    return write_zarr(folder / "plain.zarr", pixels())


def _tiff(folder: Path) -> Path:
    write_tiff(folder / "image.tif", pixels())
    return folder / "image.tif"


def _zipped(folder: Path) -> Path:
    placed(folder / "zipped" / "image.zarr")
    return Path(shutil.make_archive(str(folder / "image.zarr"), "zip", folder / "zipped"))


def _timed(folder: Path) -> Path:
    return write_ome_zarr(folder / "t.zarr", np.stack([pixels()] * 2), axes="tzyx")


def _older(folder: Path) -> Path:
    return placed(folder / "older.zarr", "0.4")


def _foreign(folder: Path) -> Path:
    other(image := placed(folder / "image.zarr"), name="cells")
    return image


def _linked(folder: Path) -> Path:
    (folder / "elsewhere").mkdir()
    (placed(folder / "image.zarr") / "labels").symlink_to(folder / "elsewhere")
    return folder / "image.zarr"


def _linked_inside(folder: Path) -> Path:
    other(image := placed(folder / "image.zarr"), name="mine")
    (image / "labels/cells").symlink_to(image / "labels/mine")
    return image


def _in_the_way(folder: Path) -> Path:
    (placed(folder / "image.zarr") / "labels").touch()
    return folder / "image.zarr"


def _damaged(folder: Path) -> Path:
    other(image := placed(folder / "image.zarr"))
    (image / "labels/zarr.json").write_text('{"attributes": {"ome": {"labels": "cells"}}}')
    return image


def _of_zarr_2(folder: Path) -> Path:
    other(image := placed(folder / "image.zarr"), "0.4")
    return image


def _unknown_unit(folder: Path) -> Path:
    return placed(folder / "image.zarr", voxel_size=(2.0, 3.0, 3.0), unit="pixel")


def _placed(folder: Path) -> Path:
    return placed(folder / "image.zarr")


_ONLY = "OME-Zarr 0.4 or 0.5, in a local folder or on an object store"
REFUSED: list[tuple[Any, str, str]] = [
    (_plain, "", f"an image of the format zarr; allowed: {_ONLY}"),
    (_tiff, "", f"an image of the format tiff; allowed: {_ONLY}"),
    (_zipped, "", f"a ZIP archive; allowed: {_ONLY}"),
    (_timed, "--time 1", "2 time points; leave out labels_in"),
    (_older, "", "an image of version 0.4, label images of version 0.5; give ome_zarr_version 0.4"),
    (_foreign, "", "attributes without the key terapose in its zarr.json; move it away"),
    (_linked, "", "a symbolic link; allowed: a folder; move it away"),
    (_linked_inside, "", "a symbolic link; allowed: a folder; move it away"),
    (_in_the_way, "", "a file; allowed: a folder; move it away"),
    (_damaged, "", "the metadata of the labels group cannot be understood"),
    (_of_zarr_2, "", "the labels group is of another Zarr format than the image"),
    (_unknown_unit, "", "scales in units that are not known"),
    (_unknown_unit, "--voxel-size 2,3,3", "2, 3, 3 micrometres; the metadata give none"),
    (_placed, "--voxel-size 2,1,1", "2, 1, 1 micrometres; the metadata give 2, 0.5, 0.5"),
    (_placed, "--axes zyx", "leave out axes"),
]


@pytest.mark.parametrize(("make", "words", "wanted"), REFUSED)
def test_refused_before_anything_is_computed(
    tmp_path: Path, tiny_model: Path, command: Terapose, make: Any, words: str, wanted: str
) -> None:
    image = make(tmp_path)
    before = tree(tmp_path)
    given = ("--model", tiny_model, "--labels-in", "image", *words.split())
    said = command.refuses("check", image, *given)
    assert wanted in said
    assert command.refuses("segment", image, tmp_path / "out", *given) == said
    assert tree(tmp_path) == before
    if make is not _timed:  # without, it is an image like others
        assert command("check", image, "--model", tiny_model, *words.split()).code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_image_that_cannot_be_written_to(tmp_path: Path, command: Terapose) -> None:
    image = placed(tmp_path / "image.zarr")
    image.chmod(0o500)
    said = command.refuses("check", image, "--labels-in", "image")
    assert "label images cannot be written here" in said
    image.chmod(0o700)


def test_images_of_web_servers_are_refused(
    tmp_path: Path, server: str, tiny_model: Path, command: Terapose
) -> None:
    placed(tmp_path / "image.zarr")
    given = ("--model", tiny_model, "--labels-in", "image")
    said = command.refuses("check", f"{server}/image.zarr", *given)
    assert "an address that cannot be written to" in said
