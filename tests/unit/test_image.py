"""Every format is read region by region as its own library reads it whole; faults are named."""

from __future__ import annotations

import http.server
import json
import os
import pickle
import re
import threading
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image
from terapose.errors import InputError
from terapose.image import Image, check_channels, open_image
from terapose.image.units import micrometres

from tests.synthetic import TiffKind, write_ome_zarr, write_tiff, write_zarr

REGION = (slice(1, 4), slice(3, 30), slice(10, 41))
VOXEL_SIZE = (2.0, 0.5, 0.25)
KINDS: tuple[TiffKind, ...] = ("tiled", "strips", "contiguous", "ome", "imagej")
DATA = Path(os.environ.get("TERAPOSE_DATA", Path(__file__).parents[2] / "../shared/data"))


def voxels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def _clipped(region: Any, shape: tuple[int, ...]) -> Any:
    return tuple(slice(*part.indices(n)[:2]) for part, n in zip(region, shape, strict=True))


def same(image: Image, expected: np.ndarray) -> bool:
    """Whether regions, single voxels, nothing and all of a CZYX array are read."""
    assert image.channels == len(expected)
    regions = [REGION, (slice(2, 3), slice(5, 6), slice(7, 8)), (slice(2, 2), *REGION[1:])]
    for channel, volume in enumerate(expected, 1):
        assert image.shape == volume.shape
        for region in [*regions, (slice(None),) * 3]:
            region = _clipped(region, volume.shape)
            block = image.read(region, channel)
            assert block.dtype == volume.dtype
            assert block.flags.c_contiguous
            np.testing.assert_array_equal(block, volume[region])
    return True


# --- Formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "zyx", "yx", "cyx", "tyx", "zcyx", "xyz"])
def test_ome_zarr_of_any_axes(tmp_path: Path, version: Any, axes: str) -> None:
    lengths = {"t": 1, "c": 2, "z": 5, "y": 33, "x": 47}
    array = voxels(*(lengths[axis] for axis in axes))
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        array,
        axes=axes,
        version=version,
        chunks=(2, 16, 16, 16, 16)[-len(axes) :],
    )
    image = open_image(path)
    assert image.format == f"ome-zarr-{version}"
    assert image.axes == axes.upper()
    present = [axis for axis in "czyx" if axis in axes]
    order = [axes.replace("t", "").index(axis) for axis in present]
    flat = (array[0] if "t" in axes else array).transpose(order)
    expected = flat.reshape([lengths[axis] if axis in axes else 1 for axis in "czyx"])
    assert image.is_lazy
    assert same(image, expected)


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])
def test_ome_zarr_as_ome_zarr_py_writes_it(tmp_path: Path, fmt: Any) -> None:
    array = voxels(2, 6, 40, 48)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=fmt.zarr_format)
    write_image(
        array,
        group,
        axes="czyx",
        fmt=fmt,
        scale={"c": 1.0, "z": 2000.0, "y": 500.0, "x": 250.0},
        axes_units=dict.fromkeys("zyx", "nanometer"),
        scale_factors=[2],
    )
    image = open_image(tmp_path / "a.zarr")
    assert image.format == f"ome-zarr-{fmt.version}"
    assert image.voxel_size == VOXEL_SIZE
    assert same(image, array)
    coarse = open_image(tmp_path / "a.zarr", level=1)
    assert coarse.voxel_size == (2.0, 1.0, 0.5)
    assert coarse.shape == image.levels_shape[1] == (6, 20, 24)
    stored = zarr.open_array(tmp_path / "a.zarr/s1")[:]
    assert same(coarse, np.asarray(stored))


def test_pyramid_levels_and_a_scale_of_the_whole_image(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        array,
        voxel_size=(1.0, 0.25, 0.125),
        factors=(1, 2, 4),
        shared_scale=(2.0, 2.0, 2.0),
    )
    image = open_image(path, level=2)
    assert image.levels == 3
    assert image.levels_shape == ((5, 33, 47), (5, 17, 24), (5, 9, 12))
    assert image.voxel_size == (2.0, 2.0, 1.0)
    assert same(image, array[None, :, ::4, ::4])


