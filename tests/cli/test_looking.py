"""Commands that look at a result take from its record what was segmented of the image."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from tests.command import Terapose
from tests.synthetic import write_ome_zarr

from terapose.cli.known import Known, segmented

PLANE = np.random.default_rng(0).integers(0, 900, (80, 96)).astype(np.uint16)


def _result(folder: Path, image: Path, selection: dict[str, Any], at: tuple[int, int]) -> None:
    """A table of one cell and the record beside it."""
    folder.mkdir()
    known = {"address": str(image), "selection": selection, "channels": [1]}
    record = {"image": known, "output": {"selection": selection, "voxel_size": None}}
    (folder / "provenance.json").write_text(json.dumps(record))
    (folder / "cells.csv").write_text(f"CellID,Y_centroid,X_centroid\n1,{at[0]},{at[1]}\n")


@pytest.mark.parametrize("name", ["cut", "picture"])
def test_help_is_about_an_image_that_has_been_segmented(command: Terapose, name: str) -> None:
    options = command(name, "--help").out.split("Options:")[1]
    (level,) = [line for line in options.splitlines() if line.strip().startswith("--level ")]
    # the level is that of the result, and a command takes one time point
    assert "default" not in level and "each time point" not in options
    assert not re.search(r"to segment|intensities", options)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("region", ["", "0:1,4:16,5:19"])
@pytest.mark.parametrize("labels", ["-", "labels.tif", "mask.tif"])
def test_thumbnails_are_of_the_level_of_the_table(
    tmp_path: Path, command: Terapose, level: int, region: str, labels: str
) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", PLANE, axes="yx", factors=(1, 2, 4))
    pixels = np.asarray(zarr.open_array(image / str(level), mode="r"))
    _result(tmp_path / "out", image, {"level": level, "region": region}, (9, 12))
    shape = (12, 14) if region and labels == "labels.tif" else pixels.shape
    if labels != "-":
        tifffile.imwrite(tmp_path / "out" / labels, np.ones(shape, np.uint16))
        labels = str(tmp_path / "out" / labels)
    words = (labels, tmp_path / "out/cells.csv", tmp_path / "t.zarr", "--window-size", 6)
    said = command("cut", image, *words)
    assert said.code == 0, said.err
    found = np.asarray(zarr.open_array(tmp_path / "t.zarr", mode="r"))
    np.testing.assert_array_equal(found[0, 0], pixels[6:12, 9:15])
    if labels != "-":
        said = command("picture", image, labels, tmp_path / "p.png")
        assert said.code == 0, said.err


def test_positions_are_not_taken_at_another_level(tmp_path: Path, command: Terapose) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", PLANE, axes="yx", factors=(1, 2))
    _result(tmp_path / "out", image, {"level": 1, "region": "0:1,4:16,5:19"}, (20, 22))
    table, out = tmp_path / "out/cells.csv", tmp_path / "t.zarr"
    for words in (
        ("cut", image, "-", table, out, "--window-size", 4),
        ("crop", image, out, "--around", table, "--margin", 2),
    ):
        said = command.refuses(*words, "--level", 0)
        assert f"{table}: its positions are in voxels of another level of the image" in said
        assert "level 1, which provenance.json beside it names" in said and not out.exists()
    assert command("crop", image, out, "--around", table, "--level", 1, "--margin", 2).code == 0
    pixels = np.asarray(zarr.open_array(image / "1", mode="r"))
    found = np.asarray(zarr.open_array(out / "0", mode="r"))
    np.testing.assert_array_equal(np.squeeze(found), pixels[18:23, 20:25])


def test_a_level_that_is_given_comes_first(tmp_path: Path, command: Terapose) -> None:
    """Where nothing says of which level the positions of a table are."""
    image = write_ome_zarr(tmp_path / "a.zarr", PLANE, axes="yx", factors=(1, 2))
    _result(tmp_path / "out", image, {"level": 1, "region": "0:1,4:16,5:19"}, (60, 70))
    (tmp_path / "out/cells.csv").rename(tmp_path / "cells.csv")
    words = ("-", tmp_path / "cells.csv", tmp_path / "t.zarr", "--window-size", 4)
    assert command("cut", image, *words, "--level", 0).code == 0
    found = np.asarray(zarr.open_array(tmp_path / "t.zarr", mode="r"))
    np.testing.assert_array_equal(found[0, 0], PLANE[58:62, 68:72])


def test_the_record_is_found_whatever_the_address(tmp_path: Path) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", PLANE, axes="yx", factors=(1, 2))
    _result(tmp_path / "out", image, {"level": 1}, (60, 70))
    labels = tmp_path / "out" / "labels.zarr"
    for place in (labels, f"{labels}/", f"file://{labels}", labels / "cells", labels / "nuclei/0"):
        assert segmented(str(place), str(image)).selection.level == 1, place
    assert segmented(str(tmp_path / "out/cells.csv"), str(image)).placed
    for place in (tmp_path / "labels.zarr", "https://host/out/labels.zarr", "cells.csv"):
        assert segmented(str(place), str(image)) == Known()


def test_records_that_say_nothing_of_the_image(tmp_path: Path, command: Terapose) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", PLANE, axes="yx", factors=(1, 2))
    _result(tmp_path / "out", image, {"level": 1}, (60, 70))
    record = tmp_path / "out/provenance.json"
    for text in ("{}", "[", '{"image": 3}', record.read_text().replace("a.zarr", "b.zarr")):
        record.write_text(text)
        words = ("-", tmp_path / "out/cells.csv", tmp_path / "t.zarr", "--window-size", 4)
        assert command("cut", image, *words, "--force").code == 0
        found = np.asarray(zarr.open_array(tmp_path / "t.zarr", mode="r"))
        np.testing.assert_array_equal(found[0, 0], PLANE[58:62, 68:72])
