"""Axes are as the file or the user says; what neither says is refused or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused
from tests.command import Terapose
from tests.synthetic import nuclei, voxels, write_ome_zarr, write_tiff, write_zarr

from terapose.core.params import check
from terapose.io.images.describe import describe
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.samples import samples_of


def _whole(image: Image) -> np.ndarray:
    every = (slice(0, image.shape[0]), slice(0, image.shape[1]), slice(0, image.shape[2]))
    return np.stack([image.read(every, channel) for channel in range(1, image.channels + 1)])


def _as_czyx(array: np.ndarray, axes: str, time: int = 0) -> np.ndarray:
    """The oracle: NumPy's transpose of the whole array."""
    if "T" in axes:
        array, axes = array.take(time, axes.index("T")), axes.replace("T", "")
    array = array.transpose([axes.index(axis) for axis in "CZYX" if axis in axes])
    lengths = dict(zip((axis for axis in "CZYX" if axis in axes), array.shape, strict=True))
    return array.reshape([lengths.get(axis, 1) for axis in "CZYX"])


def _write(path: Path, array: np.ndarray, kind: str) -> Path:
    """A file that says nothing of its axes."""
    if kind == "zarr":
        write_zarr(path, array, dimension_names=(None,) * array.ndim)  # type: ignore[arg-type]
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            quarters = tuple(-(-length // 4) for length in array.shape[-2:])
            file.create_dataset("raw", data=array, chunks=(1,) * (array.ndim - 2) + quarters)
    else:
        strips: dict[str, Any] = {"compression": "zlib", "rowsperstrip": 7}
        tiles: dict[str, Any] = {"compression": "zlib", "tile": (16, 16)}
        options = {"strips": strips, "tiles": tiles, "mapped": {}}[kind]
        tifffile.imwrite(path, array, photometric="minisblack", **options)
    return path


LENGTHS = {"T": 3, "C": 2, "Z": 5, "Y": 33, "X": 20}


@pytest.mark.parametrize("kind", ["zarr", "hdf5", "strips", "tiles", "mapped"])
@pytest.mark.parametrize("axes", ["YXC", "CYX", "ZYXC", "XYZ", "TYX", "TZYX", "CTYX", "TCZYX"])
def test_axes_that_are_given(tmp_path: Path, axes: str, kind: str) -> None:
    array = voxels(*(LENGTHS[axis] for axis in axes))
    path = _write(tmp_path / "a", array, kind)
    image = open_image(path, axes=axes, time=2 if "T" in axes else None)
    np.testing.assert_array_equal(_whole(image), _as_czyx(array, axes, time=1))
    assert (image.times, image.layout.note) == (3 if "T" in axes else 1, "")
    # whoever opens it again with what was chosen has the same image
    again = open_image(image.address, **image.selection.options)
    assert again == image and again.identity == image.identity


@pytest.mark.parametrize("kind", ["zarr", "hdf5", "mapped"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((40, 33, 2), r"and the last axis has length 2; got axes QYX .* axes: YXC or ZYX"),
        ((40, 33, 4), r"and the last axis has length 4"),
        ((96, 96, 6), r"and the last axis has length 6; got axes QYX .* axes: YXC or ZYX"),
        ((120, 90, 11), r"and the last axis has length 11"),
        ((513, 600, 64), r"and the last axis has length 64"),
        ((1000, 9, 9), r"1000 planes may be times, channels or a volume; .* TYX, CYX or ZYX"),
        ((41, 20, 9), r"41 planes may be times"),
        ((2, 5, 20, 9), r"axes Q, Q of unknown meaning; .* axes, for example ZCYX"),
        ((5, 20, 9, 2), r"axes Q, Q of unknown meaning; .* axes, for example ZYXC"),
        ((2, 2, 5, 20, 9), r"axes Q, Q, Q of unknown meaning; .* for example TZCYX"),
    ],
)
def test_axes_that_nobody_tells(tmp_path: Path, shape: Any, message: str, kind: str) -> None:
    assert_refused(message, _write(tmp_path / "a", voxels(*shape), kind))


@pytest.mark.parametrize("kind", ["zarr", "hdf5", "mapped"])
def test_planes_that_are_taken_for_a_volume_are_told(tmp_path: Path, kind: str) -> None:
    for number, shape in enumerate([(6, 96, 6), (60, 60, 20), (88, 97, 11), (30, 600, 5)]):
        assert open_image(_write(tmp_path / f"{number}", voxels(*shape), kind)).shape == shape
    image = open_image(_write(tmp_path / "a", voxels(6, 33, 20), kind))
    assert image.shape == (6, 33, 20)
    assert any("its axis of 6 is: read as 6 planes along Z" in line for line in describe(image))


@pytest.mark.parametrize("kind", ["zarr", "hdf5", "mapped"])
def test_axes_of_length_one_do_no_harm(tmp_path: Path, kind: str) -> None:
    array = voxels(1, 6, 1, 33, 20)
    path = _write(tmp_path / "a", array, kind)
    assert open_image(path).shape == (6, 33, 20)
    np.testing.assert_array_equal(_whole(open_image(path, axes="CYX")), array[0, :, 0, None])


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    """Planes of a volume are often written as time points."""
    array = voxels(6, 33, 20)
    for path in (
        write_tiff(tmp_path / "a.tif", array, kind="imagej", axes="TYX"),
        write_tiff(tmp_path / "a.ome.tif", array, kind="ome", axes="TYX"),
        write_ome_zarr(tmp_path / "a.zarr", array, axes="tyx"),
    ):
        assert_refused("several time points; got axes TYX .*; allowed: one of them: time 1", path)
        np.testing.assert_array_equal(_whole(open_image(path, axes="ZYX")), array[None])
        assert_refused("no such time point; got time 7; allowed: 1 to 6", path, time=7)
        image = open_image(path, time=6)
        np.testing.assert_array_equal(_whole(image), array[None, 5:])
        assert any("time 6 of 6" in line for line in describe(image))


def test_axes_that_do_not_fit(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", voxels(6, 33, 20), "mapped")
    assert_refused("axes do not fit the image; got axes CZYX for an array of 3", path, axes="CZYX")
    assert_refused("axes do not fit the image; got axes YX for an array of 3", path, axes="YX")


@pytest.mark.parametrize("kind", ["zarr", "ome-zarr", "tiff"])
def test_series_of_a_format_of_one_image(tmp_path: Path, kind: str) -> None:
    array = voxels(6, 33, 20)
    path = {
        "zarr": lambda: write_zarr(tmp_path / "a.zarr", array),
        "ome-zarr": lambda: write_ome_zarr(tmp_path / "a.zarr", array),
        "tiff": lambda: write_tiff(tmp_path / "a.tif", array, axes="ZYX"),
    }[kind]()
    assert open_image(path, series="1").shape == (6, 33, 20)
    for series in ("0", "2", "nuclei"):
        assert_refused(
            f"no such image in the file; got series {series}; allowed: 1", path, series=series
        )


def test_series_by_number_and_name(tmp_path: Path) -> None:
    arrays = [voxels(3, 32, 32), voxels(4, 40, 36)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for array, name in zip(arrays, ("left", "right"), strict=True):
            file.write(array, metadata={"axes": "ZYX", "Name": name}, photometric="minisblack")
    for word, array in (("1", arrays[0]), ("left", arrays[0]), ("right", arrays[1])):
        image = open_image(tmp_path / "a.ome.tif", series=word)
        np.testing.assert_array_equal(_whole(image), array[None])
    assert "format    ome-tiff, series 2 of 2 (right)" in describe(image)
    message = r"no such image in the file; got series 3; allowed: 1 \(left\), 2 \(right\)"
    assert_refused(message, tmp_path / "a.ome.tif", series="3")
    for name, array in zip("01", arrays, strict=True):
        write_ome_zarr(tmp_path / "a.zarr" / name, array)
    (tmp_path / "a.zarr/zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group",'
        ' "attributes": {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}}'
    )
    assert_refused(r"several images; got 1 \(0\), 2 \(1\); give series", tmp_path / "a.zarr")
    image = open_image(tmp_path / "a.zarr", series="2")
    assert image.address == str(tmp_path / "a.zarr")
    np.testing.assert_array_equal(_whole(image), arrays[1][None])


def test_all_time_points_are_samples(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(12, 9, 9), axes="tyx")
    samples = samples_of(str(path), check({"time": "all"}))
    assert [sample.suffix for sample in samples][::11] == ["-t001", "-t012"]
    assert [sample.params.time for sample in samples] == list(range(1, 13))
    assert samples_of(str(path), check({"time": 3}))[0].suffix == ""


def test_the_named_image_is_the_one_that_is_segmented(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any
) -> None:
    """Every stage opens the image again: what is measured must be what was named."""
    terapose = Terapose(monkeypatch, capsys)
    wanted, other = nuclei((6, 40, 44))[0], nuclei((6, 40, 44), seed=1)[0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["group/dapi"] = other, wanted
    write_ome_zarr(tmp_path / "a.zarr", np.stack([other, wanted]), axes="tzyx")
    write_zarr(tmp_path / "b.zarr", wanted, dimension_names="zyx")
    options = ("--diameter", 30, "--model", tiny_model, "--jobs", 1, "--cellprob-threshold", -9)
    tables: list[str] = []
    for image, *words in (
        (tmp_path / "b.zarr",),
        (tmp_path / "a.h5/group/dapi",),
        (tmp_path / "a.zarr", "--time", 2),
    ):
        out = tmp_path / f"out{len(tables)}"
        said = terapose("segment", image, out, *options, *words)
        assert said.code == 0, said.err
        tables.append((out / "cells.csv").read_text())
    assert len(tables[0].splitlines()) > 2
    assert tables[1:] == [tables[0]] * 2
    said = terapose("segment", tmp_path / "a.zarr", tmp_path / "all", *options, "--time", "all")
    assert (tmp_path / "all/t002/cells.csv").read_text() == tables[0]
