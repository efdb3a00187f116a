"""Datasets of HDF5 files by name; their axes and voxel sizes as attributes have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.checks import assert_refused, same
from tests.hdf5_files import VOLUME, opens_again, write
from tests.synthetic import voxels

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image

LENGTHS = {"T": 3, "C": 2, "Z": 5, "Y": 33, "X": 47}


def as_czyx(array: np.ndarray, axes: str, time: int = 0) -> np.ndarray:
    """The oracle: NumPy's transpose of the whole array."""
    if "T" in axes:
        array, axes = array.take(time, axes.index("T")), axes.replace("T", "")
    array = array.transpose([axes.index(axis) for axis in "CZYX" if axis in axes])
    lengths = dict(zip((axis for axis in "CZYX" if axis in axes), array.shape, strict=True))
    return array.reshape([lengths.get(axis, 1) for axis in "CZYX"])


def axistags(axes: str, **resolutions: float) -> str:
    """As vigra's AxisTags.toJSON writes them."""
    entries = [
        {
            "key": axis,
            "typeFlags": {"c": 1, "t": 8}.get(axis, 2),
            "resolution": resolutions.get(axis, 0),
            "description": "",
        }
        for axis in axes.lower()
    ]
    return json.dumps({"axes": entries}, indent=2)


# -- what the axes are ------------------------------------------------------------------------


def by_axistags(dataset: Any, axes: str) -> None:
    dataset.attrs["axistags"] = axistags(axes)


def by_bytes(dataset: Any, axes: str) -> None:
    dataset.attrs["axistags"] = np.bytes_(axistags(axes))


def by_labels(dataset: Any, axes: str) -> None:
    for dimension, axis in zip(dataset.dims, axes.lower(), strict=True):
        dimension.label = axis


def by_words(dataset: Any, axes: str) -> None:
    words = {"T": "time", "C": "channel", "Z": "depth", "Y": "row", "X": "column"}
    for dimension, axis in zip(dataset.dims, axes, strict=True):
        dimension.label = words[axis]


def by_scales(dataset: Any, axes: str) -> None:
    for dimension, axis, length in zip(dataset.dims, axes.lower(), dataset.shape, strict=True):
        dataset.file[axis] = np.arange(length)
        dataset.file[axis].make_scale()
        dimension.attach_scale(dataset.file[axis])


def by_letters(dataset: Any, axes: str) -> None:
    dataset.attrs["axes"] = axes


def by_list(dataset: Any, axes: str) -> None:
    dataset.attrs["axis_names"] = list(axes.lower())


def by_commas(dataset: Any, axes: str) -> None:
    dataset.attrs["_ARRAY_DIMENSIONS"] = ", ".join(axes.lower())


SAID = [by_axistags, by_bytes, by_labels, by_words, by_scales, by_letters, by_list, by_commas]


@pytest.mark.parametrize("axes", ["ZYXC", "CYX", "YXC", "TZYXC", "XYZ", "TYX", "YX"])
@pytest.mark.parametrize("say", SAID)
def test_axes_that_the_file_says(
    tmp_path: Path, say: Callable[[Any, str], None], axes: str
) -> None:
    array = voxels(*(LENGTHS[axis] for axis in axes))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        say(file.create_dataset("exported_data", data=array), axes)
    image = open_image(tmp_path / "a.h5", time=2 if "T" in axes else None)
    assert (image.axes, image.layout.note) == (axes, "")
    assert same(image, as_czyx(array, axes, time=1))
    assert opens_again(image)


@pytest.mark.parametrize("last", [1, 2])
def test_the_channel_axis_that_ilastik_adds(tmp_path: Path, last: int) -> None:
    array = voxels(24, 33, 47, last)
    image = open_image(write(tmp_path / "a.h5", array=array, axistags=axistags("zyxc")))
    assert (image.shape, image.channels) == ((24, 33, 47), last)
    assert same(image, as_czyx(array, "ZYXC"))


