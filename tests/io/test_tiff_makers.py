"""TIFFs of slide scanners and microscopes: axes, names, sizes, levels, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests import makers
from tests.checks import assert_refused, same
from tests.synthetic import voxels

from terapose.io.images.opening import open_image

NAMES = [("DAPI", ""), ("Opal 520", "CD3"), ("", "CD8")]


@pytest.mark.parametrize("extra", [20, 300])
def test_qptiff(tmp_path: Path, extra: int) -> None:
    """Thumbnail, overview and label are other images, however large they are."""
    array = voxels(3, 66, 94)
    path = makers.write_qptiff(tmp_path / "a.qptiff", array, NAMES, extra=extra)
    image = open_image(path)
    assert (image.format, image.voxel_size) == ("qptiff", (0.5, 0.5, 0.25))
    assert image.channel_names == ("DAPI", "CD3", "CD8")
    assert image.series == (("Baseline", "Thumbnail", "Macro", "Label"), 0)
    assert same(image, array[:, None])
    coarse = open_image(path, level=1)
    assert (coarse.levels, coarse.voxel_size) == (2, (1.0, 1.0, 0.5))
    assert coarse.channel_names == ("DAPI", "CD3", "CD8")
    assert same(coarse, array[:, None, ::2, ::2])
    assert_refused("this is a colour image", path, series="Label")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([("", "")] * 2, ("channel 1", "channel 2")),
        ([("  ", "a"), ("b", " ")], ("a", "b")),
        ([("a", ""), ("", "")], ("a", "channel 2")),
        ([("x", "CD4"), ("x", "CD4")], ("CD4", "CD4")),
    ],
)
def test_names_in_qptiff(tmp_path: Path, names: Any, expected: Any) -> None:
    path = makers.write_qptiff(tmp_path / "a.qptiff", voxels(2, 66, 94), names)
    assert open_image(path).channel_names == expected


def test_qptiff_of_one_channel_and_without_levels(tmp_path: Path) -> None:
    array = voxels(1, 66, 94)
    path = makers.write_qptiff(tmp_path / "a.qptiff", array, [("DAPI", "")])
    assert open_image(path).channel_names == ("DAPI",)
    assert same(open_image(path, level=1), array[:, None, ::2, ::2])
    path = makers.write_qptiff(tmp_path / "b.qptiff", voxels(3, 66, 94), NAMES, factors=(1,))
    assert open_image(path).channel_names == ("DAPI", "CD3", "CD8")
    colour = voxels(1, 66, 94, 3, dtype="uint8")
    path = makers.write_qptiff(tmp_path / "c.qptiff", colour, NAMES[:1], photometric="rgb")
    assert_refused("this is a colour image.*Split Channels", path)


def test_svs(tmp_path: Path) -> None:
    array = voxels(64, 96)
    path = makers.write_svs(tmp_path / "a.svs", array)
    image = open_image(path)
    assert (image.format, image.voxel_size) == ("svs", (0.499, 0.499, 0.499))
    assert same(image, array[None, None])
    assert same(open_image(path, level=1), array[None, None, ::4, ::4])
    colour = voxels(64, 96, 3, dtype="uint8")
    path = makers.write_svs(tmp_path / "b.svs", colour, photometric="rgb")
    assert_refused("this is a colour image.*Split Channels", path)


def test_scn(tmp_path: Path) -> None:
    array = voxels(3, 64, 96)
    path = makers.write_scn(tmp_path / "a.scn", array, ["405|Empty", "488", "Cy5"])
    image = open_image(path)
    assert (image.format, image.voxel_size) == ("scn", (0.5, 0.5, 0.5))
    assert image.channel_names == ("405|Empty", "488", "Cy5")
    assert same(image, array[:, None])
    assert same(open_image(path, level=1), array[:, None, ::2, ::2])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("positions", [1, 3])
def test_lsm(tmp_path: Path, channels: int, positions: int) -> None:
    array = voxels(positions, 5, channels, 33, 47)
    names = ["Ch1-T1", "Ch2-T2"][:channels]
    path = makers.write_lsm(tmp_path / "a.lsm", array, names, positions=positions)
    for n in range(positions):
        image = open_image(path, series="" if positions == 1 else str(n + 1))
        assert (image.format, image.voxel_size) == ("lsm", (2.0, 0.5, 0.25))
        assert image.channel_names == tuple(names)
        assert same(image, array[n].swapaxes(0, 1))
    if positions > 1:
        assert_refused("the file holds several images; got 1 .*position 1", path)


@pytest.mark.parametrize(
    ("step", "unit", "calibrated", "size"),
    [
        (2.0, "um", 1, (2.0, 0.5, 0.25)),
        (2.0, "pixel", 1, None),
        (2.0, "um", 0, None),
    ],
)
def test_stk(tmp_path: Path, step: float, unit: str, calibrated: int, size: Any) -> None:
    array = voxels(5, 33, 47)
    path = tmp_path / "a.stk"
    makers.write_stk(path, array, step=step, unit=unit, calibrated=calibrated)
    image = open_image(path)
    assert (image.format, image.axes, image.voxel_size) == ("stk", "ZYX", size)
    assert same(image, array[None])


def test_stk_of_times(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    path = makers.write_stk(tmp_path / "a.stk", array, step=0.0, unit="um")
    assert_refused("several time points; got axes TYX", path)
    assert same(open_image(path, time=3), array[None, 2:3])


def test_fluoview(tmp_path: Path) -> None:
    array = voxels(2, 5, 33, 47)
    axes = [("X", 47, 0.25, "µm"), ("Y", 33, 0.5, "um"), ("Z", 5, 2.0, "um"), ("Ch", 2, 1.0, "Ch")]
    path = makers.write_fluoview(tmp_path / "a.tif", array.reshape(10, 33, 47), axes)
    image = open_image(path)
    assert (image.axes, image.voxel_size) == ("CZYX", (2.0, 0.5, 0.25))
    assert same(image, array)
    axes[3] = ("XY", 2, 0.0, "")
    path = makers.write_fluoview(tmp_path / "b.tif", array.reshape(10, 33, 47), axes)
    assert_refused("the file holds several images", path)
    assert same(open_image(path, series="2"), array[1:])


@pytest.mark.parametrize("saved", ["[1;3]", "2"])
def test_scanimage(tmp_path: Path, saved: str) -> None:
    channels = 2 if saved == "[1;3]" else 1
    array = voxels(5, channels, 33, 47)
    told = {
        "SI.hChannels.channelSave": saved,
        "SI.hChannels.channelName": "{'green' 'red' 'far red'}",
        "SI.hStackManager.framesPerSlice": 1,
        "SI.hStackManager.stackZStepSize": -2.0,
    }
    path = makers.write_scanimage(tmp_path / "a.tif", array.reshape(-1, 33, 47), told)
    image = open_image(path)
    assert image.channel_names == (("green", "far red") if channels == 2 else ("red",))
    assert image.axes == ("ZCYX" if channels == 2 else "ZYX")
    assert same(image, array.swapaxes(0, 1))


def test_planes_with_their_calibration(tmp_path: Path) -> None:
    array = voxels(33, 47)
    image = open_image(makers.write_metaxpress(tmp_path / "a.tif", array, "0.65", "um"))
    assert image.voxel_size == (0.65, 0.65, 0.65)
    assert same(image, array[None, None])
    assert (
        open_image(makers.write_metaxpress(tmp_path / "b.tif", array, "1", "")).voxel_size is None
    )
    image = open_image(makers.write_sis(tmp_path / "c.tif", array))
    assert image.voxel_size == pytest.approx((0.5, 0.5, 0.25))
    assert same(image, array[None, None])


def test_geotiff(tmp_path: Path) -> None:
    """Its lengths are those of maps."""
    array = voxels(2, 33, 47)
    tags = [
        (33550, "d", 3, (30.0, 30.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 100.0, 50.0, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    ]
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, extratags=tags, **options)
    image = open_image(tmp_path / "a.tif")
    assert (image.channels, image.voxel_size) == (2, None)
    assert same(image, array[:, None])


def test_ventana(tmp_path: Path) -> None:
    """Its tiles overlap."""
    options: dict[str, Any] = {"tile": (16, 16), "metadata": None, "photometric": "minisblack"}
    told: dict[str, Any] = {
        "software": "ScanOutputManager 1.1",
        "description": "level=0 mag=20 quality=90",
    }
    tags = [(700, 1, 8, b"<iScan/>", True)]
    array = voxels(64, 96, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.bif", array, extratags=tags, **told, **options)
    assert_refused("tiles of a Ventana BIF overlap.*bioformats2raw", tmp_path / "a.bif")


def test_ndpi(tmp_path: Path) -> None:
    """Slides of Hamamatsu are colour; one grey plane in several levels is read."""
    array = voxels(64, 96, dtype="uint8")
    tags: list[Any] = [(65420, "I", 1, 1, True), (271, "s", 0, "Hamamatsu", True)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for factor in (1, 2, 4):
            file.write(
                array[::factor, ::factor],
                tile=(16, 16),
                metadata=None,
                photometric="minisblack",
                resolution=(40000 / factor, 20000 / factor),
                resolutionunit="CENTIMETER",
                extratags=[*tags, (65421, "f", 1, 20.0 / factor, True)],
            )
        macro = np.full((40, 90, 3), 7, np.uint8)
        told = [*tags, (65421, "f", 1, -1.0, True)]
        file.write(macro, metadata=None, photometric="rgb", extratags=told)
    image = open_image(tmp_path / "a.tif")
    assert (image.format, image.levels) == ("ndpi", 3)
    assert image.voxel_size == (0.5, 0.5, 0.25)
    assert same(image, array[None, None])
