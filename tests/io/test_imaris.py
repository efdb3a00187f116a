"""Imaris files: true lengths without their padding, channels, times, levels, extents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.checks import assert_refused, same
from tests.hdf5_files import opens_again, whole
from tests.synthetic import voxels

from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image

SHAPE = (5, 33, 47)
FACTORS = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
CHUNK = (4, 16, 16)


def characters(text: str) -> np.ndarray:
    """Text as Imaris keeps it."""
    return np.frombuffer(text.encode(), "S1")


def volume(time: int, channel: int, level: int = 0) -> np.ndarray:
    z, y, x = FACTORS[level]
    full = voxels(*SHAPE) + np.uint16(1000 * time + 100 * channel)
    return np.ascontiguousarray(full[::z, ::y, ::x])


def padded(array: np.ndarray) -> np.ndarray:
    """Filled up to whole chunks; here with a value that would be seen."""
    after = [(0, -n % c) for n, c in zip(array.shape, CHUNK, strict=True)]
    return np.pad(array, after, constant_values=65535)


def write(
    path: Path,
    *,
    times: int = 1,
    channels: int = 1,
    name: str = "DataSet",
    labels: Any = ("DAPI µ", "(name not specified)"),
    dtype: str = "uint16",
    **image: Any,
) -> Path:
    """As Imaris writes it: texts as characters, arrays with padding, true lengths beside them."""
    size = dict(zip("ZYX", map(str, SHAPE), strict=True))
    extent = {"ExtMin0": "10", "ExtMax0": "21.75", "ExtMin1": "-20", "ExtMax1": "-3.5"}
    extent |= {"ExtMin2": "0", "ExtMax2": "10.0", "Unit": "um"}
    with h5py.File(path, "a") as file:
        file.attrs["ImarisDataSet"] = characters("ImarisDataSet")
        info = file.create_group(name.replace("DataSet", "DataSetInfo"))
        for key, text in {**size, **extent, **image}.items():
            info.require_group("Image").attrs[key] = characters(text) if text else b""
        for channel in range(channels):
            group = info.create_group(f"Channel {channel}")
            group.attrs["Name"] = characters(labels[channel])
        for level in range(len(FACTORS)):
            for time in range(times):
                for channel in range(channels):
                    path_in = f"ResolutionLevel {level}/TimePoint {time}/Channel {channel}"
                    group = file.create_group(f"{name}/{path_in}")
                    data = volume(time, channel, level)
                    for axis, n in zip("ZYX", data.shape, strict=True):
                        group.attrs[f"ImageSize{axis}"] = characters(str(n))
                    group.create_dataset(
                        "Data", data=padded(data).astype(dtype), chunks=CHUNK, compression="gzip"
                    )
                    group["Histogram"] = np.arange(256, dtype="u8")
        file.require_dataset("Thumbnail/Data", (8, 32), "u1")
    return path


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("time", [1, 3])
def test_channels_times_and_levels(tmp_path: Path, time: int, level: int) -> None:
    path = write(tmp_path / "a.ims", times=3, channels=2)
    image = open_image(path, time=time, level=level)
    for channel in (1, 2):
        expected = volume(time - 1, channel - 1, level)
        np.testing.assert_array_equal(whole(image, channel), expected)
    assert (image.format, image.axes) == ("imaris", "TCZYX")
    assert (image.times, image.channels, image.level) == (3, 2, level)
    assert image.levels_shape == ((5, 33, 47), (5, 17, 24), (3, 9, 12))
    assert image.channel_names == ("DAPI µ", "channel 2")
    assert opens_again(image)


def test_regions_are_read_without_padding(tmp_path: Path) -> None:
    image = open_image(write(tmp_path / "a.ims", channels=2))
    assert same(image, np.stack([volume(0, 0), volume(0, 1)]))
    assert (image.chunks, image.is_lazy) == (CHUNK, True)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_voxel_size_and_place(tmp_path: Path, level: int) -> None:
    """The extent begins at the edge of the first voxel, whose centre lies half a voxel further."""
    image = open_image(write(tmp_path / "a.ims"), level=level)
    z, y, x = FACTORS[level]
    assert image.voxel_size == (2.0 * z, 0.5 * y, 0.25 * x)
    assert image.origin == (z, -20 + 0.25 * y, 10 + 0.125 * x)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"Unit": "mm"}, (2000.0, 500.0, 250.0)),
        ({"Unit": "nm"}, (0.002, 0.0005, 0.00025)),
        ({"Unit": ""}, (2.0, 0.5, 0.25)),
        ({"Unit": "furlong"}, None),
        ({"ExtMax0": "10"}, None),
        ({"ExtMax1": "wide"}, None),
        ({"ExtMin2": ""}, None),
    ],
)
def test_units_and_extents(tmp_path: Path, image: dict[str, Any], expected: Any) -> None:
    opened = open_image(write(tmp_path / "a.ims", **image))
    assert opened.voxel_size == expected
    assert expected or opened.origin == (0.0, 0.0, 0.0)


def test_a_single_plane(tmp_path: Path) -> None:
    path = tmp_path / "a.ims"
    with h5py.File(path, "w") as file:
        group = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        group["Data"] = volume(0, 0)[:1]
    image = open_image(path)
    assert (image.shape, image.voxel_size) == ((1, 33, 47), None)
    assert same(image, volume(0, 0)[None, :1])


def test_lengths_that_only_the_image_has(tmp_path: Path) -> None:
    """A writer that leaves out the lengths of levels: the finest is known, others are not."""
    path = write(tmp_path / "a.ims")
    with h5py.File(path, "a") as file:
        for level in range(3):
            group = file[f"DataSet/ResolutionLevel {level}/TimePoint 0/Channel 0"]
            for axis in "XYZ":
                del group.attrs[f"ImageSize{axis}"]
    image = open_image(path)
    assert (image.shape, image.levels) == (SHAPE, 1)
    assert_refused("no such pyramid level; got 1; allowed: 0", path, level=1)
    assert_refused("no such pyramid level; got 1", path / "DataSet/ResolutionLevel 1")


@pytest.mark.parametrize("length", ["48a", "0", "-3", "49", ""])
def test_lengths_that_cannot_be(tmp_path: Path, length: str) -> None:
    path = write(tmp_path / "a.ims", X=length)
    with h5py.File(path, "a") as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
        group.attrs["ImageSizeX"] = characters(length) if length else b""
    if length:
        assert_refused("damaged or incomplete; got a length of .* in an array of 48", path)
    else:
        assert open_image(path).shape == (8, 48, 48)  # nothing says that it has a padding


@pytest.mark.parametrize(
    ("inside", "options", "channel", "level"),
    [
        ("DataSet/ResolutionLevel 1/TimePoint 1/Channel 1/Data", {}, 1, 1),
        ("DataSet/ResolutionLevel 0/TimePoint 1/Channel 0", {}, 0, 0),
        ("DataSet/ResolutionLevel 2/TimePoint 1", {}, 0, 2),
        ("DataSet/ResolutionLevel 2", {"time": 2}, 0, 2),
        ("DataSet", {"time": 2, "level": 1}, 0, 1),
    ],
)
def test_addresses_that_go_on_inside(
    tmp_path: Path, inside: str, options: dict[str, Any], channel: int, level: int
) -> None:
    path = write(tmp_path / "a.ims", times=2, channels=2)
    image = open_image(path / inside, **options)
    np.testing.assert_array_equal(whole(image), volume(1, channel, level))
    assert image.channel_names[0] == ("DAPI µ", "channel 1")[channel]
    z, y, x = FACTORS[level]
    assert image.voxel_size == (2.0 * z, 0.5 * y, 0.25 * x)
    assert image.origin == (z, -20 + 0.25 * y, 10 + 0.125 * x)
    assert (image.level, image.levels) == (level, 3)
    assert opens_again(image)


def test_several_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ims", Name="left")
    write(path, name="DataSet1", Name="(name not specified)", ExtMax2="5.0")
    assert_refused(r"several images; got 1 \(left\), 2 \(DataSet1\); .*\(series\)", path)
    for series in ("2", "DataSet1"):
        image = open_image(path, series=series)
        assert image.voxel_size == (1.0, 0.5, 0.25)
        assert opens_again(image)
    image = open_image(path, series="left", level=1)
    assert image.voxel_size == (2.0, 1.0, 0.5)
    assert "imaris, series 1 of 2 (left), level 1 of 0 to 2" in "\n".join(describe(image))
    assert open_image(path / "DataSet1").voxel_size == (1.0, 0.5, 0.25)


def test_images_that_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles in files of their own, put together with links to each level."""
    monkeypatch.chdir("/")
    tile = write(tmp_path / "tile.ims")
    with h5py.File(tmp_path / "a.ims", "w") as file, h5py.File(tile) as other:
        other.copy("DataSetInfo", file, "DataSetInfo")
        for level in range(3):
            name = f"DataSet/ResolutionLevel {level}"
            file[name] = h5py.ExternalLink("tile.ims", name)
    image = open_image(tmp_path / "a.ims", level=1)
    np.testing.assert_array_equal(whole(image), volume(0, 0, 1))
    assert image.voxel_size == (2.0, 1.0, 0.5)
    tile.unlink()
    assert_refused("is missing; got tile.ims, named in a.ims", tmp_path / "a.ims")


