"""What cannot be read is refused in one sentence: what, where, got, allowed, remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from tests.checks import REGION, assert_refused, same
from tests.synthetic import TiffKind, voxels, write_ome_zarr, write_tiff, write_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.array_like import open_labels
from terapose.io.images.model import check_channels
from terapose.io.images.opening import open_image
from terapose.pipeline.checked import open_checked

VOXEL_SIZE = (2.0, 0.5, 0.25)
KINDS: tuple[TiffKind, ...] = ("tiled", "strips", "contiguous", "ome", "imagej")


def test_missing_file(tmp_path: Path) -> None:
    assert_refused(r"a\.tif: there is no such file; check the path", tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"some text\n", b"\x89PNG\r\n\x1a\n123456"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    what = "this is not an image" if content else "the file is empty"
    assert_refused(rf"a\.tif: {what}.*; allowed: OME-Zarr.*; convert it", tmp_path / "a.tif")


def test_folder_without_metadata(tmp_path: Path) -> None:
    assert_refused("the folder holds no image; got an empty folder", tmp_path)


def test_unknown_kind_of_address() -> None:
    assert_refused("addresses of this type cannot be read.*allowed: a local path", "nope://a/b.tif")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.01, 0.03, 0.3, 0.5, 0.7, 0.95])
def test_truncated_tiff(tmp_path: Path, kind: TiffKind, part: float) -> None:
    path = write_tiff(tmp_path / "a.tif", voxels(5, 64, 64), kind=kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert_refused("the TIFF file is damaged or incomplete", path)


def test_truncated_tiff_that_does_not_say_how_many_planes_it_has(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        ends = []
        for plane in voxels(5, 33, 47):
            file.write(plane, metadata=None, contiguous=False)
            ends.append(file.filehandle.tell())
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: ends[2]])  # three planes, all there
    assert_refused("damaged or incomplete; got .*invalid page offset", tmp_path / "a.tif")


def test_harmless_warnings_are_no_damage(tmp_path: Path, caplog: Any) -> None:
    array = voxels(5, 33, 47)
    tags = [(700, 2, 0, b"\xff\xfe not ASCII", True)]
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", extratags=tags)
    assert same(open_image(tmp_path / "a.tif"), array[None])


def test_ome_tiff_in_several_files(tmp_path: Path) -> None:
    array = voxels(2, 33, 47)
    names = ["0.ome.tif", "1.ome.tif"]
    identifiers = [f"urn:uuid:0000000{z}-0000-0000-0000-000000000000" for z in (0, 1)]
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{names[z]}">{identifiers[z]}</UUID></TiffData>'
        for z in (0, 1)
    )
    for z in (0, 1):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{identifiers[z]}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="47" SizeY="33" SizeZ="2" SizeC="1" '
            'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / names[z], array[z], description=xml, metadata=None)
    image = open_image(tmp_path / names[0])
    assert same(image, array[None])
    identity = image.identity
    os.utime(tmp_path / names[1], ns=(0, 2**62))
    assert open_image(tmp_path / names[0]).identity != identity
    (tmp_path / names[1]).unlink()
    assert_refused("files of the image are missing; got 1.ome.tif; copy", tmp_path / names[0])


def test_broken_ome_xml(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.ome.tif", voxels(5, 33, 47), kind="ome", voxel_size=VOXEL_SIZE)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'PhysicalSizeX="0.25"', b'PhysicalSizeX="0,25"'))
    assert_refused(
        "OME-XML cannot be used; got image 1: PhysicalSizeX '0,25' is not a number", path
    )
    assert open_image(path, axes="ZYX").voxel_size is None


def test_truncated_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = voxels(5, 64, 64)
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    assert_refused("the HDF5 file cannot be opened", tmp_path / "a.h5")


def test_zero_size(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", np.zeros((0, 4, 4), np.uint8), chunks=(1, 4, 4))
    assert_refused(r"the image is empty: its axis Q has length 0; got QYX \(0, 4, 4\)", path)


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_unsupported_type(tmp_path: Path, dtype: str) -> None:
    path = write_zarr(tmp_path / "a.zarr", voxels(5, 9, 9, dtype=dtype))
    assert_refused(rf"cannot be read; got {dtype}; allowed: uint8, .*uint64; convert", path)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_types_of_labels_alone(tmp_path: Path, dtype: str) -> None:
    """NumPy's own whole numbers: labels often have them, cameras never do."""
    array = voxels(5, 9, 9, dtype=dtype)
    path = write_zarr(tmp_path / "a.zarr", array)
    np.testing.assert_array_equal(open_labels(path)[:, :, :], array)
    with pytest.raises(InputError, match=rf"got {dtype}; allowed: uint8, .*float64; convert"):
        open_checked(str(path), check({}))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int32", "float16", "float64"])
