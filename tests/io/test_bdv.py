"""HDF5 files of BigDataViewer and BigStitcher: views, levels, types, the XML beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.checks import assert_refused, same
from tests.hdf5_files import linked, opens_again, whole
from tests.synthetic import voxels

from terapose.io.images.describe import describe
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

FACTORS = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
SHAPE = (5, 33, 47)


def view(time: int, setup: int) -> np.ndarray:
    """Voxels of a view; half of them are above 32767."""
    return voxels(*SHAPE) + np.uint16(1000 * time + 100 * setup + 30000)


def level_of(volume: np.ndarray, level: int) -> np.ndarray:
    z, y, x = FACTORS[level]
    return volume[::z, ::y, ::x]


def write(
    path: Path,
    *,
    times: Any = (0,),
    setups: Any = (0,),
    dtype: str = "int16",
    said: str = "",
    missing: Any = (),
    levels: int = 3,
) -> Path:
    """As BigDataViewer writes it: unsigned voxels kept as signed ones."""
    with h5py.File(path, "w") as file:
        for setup in setups:
            group = file.create_group(f"s{setup:02}")
            group["resolutions"] = np.array(FACTORS[:levels], "f8")[:, ::-1]
            group["subdivisions"] = np.array([[16, 16, 4]] * levels, "i4")
            if said:
                group.attrs["dataType"] = said
            for time in times:
                for level in range(levels if (time, setup) not in missing else 0):
                    data = level_of(view(time, setup), level)
                    file.create_dataset(
                        f"t{time:05}/s{setup:02}/{level}/cells",
                        data=data.view(dtype) if dtype == "int16" else data.astype(dtype),
                        chunks=(4, 16, 16)[: data.ndim] if min(data.shape) > 3 else None,
                    )
    return path


def write_xml(path: Path, names: Any = ("nuclei",), *, target: str = "a.h5", **kind: str) -> Path:
    """As BigStitcher writes it."""
    setups = "".join(
        f"""
      <ViewSetup>
        <id>{number}</id>
        <name>{name}</name>
        <size>47 33 5</size>
        <voxelSize><unit>{kind.get("unit", "µm")}</unit><size>0.25 0.5 2.0</size></voxelSize>
        <attributes><channel>{number}</channel><tile>0</tile></attributes>
      </ViewSetup>"""
        for number, name in enumerate(names)
    )
    tag = kind.get("loader", "bdv.hdf5").removeprefix("bdv.")
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<SpimData version="0.2">
  <BasePath type="relative">.</BasePath>
  <SequenceDescription>
    <ImageLoader format="{kind.get("loader", "bdv.hdf5")}">
      <{tag} type="relative">{target}</{tag}>
    </ImageLoader>
    <ViewSetups>{setups}
      <Attributes name="channel">
        <Channel><id>0</id><name>0</name></Channel>
        <Channel><id>1</id><name>488 nm</name></Channel>
      </Attributes>
      <Attributes name="tile"><Tile><id>0</id><name>left</name></Tile></Attributes>
    </ViewSetups>
    <Timepoints type="range"><first>0</first><last>0</last></Timepoints>
  </SequenceDescription>
</SpimData>
""",
        "utf-8",
    )
    return path


def is_view(image: Image, time: int, setup: int, level: int = 0) -> bool:
    expected = level_of(view(time, setup), level)
    assert image.format == "bdv-hdf5" and image.axes == "TZYX"
    np.testing.assert_array_equal(whole(image), expected)
    return image.dtype == np.uint16 and opens_again(image)


@pytest.mark.parametrize("time", [1, 2, 3])
@pytest.mark.parametrize("series", ["1", "2", "s00", "s11"])
@pytest.mark.parametrize("level", [0, 2])
def test_views(tmp_path: Path, time: int, series: str, level: int) -> None:
    path = write(tmp_path / "a.h5", times=(0, 3, 12), setups=(0, 11))
    setup = {"1": 0, "2": 11, "s00": 0, "s11": 11}[series]
    image = open_image(path, time=time, series=series, level=level)
    assert is_view(image, (0, 3, 12)[time - 1], setup, level)
    assert image.levels_shape == ((5, 33, 47), (5, 17, 24), (3, 9, 12))
    assert (image.times, image.level) == (3, level)
    assert image.series == (("s00", "s11"), setup and 1)


