"""Names of axes are taken as they are: none is dropped where one of them says anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from tests.checks import assert_refused
from tests.io.test_n5 import group, write_n5
from tests.synthetic import voxels, write_ome_zarr, write_zarr

from terapose.io.images.opening import open_image

ARRAY = voxels(5, 33, 47)
KINDS = ["zarr 2", "zarr 3", "ome-zarr", "hdf5", "hdf5 labels", "axistags", "n5"]


def _write(folder: Path, kind: str, names: Sequence[str], array: np.ndarray = ARRAY) -> Path:
    """An array whose file has names for its axes."""
    if kind.startswith("zarr"):
        version: Any = int(kind[-1])
        return write_zarr(folder / "a.zarr", array, version=version, dimension_names=names)
    if kind == "ome-zarr":
        path = write_ome_zarr(folder / "a.zarr", array)
        document = json.loads((path / "zarr.json").read_text())
        axes = document["attributes"]["ome"]["multiscales"][0]["axes"]
        for axis, name in zip(axes, names, strict=True):
            axis |= {"name": name, "type": "space"}
        (path / "zarr.json").write_text(json.dumps(document))
        return path
    if kind == "n5":
        path = group(folder / "a.n5", n5="2.0.0")
        write_n5(path / "raw", array, axes=[*names][::-1], resolution=[1, 1, 1])
        return path
    with h5py.File(folder / "a.h5", "w") as file:
        raw = file.create_dataset("raw", data=array)
        if kind == "hdf5 labels":
            for dimension, name in zip(raw.dims, names, strict=True):
                dimension.label = name
        elif kind == "axistags":
            raw.attrs["axistags"] = json.dumps({"axes": [{"key": name} for name in names]})
        else:
            raw.attrs["axes"] = list(names)
    return folder / "a.h5"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["rows", "columns", "slices"], "YXZ"),
        (["planes", "rows", "cols"], "ZYX"),
        (["row", "col", "plane"], "YXZ"),
        (["channels", "height", "width"], "CYX"),
        (["frames", "y", "x"], "TYX"),
    ],
)
def test_names_in_the_plural(tmp_path: Path, names: list[str], read: str, kind: str) -> None:
    time = 1 if "T" in read else None
    assert open_image(_write(tmp_path, kind, names), time=time).layout.read == read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "names",
    [
        ["m", "y", "x"],
        ["s", "y", "x"],
        ["p", "y", "x"],
        ["a", "y", "x"],
        ["n", "y", "x"],
        ["tile", "y", "x"],
        ["cycle", "y", "x"],
        ["z", "latitude", "longitude"],
        ["lines", "pixels", "slice"],
        ["z", "c", "column_of_tiles"],
    ],
)
def test_other_names_are_no_guess(tmp_path: Path, names: list[str], kind: str) -> None:
    """They were dropped, or read by their first letter, and the array as a volume."""
    path = _write(tmp_path, kind, names)
    assert_refused(r"the image has (an axis|axes) .*; give them with the parameter axes", path)
    assert open_image(path, axes="CYX").layout.read == "CYX"


@pytest.mark.parametrize("kind", ["zarr 2", "zarr 3", "hdf5", "hdf5 labels"])
@pytest.mark.parametrize("names", [["dim_0", "dim_1", "dim_2"], ["phony_dim_0"] * 3, ["d0"] * 3])
def test_names_that_say_nothing(tmp_path: Path, names: list[str], kind: str) -> None:
    image = open_image(_write(tmp_path, kind, names))
    assert (image.axes, image.layout.read) == ("QYX", "ZYX")
    assert "does not say what its axis of 5 is" in image.layout.note


def test_more_names_than_axes(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", ARRAY, version=2)
    zarr.open_array(str(path)).attrs["_ARRAY_DIMENSIONS"] = ["c", "z", "y", "x"]
    assert_refused("names of axes do not fit the array; got c, z, y, x for an array of 3", path)
    assert open_image(path, axes="CYX").layout.read == "CYX"


def test_imagej_attributes_of_another_array(tmp_path: Path) -> None:
    array = voxels(2, 5, 33, 47)
    told: dict[str, Any] = {"numChannels": 5, "numSlices": 2, "numFrames": 1}
    right = write_n5(tmp_path / "a.n5", array, blocks=(1, 2, 16, 16), **told)
    assert open_image(right).layout.read == "ZCYX"
    for wrong in ({"numChannels": 2, "numSlices": 5}, {"numChannels": 3}, {"numSlices": 1}):
        path = write_n5(tmp_path / "b.n5", array, blocks=(1, 2, 16, 16), **{**told, **wrong})
        assert_refused("give them with the parameter axes", path)
        assert open_image(path, axes="CZYX").layout.read == "CZYX"