def test_supported_type(tmp_path: Path, dtype: str) -> None:
    array = voxels(5, 9, 9, dtype=dtype)
    assert same(open_image(write_zarr(tmp_path / "a.zarr", array)), array[None])


def test_level_out_of_range(tmp_path: Path) -> None:
    zarr_ = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 33, 47), factors=(1, 2))
    assert_refused("no such pyramid level; got 2; allowed: 0 to 1", zarr_, level=2)
    tiff = write_tiff(tmp_path / "a.tif", voxels(5, 33, 47))
    assert_refused("no such pyramid level; got 1; allowed: 0;", tiff, level=1)
    plain = write_zarr(tmp_path / "b.zarr", voxels(5, 33, 47))
    assert_refused("no such pyramid level; got -1; allowed: 0;", plain, level=-1)


def test_several_time_points(tmp_path: Path) -> None:
    array = voxels(2, 5, 9, 9)
    path = write_ome_zarr(tmp_path / "a.zarr", array, axes="tzyx")
    assert_refused("several time points; got axes TZYX .*; give time", path)
    assert_refused("several time points", write_tiff(tmp_path / "a.tif", array, axes="TZYX"))


def test_unknown_axis_beside_z(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", voxels(2, 5, 9, 9), axes="QZYX")
    assert_refused("an axis Q of unknown meaning", path)


def test_one_dimension(tmp_path: Path) -> None:
    assert_refused("no plane of Y and X; got axes Q", write_zarr(tmp_path / "a.zarr", voxels(9)))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour(tmp_path: Path, planar: Any) -> None:
    shape = (3, 32, 32) if planar == "separate" else (32, 32, 3)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(tmp_path / "a.tif", voxels(*shape, dtype="uint8"), **options)
    assert_refused("this is a colour image.*; got RGB.*Split Channels", tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "CZYX"])
@pytest.mark.parametrize(
    "layout", [{}, {"tile": (16, 16), "compression": "zlib"}, {"compression": "zlib"}]
)
def test_planes_that_are_merely_tagged_as_colours(
    tmp_path: Path, axes: str, layout: dict[str, Any]
) -> None:
    shape = (2, 3, 33, 47)[-len(axes) :]
    array = voxels(*shape)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", **layout}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": axes}, **options)
    expected = array if len(shape) == 4 else array[:, None] if axes == "CYX" else array[None]
    image = open_image(tmp_path / "a.tif")
    assert image.axes == axes
    whole = (slice(0, expected.shape[1]), slice(3, 30), slice(10, 41))
    for channel, volume in enumerate(expected, 1):
        np.testing.assert_array_equal(image.read(whole, channel), volume[whole])


def test_palette_of_imagej_is_for_display(tmp_path: Path) -> None:
    array = voxels(33, 47, dtype="uint8")
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    options: dict[str, Any] = {"photometric": "palette", "colormap": ramp}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, **options)
    assert_refused("this is a colour image.*; got PALETTE", tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "a.tif", array, description="ImageJ=1.54f\n", metadata=None, **options
    )
    assert same(open_image(tmp_path / "a.tif"), array[None, None])