def test_regions_are_read(tmp_path: Path) -> None:
    image = open_image(write(tmp_path / "a.h5"))
    assert same(image, view(0, 0)[None])
    assert (image.chunks, image.is_lazy) == ((4, 16, 16), True)


@pytest.mark.parametrize(
    ("inside", "options", "time", "level"),
    [
        ("t00001/s01/0/cells", {}, 1, 0),
        ("t00001/s01/2/cells", {}, 1, 2),
        ("t00001/s01/2", {}, 1, 2),
        ("t00001/s01", {"level": 1}, 1, 1),
        ("t00001", {"series": "2", "level": 2}, 1, 2),
        ("s01", {"time": 1}, 0, 0),
    ],
)
def test_addresses_that_go_on_inside(
    tmp_path: Path, inside: str, options: dict[str, Any], time: int, level: int
) -> None:
    path = write(tmp_path / "a.h5", times=(0, 1), setups=(0, 1))
    write_xml(tmp_path / "a.xml", ("one", "two"))
    image = open_image(path / inside, **options)
    assert is_view(image, time, 1, level)
    z, y, x = FACTORS[level]
    assert (image.level, image.levels, image.factors) == (level, 3, FACTORS[level])
    assert image.voxel_size == (2.0 * z, 0.5 * y, 0.25 * x)
    assert image.origin == (2.0 * (z - 1) / 2, 0.5 * (y - 1) / 2, 0.25 * (x - 1) / 2)


@pytest.mark.parametrize(
    ("stored", "said", "expected"),
    [
        ("int16", "", "uint16"),
        ("int16", "uint16", "uint16"),
        ("int16", "int16", "int16"),
        ("uint16", "", "uint16"),
        ("uint16", "uint16", "uint16"),
        ("uint8", "", "uint8"),
        ("uint8", "uint8", "uint8"),
        ("float32", "float32", "float32"),
        (">i2", "", "uint16"),
    ],
)
def test_types(tmp_path: Path, stored: str, said: str, expected: str) -> None:
    path = write(tmp_path / "a.h5", dtype=stored, said=said)
    image = open_image(path)
    assert image.dtype == expected
    values = view(0, 0).view("int16") if stored in ("int16", ">i2") else view(0, 0)
    np.testing.assert_array_equal(whole(image), values.astype(stored).astype(expected))


def test_the_xml_of_the_same_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", setups=(0, 1))
    message = (
        r"several images; got 1 \(s00 nuclei: channel 0, tile left\), "
        r"2 \(s01 membrane: channel 488 nm, tile left\).* number or name \(series\)"
    )
    xml = write_xml(tmp_path / "a.xml", ("nuclei", "membrane"))
    assert_refused(message, path)
    for address in (path, xml):
        image = open_image(address, series="membrane", level=1)
        assert is_view(image, 0, 1, 1)
        assert image.voxel_size == (2.0, 1.0, 0.5)
        assert image.origin == (0.0, 0.25, 0.125)
        assert image.channel_names == ("488 nm",)
        assert open_image(address, series="1").channel_names == ("channel 1",)
        assert "bdv-hdf5, series 2 of 2 (membrane), level 1 of 0 to 2" in "\n".join(describe(image))
    before = open_image(path, series="1").identity
    write_xml(xml, ("nuclei", "membrane"), unit="nm")
    assert open_image(path, series="1").voxel_size == (0.002, 0.0005, 0.00025)
    assert open_image(path, series="1").identity != before


@pytest.mark.parametrize("unit", ["pixel", "", "px"])
def test_units_that_are_none(tmp_path: Path, unit: str) -> None:
    path = write(tmp_path / "a.h5")
    write_xml(tmp_path / "a.xml", unit=unit)
    image = open_image(path, level=2)
    assert image.voxel_size is None
    assert image.origin == (0.5, 1.5, 1.5)  # voxels of the finest level
    assert open_image(path / "t00000/s00/2").origin == (0.5, 1.5, 1.5)


def test_setups_without_names_have_those_of_their_attributes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", setups=(0, 1))
    write_xml(tmp_path / "a.xml", ("", ""))
    image = open_image(path, series="channel 488 nm, tile left")
    assert is_view(image, 0, 1)