@pytest.mark.parametrize(
    ("inside", "options", "message"),
    [
        ("", {}, r"several time points; .* time 1 to 2"),
        ("", {"time": 3}, "no such time point; got time 3; allowed: 1 to 2"),
        ("", {"time": 1, "level": 3}, "no such pyramid level; got 3; allowed: 0 to 2"),
        (
            "DataSet/ResolutionLevel 7",
            {"time": 1},
            "no such dataset; got DataSet/ResolutionLevel 7",
        ),
        (
            "DataSet/ResolutionLevel 1",
            {"time": 1, "level": 2},
            "names a level of the image already; got level 2; allowed: level 1",
        ),
        ("DataSet/ResolutionLevel 0/TimePoint 5", {}, "no such dataset; got TimePoint 5"),
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 5", {}, "no such dataset"),
        ("DataSet3", {}, "no such dataset; got DataSet3; allowed: DataSet, DataSetInfo, Thumbnail"),
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Histogram", {}, "is not an image"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, inside: str, options: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a.ims", times=2, channels=2)
    assert_refused(message, path / inside if inside else path, **options)


def test_channels_that_are_unlike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ims", channels=2)
    with h5py.File(path, "a") as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 1"]
        del group["Data"]
        group["Data"] = padded(volume(0, 0)).astype("uint8")
    assert_refused("damaged or incomplete; got .*Channel 1/Data is not like the other", path)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "float32"])
def test_types(tmp_path: Path, dtype: str) -> None:
    image = open_image(write(tmp_path / "a.ims", dtype=dtype))
    assert image.dtype == dtype
    np.testing.assert_array_equal(whole(image), volume(0, 0).astype(dtype))
