"""Every format is read region by region as its own library reads it whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image
from tests.checks import assert_refused, same
from tests.synthetic import TiffKind, voxels, write_ome_zarr, write_tiff, write_zarr

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image

VOXEL_SIZE = (2.0, 0.5, 0.25)
KINDS: tuple[TiffKind, ...] = ("tiled", "strips", "contiguous", "ome", "imagej")
DATA = Path(os.environ.get("TERAPOSE_DATA", Path(__file__).parents[2] / "../shared/data"))


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
    assert_refused("holds several images; .*name one of them", tmp_path / "a.zarr")
    assert same(open_image(tmp_path / "a.zarr/1"), array[None])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("shape", [(33, 47), (5, 33, 47), (2, 5, 33, 47), (1, 2, 5, 33, 47)])
def test_plain_zarr_by_its_number_of_dimensions(tmp_path: Path, version: Any, shape: Any) -> None:
    array = voxels(*shape)
    image = open_image(write_zarr(tmp_path / "a.zarr", array, version=version))
    assert (image.format, image.voxel_size) == ("zarr", None)
    assert image.axes == {2: "YX", 3: "QYX", 4: "CZYX", 5: "TCZYX"}[array.ndim]
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
    assert image.is_lazy == (compression is None)  # planes are mapped one by one
    assert image.chunks == (1, 10, 47)
    assert same(image, array[None])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 7}, {"tile": (48, 48)}, {"predictor": 2}])
def test_planes_one_by_one(tmp_path: Path, options: Any, samples: int, byteorder: Any) -> None:
    """Without compression they are mapped, if they are in one piece."""
    array = voxels(5, 33, 47, samples, dtype="float32" if options else "uint16")
    if "predictor" in options:
        options = {"predictor": 3, "compression": "zlib"}
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=byteorder) as file:
        for plane in array if samples > 1 else array[..., 0]:
            told: dict[str, Any] = {"photometric": "minisblack", "planarconfig": None}
            if samples > 1:
                told["planarconfig"] = "contig"
            file.write(plane, metadata=None, contiguous=False, **told, **options)
    image = open_image(tmp_path / "a.tif")
    assert image.is_lazy == ("compression" not in options)
    assert same(image, array.transpose(3, 0, 1, 2))


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
    for level, factor in enumerate((1, 2, 4)):
        image = open_image(path, level=level)
        assert image.levels_shape == ((3, 65, 97), (3, 33, 49), (3, 17, 25))
        assert image.voxel_size == (2.0, 0.5 * factor, 0.25 * factor)
        assert image.channel_names == ("DNA", "CD3")
        assert image.chunks == (1, 16, 16)
        assert same(image, array[..., ::factor, ::factor])


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
    assert_refused("no such dataset; got nothing; allowed: label, raw", tmp_path / "a.h5/nothing")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["one"] = file["group/two"] = array
    assert_refused(
        "several datasets .* 1 .one: 5 x .* 2 .group/two: 5 x 33 x 47 uint16", tmp_path / "b.h5"
    )


@pytest.mark.parametrize(
    ("chunks", "is_lazy"),
    [((1, 1024, 2049), False), ((1, 1024, 1024), True), ((2, 512, 2049), True)],
)
def test_chunks_of_large_planes_are_not_lazy(tmp_path: Path, chunks: Any, is_lazy: bool) -> None:
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(9, 1024, 2049), chunks=chunks, dtype="uint16"
    )
    assert array.nbytes_stored() < 10_000  # nothing but metadata
    assert open_image(tmp_path / "a.zarr").is_lazy == is_lazy


def test_real_embryo() -> None:
    path = DATA / "nuclei3d_embryo/images/Emb01_t301.tif"
    if not path.exists():
        pytest.skip(f"no real images at {DATA} (set TERAPOSE_DATA)")
    image = open_image(path)
    assert image.voxel_size == (1.75, 0.8, 0.8)
    assert same(image, tifffile.imread(path)[None])