def test_xml_that_is_damaged_foreign_or_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    xml = tmp_path / "a.xml"
    xml.write_text("<notes>of something else</notes>")
    assert is_view(open_image(path), 0, 0)
    write_xml(xml)
    xml.write_text(xml.read_text("utf-8")[:-30], "utf-8")
    for address in (path, xml):
        assert_refused("XML of BigDataViewer cannot be read; .*move it away", address)
    write_xml(xml, loader="bdv.multimg.zarr")
    assert_refused("nor in N5; got format bdv.multimg.zarr; allowed: bdv.hdf5, bdv.n5", xml)
    write_xml(xml, target="gone.h5")
    assert_refused("is missing; got gone.h5, named in a.xml", xml)
    (tmp_path / "in").mkdir()
    assert_refused(
        "outside the image's own folder", write_xml(tmp_path / "in/b.xml", target="../a.h5")
    )
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["raw"] = view(0, 0)
    assert_refused("not one of BigDataViewer", write_xml(xml, target="plain.h5"))


def test_partitions_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BigDataViewer splits files into partitions, which a master file links to."""
    monkeypatch.chdir("/")
    for time in (0, 1):
        write(tmp_path / f"a-{time}.h5", times=(time,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s00/resolutions"] = np.array(FACTORS, "f8")[:, ::-1]
        for time in (0, 1):
            name = f"t{time:05}"
            file[f"{name}/s00"] = h5py.ExternalLink(f"a-{time}.h5", f"{name}/s00")
    image = open_image(tmp_path / "a.h5", time=2)
    assert is_view(image, 1, 0)
    (tmp_path / "a-0.h5").unlink()
    assert is_view(open_image(tmp_path / "a.h5", time=2), 1, 0)
    assert_refused("is missing; got a-0.h5", tmp_path / "a.h5", time=1)


@pytest.mark.parametrize(
    ("inside", "options", "message"),
    [
        ("", {"series": "1"}, r"several time points; .* time 1 to 2"),
        ("", {"series": "1", "time": 3}, "no such time point; got time 3; allowed: 1 to 2"),
        ("", {"series": "2", "time": 2}, "no image at this time point; got t00001/s01; allowed: 1"),
        ("", {"series": "3", "time": 1}, r"no such image .* allowed: 1 \(s00\), 2 \(s01\)"),
        ("", {"time": 1}, r"several images; got 1 \(s00\), 2 \(s01\)"),
        ("", {"series": "1", "time": 1, "level": 3}, "no such pyramid level; .* 0 to 2"),
        ("t00000/s00/1/cells", {"level": 2}, "names a level of the image already; got level 2"),
        ("t00000/s00/7/cells", {}, "no such dataset; got t00000/s00/7/cells; allowed: 0, 1, 2"),
        ("t00002/s00", {}, "no such dataset; got t00002; allowed: s00, s01, t00000, t00001"),
        ("t00000/s05", {}, "no such dataset; got t00000/s05; allowed: s00, s01"),
        ("s05", {"time": 1}, "no such dataset; got t00000/s05; allowed: s00, s01"),
        ("s00/resolutions", {}, "this is BigDataViewer's list of levels, not an image"),
        ("s00/subdivisions", {}, "this is BigDataViewer's list of levels, not an image"),
        ("notes", {}, "no such dataset; got notes"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, inside: str, options: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a.h5", times=(0, 1), setups=(0, 1), missing=((1, 1),))
    assert_refused(message, path / inside if inside else path, **options)


def test_times_that_are_channels(tmp_path: Path) -> None:
    """`axes` of the user count here too."""
    path = write(tmp_path / "a.h5", times=(0, 1))
    image = open_image(path, axes="CZYX")
    assert same(image, np.stack([view(0, 0), view(1, 0)]))
    assert image.channel_names == ("channel 1", "channel 2")
    assert opens_again(image)


def test_files_that_note_no_levels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["s00"]
    write_xml(tmp_path / "a.xml")
    image = open_image(path, level=1)
    assert is_view(image, 0, 0, 1)
    assert image.voxel_size == (2.0, 1.0, 0.5)


def test_other_datasets_of_such_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["labels"] = view(0, 0)
    image = open_image(path / "labels")
    assert (image.format, image.axes) == ("hdf5", "QYX")
    linked(path, more=h5py.SoftLink("/t00000/s00"))
    assert is_view(open_image(path), 0, 0)