def test_bioformats2raw_group_with_one_image(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    zarr.create_group(
        str(tmp_path / "a.zarr"), zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    write_ome_zarr(tmp_path / "a.zarr/0", array, version="0.4")
    assert same(open_image(tmp_path / "a.zarr"), array[None])
    write_ome_zarr(tmp_path / "a.zarr/1", array, version="0.4")
    refuses("holds several images; .*name one of them", tmp_path / "a.zarr")
    assert same(open_image(tmp_path / "a.zarr/1"), array[None])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("shape", [(33, 47), (5, 33, 47), (2, 5, 33, 47), (1, 2, 5, 33, 47)])
def test_plain_zarr_by_its_number_of_dimensions(tmp_path: Path, version: Any, shape: Any) -> None:
    array = voxels(*shape)
    image = open_image(write_zarr(tmp_path / "a.zarr", array, version=version))
    assert (image.format, image.voxel_size) == ("zarr", None)
    assert image.axes == {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}[array.ndim]
    assert same(image, array.reshape((-1, *(1, *shape)[-3:])))


def test_plain_zarr_by_its_dimension_names(tmp_path: Path) -> None:
    array = voxels(5, 2, 33, 47)
    path = write_zarr(tmp_path / "a.zarr", array, dimension_names="zcyx")
    assert same(open_image(path), array.transpose(1, 0, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(33, 47), (5, 33, 47), (2, 5, 33, 47)])
def test_tiff(tmp_path: Path, kind: TiffKind, shape: tuple[int, ...]) -> None:
    array = voxels(*shape)
    axes = "ZCYX" if kind == "imagej" and len(shape) == 4 else ""  # the only order ImageJ has
    written = array.swapaxes(0, 1) if axes else array
    image = open_image(write_tiff(tmp_path / "a.tif", written, kind=kind, axes=axes))
    assert image.format == ("ome-tiff" if kind == "ome" else "tiff")
    assert image.is_lazy == (kind != "strips")
    assert same(image, array.reshape((-1, *(1, *shape)[-3:])))


@pytest.mark.parametrize("kind", ["tiled", "strips", "contiguous"])
@pytest.mark.parametrize("axes", ["CYX", "QYX", "IYX", "CQYX", "TZYX"])
def test_tiff_axes(tmp_path: Path, kind: TiffKind, axes: str) -> None:
    lengths = {"C": 2, "Z": 5, "Q": 5, "I": 5, "T": 1, "Y": 33, "X": 47}
    array = voxels(*(lengths[axis] for axis in axes))
    image = open_image(write_tiff(tmp_path / "a.tif", array, kind=kind, axes=axes))
    planes = 1 if axes == "CYX" else 5
    assert same(image, array.reshape(-1, planes, 33, 47))


@pytest.mark.parametrize("kind", ["tiled", "strips", "contiguous"])
def test_big_endian_tiff_is_read_in_native_order(tmp_path: Path, kind: TiffKind) -> None:
    array = voxels(5, 33, 47, dtype="float32")
    image = open_image(write_tiff(tmp_path / "a.tif", array, kind=kind, byteorder=">"))
    assert image.dtype.isnative
    assert same(image, array[None])


@pytest.mark.parametrize(
    ("compression", "predictor"),
    [("lzw", True), ("lzw", False), ("zstd", True), ("packbits", False), (None, False)],
)
def test_strips_as_other_programs_write_them(
    tmp_path: Path, compression: Any, predictor: bool
) -> None:
    array = voxels(5, 33, 47)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in array:  # one by one: a plane's data and its directory alternate
            options = {"compression": compression, "predictor": predictor or None}
            file.write(plane, rowsperstrip=10, metadata=None, contiguous=False, **options)
    image = open_image(tmp_path / "a.tif")
    assert not image.is_lazy
    assert image.chunks == (1, 10, 47)
    assert same(image, array[None])


def test_strips_decode_only_what_is_asked_for(tmp_path: Path) -> None:
    """Bytes of the other strips may be anything."""
    array = voxels(3, 40, 47)
    path = write_tiff(tmp_path / "a.tif", array, kind="strips")
    with tifffile.TiffFile(path) as file:
        page = file.pages[1]
        kept = range(14 // 7, 21 // 7)
        others = [
            (page.dataoffsets[i], page.databytecounts[i])
            for i in range(len(page.dataoffsets))
            if i not in kept
        ]
    content = bytearray(path.read_bytes())
    for offset, count in others:
        content[offset : offset + count] = b"\xff" * count
    path.write_bytes(content)
    image = open_image(path)
    block = image.read((slice(1, 2), slice(14, 21), slice(3, 9)))
    np.testing.assert_array_equal(block, array[1:2, 14:21, 3:9])
    with pytest.raises(InputError, match=r"the region z 1:2, y 13:21, x 3:9 of channel 1 cannot"):
        image.read((slice(1, 2), slice(13, 21), slice(3, 9)))


def test_ome_tiff_pyramid(tmp_path: Path) -> None:
    array = voxels(2, 3, 65, 97)
    path = write_tiff(
        tmp_path / "a.ome.tif",
        array,
        kind="ome",
        voxel_size=VOXEL_SIZE,
        factors=(1, 2, 4),
        channel_names=("DNA", "CD3"),
    )
    image = open_image(path, level=2)
    assert image.levels_shape == ((3, 65, 97), (3, 33, 49), (3, 17, 25))
    assert image.voxel_size == (2.0, 2.0, 1.0)
    assert image.channel_names == ("DNA", "CD3")
    assert image.chunks == (1, 16, 16)
    assert same(image, array[..., ::4, ::4])


def test_largest_image_of_a_file_with_a_thumbnail(tmp_path: Path) -> None:
    array = voxels(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(array[::8, ::8], photometric="minisblack", metadata=None)
        file.write(array, photometric="minisblack", metadata=None)
    assert same(open_image(tmp_path / "a.tif"), array[None, None])


def test_hdf5(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("label", data=array // 2)
        raw = file.create_dataset("raw", data=array, chunks=(1, 16, 16))
        raw.attrs["element_size_um"] = VOXEL_SIZE
    image = open_image(tmp_path / "a.h5")
    assert (image.voxel_size, image.chunks) == (VOXEL_SIZE, (1, 16, 16))
    assert same(image, array[None])
    assert same(open_image(tmp_path / "a.h5/label"), array[None] // 2)
    refuses("no such dataset; got nothing; allowed: label, raw", tmp_path / "a.h5/nothing")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["one"] = file["group/two"] = array
    refuses("several datasets; allowed: group/two, one; name one", tmp_path / "b.h5")


def test_real_embryo() -> None:
    path = DATA / "nuclei3d_embryo/images/Emb01_t301.tif"
    if not path.exists():
        pytest.skip(f"no real images at {DATA} (set TERAPOSE_DATA)")
    image = open_image(path)
    assert image.voxel_size == (1.75, 0.8, 0.8)
    assert same(image, tifffile.imread(path)[None])


# --- Addresses -------------------------------------------------------------------------------


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do."""

    def do_GET(self) -> None:
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = partial(_Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_images_on_a_server(tmp_path: Path, server: str) -> None:
    array = voxels(5, 33, 47)
    write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE, chunks=(2, 16, 16))
    image = open_image(f"{server}/a.zarr")
    assert image.voxel_size == VOXEL_SIZE
    assert same(image, array[None])
    assert image.identity == open_image(f"{server}/a.zarr").identity
    for kind in KINDS:
        write_tiff(tmp_path / f"{kind}.tif", array, kind=kind)
        assert same(open_image(f"{server}/{kind}.tif"), array[None])
    refuses("there is no such file", f"{server}/b.tif")
    refuses("the address cannot be read", "http://127.0.0.1:9/a.tif")


def test_local_url(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    path = write_tiff(tmp_path / "a b.tif", array)
    assert same(open_image(path.as_uri()), array[None])


@pytest.mark.parametrize("kind", [*KINDS, "zarr", "hdf5"])
def test_another_process_reads_the_same(tmp_path: Path, kind: Any) -> None:
    array = voxels(5, 33, 47)
    if kind == "zarr":
        path = write_ome_zarr(tmp_path / "a.zarr", array)
    elif kind == "hdf5":
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["raw"] = array
    else:
        path = write_tiff(tmp_path / "a.tif", array, kind=kind)
    image = open_image(path)
    image.read(REGION)  # a handle is open when the process forks and when the image is pickled
    assert same(pickle.loads(pickle.dumps(image)), array[None])
    with get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(image.read, (REGION,)), array[REGION])


def test_identity_changes_with_the_content(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    for path in (
        write_tiff(tmp_path / "a.tif", array),
        write_ome_zarr(tmp_path / "a.zarr", array, chunks=(5, 16, 47)),
    ):
        before = open_image(path).identity
        assert before == open_image(path).identity
        assert re.fullmatch("[0-9a-f]{64}", before)
        changed = path if path.is_file() else path / "0/c/0/1/0"
        changed.write_bytes(changed.read_bytes())
        os.utime(changed, ns=(0, 2**62))
        assert open_image(path).identity != before
    renamed = (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    moved = tmp_path / "folder/b.tif"
    moved.parent.mkdir()
    identity = open_image(renamed).identity
    assert open_image(renamed.rename(moved)).identity == identity  # the folder does not count


# --- Voxel sizes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (230, "nm", 0.23),
        (230, "nanometer", 0.23),
        (2.5, "µm", 2.5),
        (2.5, "μm", 2.5),
        (2.5, "\\u00B5m", 2.5),
        (2.5, "micron", 2.5),
        (0.001, "millimeter", 1.0),
        (0.002, "mm", 2.0),
        (1e-6, "meter", 1.0),
        (5000, "angstrom", 0.5),
        (5000, "Å", 0.5),
        (2, "inch", 50800),
        (1, "pixel", None),
        (1, None, None),
        (0, "µm", None),
        (float("nan"), "µm", None),
    ],
)
def test_micrometres(value: float, unit: str | None, expected: float | None) -> None:
    got = micrometres(value, unit)
    assert got is None if expected is None else got == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
@pytest.mark.parametrize(("unit", "factor"), [("µm", 1), ("nm", 1000), ("mm", 0.001)])
def test_tiff_voxel_size(tmp_path: Path, kind: TiffKind, unit: str, factor: float) -> None:
    z, y, x = (size * factor for size in VOXEL_SIZE)
    path = write_tiff(
        tmp_path / "a.tif", voxels(5, 33, 47), kind=kind, voxel_size=(z, y, x), unit=unit
    )
    assert open_image(path).voxel_size == pytest.approx(VOXEL_SIZE, rel=1e-6)


def test_tiff_resolution_tags(tmp_path: Path) -> None:
    plane, path = voxels(33, 47), tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "minisblack", "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, plane, resolution=(40000, 20000), **options)
    assert open_image(path).voxel_size == (0.5, 0.5, 0.25)  # one plane is as thick as a row
    tifffile.imwrite(path, plane, resolution=(300, 300), resolutionunit="INCH")
    assert open_image(path).voxel_size is None  # a printing resolution
    tifffile.imwrite(path, voxels(5, 33, 47), resolution=(40000, 20000), **options)
    assert open_image(path).voxel_size is None  # the distance of planes is not known


def test_voxel_size_of_ome_zarr_without_units(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    known = write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE, unit=None)
    assert open_image(known).voxel_size == VOXEL_SIZE
    unknown = write_ome_zarr(tmp_path / "b.zarr", array, factors=(1, 2))
    assert open_image(unknown).voxel_size is None
    assert open_image(unknown, level=1).voxel_size is None
    pixels = write_ome_zarr(tmp_path / "c.zarr", array, voxel_size=VOXEL_SIZE, unit="pixel")
    assert open_image(pixels).voxel_size is None


def test_given_voxel_size_wins(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 33, 47), voxel_size=VOXEL_SIZE)
    assert open_image(path, voxel_size=(3, 2, 1)).voxel_size == (3.0, 2.0, 1.0)
    refuses("three positive lengths", path, voxel_size=(3.0, 0.0, 1.0))
    refuses("three positive lengths", path, voxel_size=(3.0, float("nan"), 1.0))


def test_ome_zarr_channel_names(tmp_path: Path) -> None:
    path = write_ome_zarr(
        tmp_path / "a.zarr", voxels(3, 5, 9, 9), axes="czyx", channel_names=("DNA", "")
    )
    assert open_image(path).channel_names == ("DNA", "channel 2", "channel 3")


# --- Bad input -------------------------------------------------------------------------------


def refuses(message: str, address: str | Path, **options: Any) -> None:
    """Opening fails with one sentence that names the place and the fault."""
    with pytest.raises(InputError, match=message) as caught:
        open_image(address, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_missing_file(tmp_path: Path) -> None:
    refuses(r"a\.tif: there is no such file; check the path", tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"some text\n", b"\x89PNG\r\n\x1a\n123456"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    what = "this is not an image" if content else "the file is empty"
    refuses(rf"a\.tif: {what}.*; allowed: OME-Zarr.*; convert it", tmp_path / "a.tif")


def test_folder_without_metadata(tmp_path: Path) -> None:
    refuses("the folder is no Zarr", tmp_path)


def test_unknown_kind_of_address() -> None:
    refuses("addresses of this kind cannot be read.*allowed: a local path", "nope://a/b.tif")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.01, 0.03, 0.3, 0.5, 0.7, 0.95])
def test_truncated_tiff(tmp_path: Path, kind: TiffKind, part: float) -> None:
    path = write_tiff(tmp_path / "a.tif", voxels(5, 64, 64), kind=kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refuses("the TIFF file is damaged or incomplete", path)


def test_truncated_tiff_that_does_not_say_how_many_planes_it_has(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        ends = []
        for plane in voxels(5, 33, 47):
            file.write(plane, metadata=None, contiguous=False)
            ends.append(file.filehandle.tell())
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: ends[2]])  # three planes, all there
    refuses("damaged or incomplete; got .*invalid page offset", tmp_path / "a.tif")


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
    refuses("damaged or incomplete; got .*Missing data are zeroed", tmp_path / names[0])


def test_broken_ome_xml(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.ome.tif", voxels(5, 33, 47), kind="ome", voxel_size=VOXEL_SIZE)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'PhysicalSizeX="0.25"', b'PhysicalSizeX="0,25"'))
    refuses("damaged or incomplete; got ValueError: .*0,25", path)


def test_truncated_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = voxels(5, 64, 64)
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    refuses("the HDF5 file cannot be opened", tmp_path / "a.h5")


def test_zero_size(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", np.zeros((0, 4, 4), np.uint8), chunks=(1, 4, 4))
    refuses(r"the image is empty: its axis Z has length 0; got ZYX \(0, 4, 4\)", path)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "int64", "uint64"])
def test_unsupported_type(tmp_path: Path, dtype: str) -> None:
    path = write_zarr(tmp_path / "a.zarr", voxels(5, 9, 9, dtype=dtype))
    refuses(rf"cannot be segmented; got {dtype}; allowed: uint8, .*float64; convert", path)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int32", "float16", "float64"])
def test_supported_type(tmp_path: Path, dtype: str) -> None:
    array = voxels(5, 9, 9, dtype=dtype)
    assert same(open_image(write_zarr(tmp_path / "a.zarr", array)), array[None])


def test_level_out_of_range(tmp_path: Path) -> None:
    zarr_ = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 33, 47), factors=(1, 2))
    refuses("no such pyramid level; got 2; allowed: 0 to 1", zarr_, level=2)
    tiff = write_tiff(tmp_path / "a.tif", voxels(5, 33, 47))
    refuses("no such pyramid level; got 1; allowed: 0;", tiff, level=1)
    plain = write_zarr(tmp_path / "b.zarr", voxels(5, 33, 47))
    refuses("no such pyramid level; got -1; allowed: 0;", plain, level=-1)


def test_several_time_points(tmp_path: Path) -> None:
    array = voxels(2, 5, 9, 9)
    path = write_ome_zarr(tmp_path / "a.zarr", array, axes="tzyx")
    refuses("several time points; got TZYX .*; save each one", path)
    refuses("several time points", write_tiff(tmp_path / "a.tif", array, axes="TZYX"))


def test_unknown_axis_beside_z(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", voxels(2, 5, 9, 9), axes="QZYX")
    refuses("an axis Q of unknown meaning", path)


def test_one_dimension(tmp_path: Path) -> None:
    refuses("too few or too many dim", write_zarr(tmp_path / "a.zarr", voxels(9)))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour(tmp_path: Path, planar: Any) -> None:
    shape = (3, 32, 32) if planar == "separate" else (32, 32, 3)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(tmp_path / "a.tif", voxels(*shape, dtype="uint8"), **options)
    refuses("this is a colour image.*; got RGB.*Split Channels", tmp_path / "a.tif")


def test_palette_of_imagej_is_for_display(tmp_path: Path) -> None:
    array = voxels(33, 47, dtype="uint8")
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    options: dict[str, Any] = {"photometric": "palette", "colormap": ramp}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, **options)
    refuses("this is a colour image.*; got PALETTE", tmp_path / "a.tif")
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
    refuses("the file holds several images; got 2, the largest ZYX", tmp_path / "a.ome.tif")


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
    with pytest.raises(ValueError, match="does not lie within"):
        image.read((slice(5, stop), slice(0, 1), slice(0, 1)))


# --- Damaged Zarr ----------------------------------------------------------------------------


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
    refuses(message, path)


def test_label_group_names_its_image(tmp_path: Path) -> None:
    attributes = {"ome": {"version": "0.5", "labels": ["nuclei"]}}
    zarr.create_group(str(tmp_path / "a.zarr"), attributes=attributes)
    refuses("a labels group.*as in .*/nuclei", tmp_path / "a.zarr")


@pytest.mark.parametrize("file", ["zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_corrupt_json(tmp_path: Path, file: str, content: str) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 9, 9))
    (path / file).write_text(content)
    refuses(r"zarr\.json is not (valid|a) JSON|the array cannot be opened", path)


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