@pytest.mark.parametrize(
    "attributes",
    [{}, {"axes": "seconds"}, {"axes": [1.0, 2.0]}, {"axis_names": ["dim_0", "dim_1", "dim_2"]}],
)
def test_axes_that_are_not_said(tmp_path: Path, attributes: dict[str, Any]) -> None:
    image = open_image(write(tmp_path / "a.h5", **attributes))
    assert image.axes == "QYX" and "read as 5 planes along Z" in image.layout.note


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"axistags": axistags("yxc") + "}"}, "attribute axistags does not fit .* JSONDecodeError"),
        ({"axistags": axistags("zyxc")}, "axistags does not fit .* zyxc for an array of 3 axes"),
        ({"axistags": '{"axes": 3}'}, "axistags does not fit the array; got TypeError"),
        ({"axes": "ZCYX"}, "attribute axes does not fit .* ZCYX for an array of 3 axes"),
    ],
)
def test_axes_that_do_not_fit(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.h5", **attributes)
    assert_refused(message + ".* with the parameter axes", path)
    assert same(open_image(path, axes="CYX"), VOLUME[:, None])


# -- how large a voxel is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "sizes", "expected"),
    [
        ("ZYX", [2.0, 0.5, 0.25], (2.0, 0.5, 0.25)),
        ("ZYXC", [2.0, 0.5, 0.25], (2.0, 0.5, 0.25)),
        ("TCZYX", [2.0, 0.5, 0.25], (2.0, 0.5, 0.25)),
        ("CZYX", [1.0, 2.0, 0.5, 0.25], (2.0, 0.5, 0.25)),
        ("TZYXC", [9.0, 2.0, 0.5, 0.25, 1.0], (2.0, 0.5, 0.25)),
        ("YX", [0.5, 0.25], (0.5, 0.5, 0.25)),
        ("YX", [0.0, 0.5, 0.25], (0.5, 0.5, 0.25)),
        ("ZYX", [0.0, 0.5, 0.25], None),
        ("ZYX", [1.0, float("nan"), 0.25], None),
        ("ZYX", [2.0, 0.5, 0.25, 1.0], None),
        ("ZYX", "unknown", None),
    ],
)
def test_element_sizes(tmp_path: Path, axes: str, sizes: Any, expected: Any) -> None:
    array = voxels(*(LENGTHS[axis] for axis in axes))
    path = write(tmp_path / "a.h5", array=array, axes=axes, element_size_um=sizes)
    assert open_image(path, time=1 if "T" in axes else None).voxel_size == expected


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"z": "micron", "y": "nm", "x": "µm"}, (2.0, 0.5, 0.25)),
        ({"z": "", "y": "nm", "x": "µm"}, None),
        (None, None),
    ],
)
def test_resolutions_of_axistags(
    tmp_path: Path, units: dict[str, str] | None, expected: Any
) -> None:
    attributes = {"axistags": axistags("zyxc", z=2.0, y=500, x=0.25, c=3)}
    if units:
        attributes["axis_units"] = json.dumps(units)
    path = write(tmp_path / "a.h5", array=VOLUME[..., None], **attributes)
    assert open_image(path).voxel_size == expected


# -- which dataset ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["position", "wavelength", "batch"])
def test_an_axis_of_another_name_is_no_z(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("raw", data=np.ones((4, 64, 64), np.uint16))
        dataset.attrs["_ARRAY_DIMENSIONS"] = [name, "y", "x"]
    with pytest.raises(InputError, match="give them with the parameter axes"):
        open_image(tmp_path / "a.h5")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A file with two images, and datasets that are none."""
    path = write(tmp_path / "a.h5", "dapi", VOLUME)
    write(path, "stains/membrane", VOLUME // 2)
    with h5py.File(path, "a") as file:
        file["histogram"] = np.arange(9)
        file["table"] = np.zeros((3, 3), [("a", "f4"), ("b", "i4")])
        file["number"], file["text"] = 3, "dapi"
        file["nothing"] = h5py.Empty("f4")
        file["mask"] = np.zeros((5, 6), bool)
    return path


@pytest.mark.parametrize(
    ("inside", "series", "expected"),
    [
        ("", "1", 1),
        ("", "2", 2),
        ("", "dapi", 1),
        ("", "/stains/membrane", 2),
        ("dapi", "", 1),
        ("dapi", "1", 1),
        ("stains/membrane", "", 2),
        ("stains", "", 2),
        ("stains", "1", 2),
        ("stains", "stains/membrane", 2),
    ],
)
def test_the_dataset_that_is_named(several: Path, inside: str, series: str, expected: int) -> None:
    image = open_image(several / inside, series=series)
    assert same(image, VOLUME[None] // expected)
    assert opens_again(image)
    names, number = image.series
    assert names[number].strip("/") == ("dapi", "stains/membrane")[expected - 1]


@pytest.mark.parametrize(
    ("inside", "series", "message"),
    [
        ("", "", r"several datasets .* 1 \(dapi: 5 x 33 x 47 uint16\), 2 \(stains/membrane: 5 x"),
        ("", "3", r"no such image in the file; got series 3; allowed: 1 \(dapi\), 2 \(stains"),
        ("", "gfp", r"no such dataset; got gfp; allowed: dapi, histogram, .* stains"),
        ("stains/gfp", "", r"no such dataset; got stains/gfp; allowed: membrane"),
        ("dapi/raw", "", r"no such dataset; got dapi/raw; name"),
        ("dapi", "2", r"no such image in the file; got series 2; allowed: 1 \(dapi\)"),
        ("", "stains", r"several datasets .* got series stains, a group"),
        ("histogram", "", r"is not an image; got histogram: 9 int64"),
        ("number", "", r"is not an image; got number: no axes"),
        ("text", "", r"is not an image; got text: no axes"),
        ("nothing", "", r"is not an image; got nothing: no axes"),
        ("table", "", r"voxels of this type cannot be read"),
        ("mask", "", r"voxels of this type cannot be read"),
    ],
)
def test_datasets_that_are_not_there_or_no_images(
    several: Path, inside: str, series: str, message: str
) -> None:
    assert_refused(message, several / inside, series=series)


def test_a_file_without_images(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["table"] = np.arange(4)
    assert_refused("holds no image: no dataset of numbers in two axes", tmp_path / "a.h5")


def test_the_dataset_raw_is_taken_of_several(several: Path) -> None:
    write(several, "raw", VOLUME[:, ::-1])
    image = open_image(several)
    assert same(image, VOLUME[None, :, ::-1])
    assert image.series == (("dapi", "raw", "stains/membrane"), 1)


def test_there_is_one_level(several: Path) -> None:
    assert_refused("no such pyramid level; got 1; allowed: 0", several / "dapi", level=1)
