"""Results as a SpatialData store: the parts, as the libraries that it consists of read them."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
import zarr
from anndata.io import read_elem
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.runner import segment_file
from terapose.apps.simulate.scene import slide_scene
from terapose.apps.simulate.write import write
from terapose.core.params import check
from terapose.results.earlier import RECORD


def segmented(folder: Path) -> Path:
    """Results of a simulated slide, with all that goes into a store."""
    image = folder / "slide.ome.tif"
    write(slide_scene((200, 220), seed=1), image)
    values = {"mode": "2d", "diameter": 18, "table": "csv,h5ad,geojson", "expand": 2}
    segment_file(str(image), folder / "out", check(values))
    return folder / "out"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return segmented(tmp_path_factory.mktemp("slide"))


def _area(shape: bytes) -> float:
    """Area of a polygon or several in well-known binary."""
    position = 0

    def take(form: str) -> tuple[Any, ...]:
        nonlocal position
        found = struct.unpack_from(f"<{form}", shape, position)
        position += struct.calcsize(f"<{form}")
        return found

    def polygon() -> float:
        (rings,) = take("I")
        area = 0.0
        for number in range(rings):
            (corners,) = take("I")
            x, y = np.array(take(f"{2 * corners}d")).reshape(-1, 2).T
            assert x[0] == x[-1] and y[0] == y[-1]
            own = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
            area += -own if number else own
        return area

    order, kind = take("BI")
    assert order == 1 and kind in (3, 6)
    if kind == 3:
        total = polygon()
    else:
        (parts,) = take("I")
        total = 0.0
        for _ in range(parts):
            assert take("BI") == (1, 3)
            total += polygon()
    assert position == len(shape)
    return total


def test_labels_tables_and_outlines(results: Path, tmp_path: Path, command: Terapose) -> None:
    out = tmp_path / "sd.zarr"
    said = command("spatialdata", results, out, "--copy-image")
    assert said.code == 0, said.err
    assert not [line for line in said.err.splitlines() if "Warning" in line]
    group = zarr.open_group(out, mode="r", zarr_format=3)
    assert group.attrs["spatialdata_attrs"] == {"version": "0.2"}
    record: Any = group.attrs["terapose"]
    image = Path(record["image"]["address"])
    assert image == results.parent / "slide.ome.tif"
    copied = zarr.open_array(out / "images" / "image" / "0", mode="r")
    np.testing.assert_array_equal(copied[...], tifffile.imread(image))
    written = json.loads((out / "images" / "image" / "zarr.json").read_text())
    (placed,) = written["attributes"]["ome"]["multiscales"]
    assert [axis["type"] for axis in placed["axes"]] == ["channel", "space", "space"]
    for name in ("cells", "nuclei", "cytoplasm"):
        own = zarr.open_array(results / "labels.zarr" / name / "0", mode="r")
        copied = zarr.open_array(out / "labels" / name / "0", mode="r")
        np.testing.assert_array_equal(copied[...], own[...])
        about: Any = zarr.open_group(out / "labels" / name, mode="r").attrs["ome"]
        (multiscale,) = about["multiscales"]
        (placed,) = multiscale["coordinateTransformations"]
        assert placed["type"] == "identity" and placed["output"]["name"] == "global"
        assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1]
        table = zarr.open_group(out / "tables" / f"{name}_table", mode="r")
        assert table.attrs["region"] == name and table.attrs["instance_key"] == "CellID"
        found: Any = read_elem(table)
        assert list(found.obs["CellID"]) == [*range(1, len(found) + 1)] and len(found) > 20
    cells = np.asarray(zarr.open_array(results / "labels.zarr/cells/0", mode="r"))
    shapes = pq.read_table(out / "shapes" / "outlines" / "shapes.parquet")
    geo = json.loads(shapes.schema.metadata[b"geo"])
    assert geo["columns"][geo["primary_column"]]["encoding"] == "WKB"
    index = json.loads(shapes.schema.metadata[b"pandas"])["index_columns"]
    assert index == ["CellID"]
    numbers, polygons = (shapes[name].to_pylist() for name in ("CellID", "geometry"))
    areas = dict(zip(numbers, map(_area, polygons), strict=True))
    counts = np.bincount(cells.reshape(-1))
    assert areas == {n: counts[n] for n in range(1, len(counts))}


def test_outlines_of_a_stack_keep_their_planes(tmp_path: Path, command: Terapose) -> None:
    """Polygons are to have two axes, and no column z: SpatialData 0.7 then finds no extent."""
    planes = nuclei((6, 48, 56))[0][2:5]
    image = write_ome_zarr(tmp_path / "stack.zarr", planes, axes="zyx")
    values = {"mode": "2d", "diameter": 10, "table": "h5ad,geojson", "model": "nuclei-small"}
    segment_file(str(image), tmp_path / "out", check(values))
    said = command("spatialdata", tmp_path / "out", tmp_path / "sd.zarr")
    assert said.code == 0, said.err
    about: Any = zarr.open_group(tmp_path / "sd.zarr" / "shapes" / "outlines", mode="r").attrs
    (placed,) = about["coordinateTransformations"]
    assert list(about["axes"]) == ["x", "y"] and placed["type"] == "identity"
    shapes = pq.read_table(tmp_path / "sd.zarr" / "shapes" / "outlines" / "shapes.parquet")
    labels = np.asarray(zarr.open_array(tmp_path / "out" / "labels.zarr/cells/0", mode="r"))
    assert set(shapes.column_names) == {"CellID", "geometry", "plane"}
    columns = (shapes[name].to_pylist() for name in ("CellID", "geometry", "plane"))
    seen = set()
    for number, shape, plane in zip(*columns, strict=True):
        where = np.argwhere(labels == number)
        assert _area(shape) == len(where) and set(where[:, 0]) == {plane}
        seen.add(plane)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("upscale", [False, True])
def test_outlines_that_do_not_fit_the_label_image(
    tmp_path: Path, command: Terapose, caplog: pytest.LogCaptureFixture, upscale: bool
) -> None:
    """They are in pixels of level 0; packed ones are read, too."""
    plane = nuclei((6, 48, 56))[0][3].repeat(2, 0).repeat(2, 1)
    image = write_ome_zarr(tmp_path / "plane.zarr", plane, axes="yx", factors=(1, 2))
    values = {"mode": "2d", "diameter": 10, "table": "h5ad,geojson.gz", "model": "nuclei-small"}
    params = check({**values, "level": 1, "upscale": upscale})
    segment_file(str(image), tmp_path / "out", params)
    said = command("spatialdata", tmp_path / "out", tmp_path / "sd.zarr")
    assert said.code == 0, said.err
    assert ("shapes/outlines" in said.out) == upscale
    assert (tmp_path / "sd.zarr" / "shapes").exists() == upscale
    left_out = "cells.geojson.gz: outlines are left out, because they are in pixels of level 0"
    assert (left_out in caplog.text) == (not upscale)


@pytest.mark.parametrize("name", ["labels.zarr", "labels.zarr/cells", "labels.zarr/new", "."])
def test_results_are_not_replaced(
    results: Path, tmp_path: Path, command: Terapose, name: str
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(results, copied)
    said = command.refuses("spatialdata", copied, copied / name, "--overwrite")
    assert "in the place of an input, or inside it" in said
    assert command("verify", copied).code == 0


def test_the_image_is_not_replaced(results: Path, tmp_path: Path, command: Terapose) -> None:
    image = json.loads((results / RECORD).read_text())["image"]["address"]
    (tmp_path / "link.zarr").symlink_to(image)
    said = command.refuses("spatialdata", results, tmp_path / "link.zarr", "--overwrite")
    assert "in the place of an input" in said and Path(image).exists()


def test_a_file_where_a_folder_should_be(results: Path, tmp_path: Path, command: Terapose) -> None:
    (tmp_path / "file").touch()
    said = command.refuses("spatialdata", results, tmp_path / "file" / "store.zarr")
    assert said.endswith("choose another name")


def test_what_is_refused(results: Path, tmp_path: Path, command: Terapose) -> None:
    (tmp_path / "sd.zarr").mkdir()
    words = ("spatialdata", results, tmp_path / "sd.zarr")
    assert "already exists" in command.refuses(*words)
    assert "other than a Zarr group" in command.refuses(*words, "--overwrite")
    assert "there are no results" in command.refuses("spatialdata", tmp_path, tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()