def test_samples_that_are_no_colours_are_channels(tmp_path: Path) -> None:
    array = voxels(33, 47, 3)
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, **options)
    assert same(open_image(tmp_path / "a.tif"), array.transpose(2, 0, 1)[:, None])


def test_several_images_in_a_tiff(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for size in (32, 40):
            file.write(voxels(3, size, size), metadata={"axes": "ZYX"}, photometric="minisblack")
    assert_refused(
        "the file holds several images; got 1 .*Image1: ZYX 3 x 40 x 40.*series",
        tmp_path / "a.ome.tif",
    )


def test_channel_out_of_range(tmp_path: Path) -> None:
    image = open_image(write_zarr(tmp_path / "a.zarr", voxels(2, 5, 33, 47)))
    check_channels(image, [1, 2])
    with pytest.raises(InputError, match="no such channel; got 0, 3; allowed: 1 to 2"):
        check_channels(image, [0, 1, 3])
    with pytest.raises(InputError, match="no such channel; got 3"):
        image.read(REGION, 3)


@pytest.mark.parametrize("stop", [6, 4])
def test_region_outside(tmp_path: Path, stop: int) -> None:
    image = open_image(write_zarr(tmp_path / "a.zarr", voxels(5, 33, 47)))
    with pytest.raises(ValueError, match="is not within"):
        image.read((slice(5, stop), slice(0, 1), slice(0, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ome: ome.update(multiscales=[]), "no image metadata"),
        (lambda ome: ome["multiscales"].append(ome["multiscales"][0]), "several multiscale images"),
        (lambda ome: ome.update(multiscales=None, plate={}), "a plate group.*as in .*/A/1/0"),
        (lambda ome: ome.update(multiscales=None, well={}), "a well group"),
        (lambda ome: ome["multiscales"][0].pop("datasets"), "cannot be understood; got KeyError"),
        (lambda ome: ome["multiscales"][0]["axes"].pop(), r"the array 0 does not have the axes"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="9"), "/9: the array that"),
    ],
)
def test_wrong_metadata(tmp_path: Path, change: Any, message: str) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 9, 9))
    document = path / "zarr.json"
    content = json.loads(document.read_text())
    change(content["attributes"]["ome"])
    content["attributes"]["ome"] = {
        key: value for key, value in content["attributes"]["ome"].items() if value is not None
    }
    document.write_text(json.dumps(content))
    assert_refused(message, path)


def test_label_group_names_its_image(tmp_path: Path) -> None:
    attributes = {"ome": {"version": "0.5", "labels": ["nuclei"]}}
    zarr.create_group(str(tmp_path / "a.zarr"), attributes=attributes)
    assert_refused("a labels group.*as in .*/nuclei", tmp_path / "a.zarr")


@pytest.mark.parametrize("file", ["zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_corrupt_json(tmp_path: Path, file: str, content: str) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 9, 9))
    (path / file).write_text(content)
    assert_refused(r"zarr\.json is not (valid|a) JSON|the array cannot be opened", path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x28\xb5\x2f\xfd" + b"\x00" * 60])
def test_undecodable_chunk(tmp_path: Path, content: bytes) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(4, 32, 32), chunks=(2, 16, 16))
    (path / "0/c/1/0/1").write_bytes(content)
    image = open_image(path)
    image.read((slice(0, 2), slice(0, 32), slice(0, 32)))  # other chunks are still there
    with pytest.raises(InputError, match=r"the region z 1:3, y 0:8, x 8:24 of channel 1 cannot be"):
        image.read((slice(1, 3), slice(0, 8), slice(8, 24)))


def test_a_chunk_that_was_not_written_is_empty(tmp_path: Path) -> None:
    array = voxels(4, 32, 32)
    path = write_ome_zarr(tmp_path / "a.zarr", array, chunks=(2, 16, 16))
    (path / "0/c/1/0/1").unlink()
    array[2:4, :16, 16:] = 0
    assert same(open_image(path), array[None])
