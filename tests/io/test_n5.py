"""N5 is read block by block, as tensorstore and zarr-python 2 wrote it, and in its layouts.

`n5.json` holds the files of `numbers()` that tensorstore 0.1.86 and zarr-python 2.18.7 (N5Store)
wrote, by compression; zarr's are the dataset `d/s0`.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from tests.checks import REGION, assert_refused, same
from tests.command import Terapose
from tests.io.test_bdv import write_xml
from tests.synthetic import voxels, write_zarr

from terapose.core.errors import InputError
from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image

GOLDEN: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("n5.json").read_text())


def numbers() -> np.ndarray:
    """ZYX; 300 times 12 x + 3 y + z."""
    return np.arange(60, dtype="uint16").reshape(5, 4, 3).T * np.uint16(300)


def _java_lz4(data: bytes) -> bytes:
    """Frames of at most 1000 bytes, as lz4-java's LZ4BlockOutputStream writes them."""
    out = b""
    for start in range(0, len(data), 1000):
        part = data[start : start + 1000]
        packed = bytes(imagecodecs.lz4_encode(part))
        token, kept = (0x26, packed) if len(packed) < len(part) else (0x16, part)
        out += struct.pack("<8sBIII", b"LZ4Block", token, len(kept), len(part), 0) + kept
    return out + struct.pack("<8sBIII", b"LZ4Block", 0x16, 0, 0, 0)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(imagecodecs.zstd_encode(data)),
    "blosc": lambda data: bytes(imagecodecs.blosc_encode(data, typesize=2)),
    "lz4": _java_lz4,
}


def write_n5(
    folder: Path,
    array: np.ndarray,
    *,
    blocks: tuple[int, ...] = (2, 16, 20),
    compression: str = "gzip",
    mode: int = 0,
    **attributes: Any,
) -> Path:
    """Write a dataset by the specification, blocks at the end of an axis cut off, as Java does.

    Parameters
    ----------
    folder
        To write; the dataset.
    array, blocks
        Slowest axis first.
    compression
        A name of `PACK`; zlib is gzip with ``useZlib``.
    mode
        0, or 1: blocks that say how many numbers they have.
    **attributes
        Others than those of the specification.
    """
    blocks = blocks[-array.ndim :]
    named = "gzip" if compression == "zlib" else compression
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "dimensions": array.shape[::-1],
        "blockSize": blocks[::-1],
        "dataType": array.dtype.name,
        "compression": {"type": named, "useZlib": compression == "zlib"},
    }
    (folder / "attributes.json").write_text(json.dumps(content | attributes))
    grid = (range(-(-n // b)) for n, b in zip(array.shape, blocks, strict=True))
    for place in product(*grid):
        block = array[tuple(slice(p * b, (p + 1) * b) for p, b in zip(place, blocks, strict=True))]
        if not block.any():
            continue  # empty blocks need not be written
        file = folder.joinpath(*map(str, place[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(f">HH{array.ndim}I", mode, array.ndim, *block.shape[::-1])
        header += struct.pack(">I", block.size) * mode
        data = block.astype(array.dtype.newbyteorder(">")).tobytes()
        file.write_bytes(header + PACK[compression](data))
    return folder


def group(folder: Path, **attributes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(attributes))
    return folder


def pyramid(folder: Path, array: np.ndarray, **attributes: Any) -> Path:
    for level in range(3):
        step = tuple(
            slice(None, None, 1 if n == array.ndim - 3 else 2**level) for n in range(array.ndim)
        )
        write_n5(folder / f"s{level}", array[step], **attributes)
    return folder


@pytest.mark.parametrize("written", GOLDEN)
def test_as_other_programs_write_it(tmp_path: Path, written: str) -> None:
    for name, content in GOLDEN[written].items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_bytes(bytes.fromhex(content))
        else:
            path.write_text(json.dumps(content))
    image = open_image(tmp_path / "a")
    assert image.shape == (3, 4, 5)
    np.testing.assert_array_equal(image.read((slice(0, 3), slice(0, 4), slice(0, 5))), numbers())
    part = (slice(1, 3), slice(2, 4), slice(3, 5))
    np.testing.assert_array_equal(image.read(part), numbers()[part])
    size = (0.04, 0.004, 0.004) if written.startswith("tensorstore") else None
    assert image.voxel_size == size


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_blocks(tmp_path: Path, dtype: str, compression: str) -> None:
    array = voxels(5, 33, 47, dtype=dtype)
    array[:2, 16:32, :20] = 0
    image = open_image(write_n5(tmp_path / "a.n5", array, compression=compression))
    assert (image.format, image.axes, image.chunks) == ("n5", "QYX", (2, 16, 20))
    assert not (tmp_path / "a.n5/0/1/0").exists()
    assert image.is_lazy and image.dtype.isnative
    assert same(image, array[None])


def test_blocks_that_say_how_many_numbers_they_have(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    assert same(open_image(write_n5(tmp_path / "a.n5", array, mode=1)), array[None])


@pytest.mark.parametrize(
    ("shape", "axes", "found"),
    [
        ((33, 47), None, "YX"),
        ((5, 33, 47), ["x", "y", "z"], "ZYX"),
        ((2, 33, 47), ["x", "y", "c"], "CYX"),
        ((5, 2, 33, 47), ["x", "y", "c", "z"], "ZCYX"),
        ((2, 33, 47, 5), ["z", "x", "y", "c"], "CYXZ"),
    ],
)
def test_axes(tmp_path: Path, shape: Any, axes: Any, found: str) -> None:
    array = voxels(*shape)
    image = open_image(write_n5(tmp_path / "a.n5", array, blocks=(2, 2, 9, 7), axes=axes))
    assert image.axes == found
    order = [found.index(axis) for axis in "CZYX" if axis in found]
    lengths = {axis: n for axis, n in zip(found, shape, strict=True)}
    expected = array.transpose(order).reshape([lengths.get(axis, 1) for axis in "CZYX"])
    assert same(image, expected)


def test_imagej(tmp_path: Path) -> None:
    """As Fiji writes it: X, Y, C, Z, T, those of length 1 left out."""
    array = voxels(3, 5, 2, 33, 47)
    sizes: dict[str, Any] = {
        "pixelWidth": 0.25,
        "pixelHeight": 0.5,
        "pixelDepth": 2.0,
        "pixelUnit": "micron",
    }
    counts: dict[str, Any] = {"numChannels": 2, "numSlices": 5, "numFrames": 3}
    path = write_n5(tmp_path / "a.n5", array, blocks=(1, 2, 1, 16, 20), **sizes, **counts)
    image = open_image(path, time=2)
    assert (image.axes, image.voxel_size) == ("TZCYX", (2.0, 0.5, 0.25))
    assert same(image, array[1].transpose(1, 0, 2, 3))
    counts = {"numChannels": 1, "numSlices": 5, "numFrames": 1}
    path = write_n5(tmp_path / "b.n5", array[0, :, 0], **sizes, **counts)
    assert same(open_image(path), array[None, 0, :, 0])


def write_viewer(folder: Path, arrays: np.ndarray) -> Path:
    """N5 Viewer: channels, scales and resolution for all of them at the root."""
    resolution = {"unit": "nm", "dimensions": [250, 500, 2000]}
    scales = [[1, 1, 1], [2, 2, 1], [4, 4, 1]]
    group(folder, n5="2.5.1", pixelResolution=resolution, scales=scales)
    for number, array in enumerate(arrays):
        pyramid(folder / f"c{number}", array)
    return folder


def test_n5_viewer(tmp_path: Path) -> None:
    arrays = voxels(11, 5, 33, 47)
    path = write_viewer(tmp_path / "a.n5", arrays)
    image = open_image(path)
    assert (image.axes, image.channels, image.levels) == ("CZYX", 11, 3)
    assert image.voxel_size == (2.0, 0.5, 0.25)
    assert same(image, arrays)
    assert same(open_image(path / "c10"), arrays[10:])
    assert open_image(path / "c10").voxel_size == (2.0, 0.5, 0.25)
    coarse = open_image(path, level=1)
    assert coarse.voxel_size == (2.0, 1.0, 0.5)
    assert coarse.origin == (0.0, 0.25, 0.125)
    assert same(coarse, arrays[..., ::2, ::2])


def test_levels_that_are_named(tmp_path: Path) -> None:
    arrays = voxels(2, 5, 33, 47)
    path = write_viewer(tmp_path / "a.n5", arrays)
    image = open_image(path / "c1/s1")
    assert (image.level, image.levels, image.voxel_size) == (1, 3, (2.0, 1.0, 0.5))
    assert same(image, arrays[1:, :, ::2, ::2])
    again = open_image(image.address, **image.selection.options)
    assert again == image and again.identity == image.identity
    message = "names a level of the image already; got level 2; allowed: level 1"
    assert_refused(message, path / "c1/s1", level=2)
    assert_refused("no such pyramid level; got 3; allowed: 0 to 2", path / "c1", level=3)


def write_bigdataviewer(path: Path, arrays: np.ndarray) -> Path:
    """Setups, their time points and levels in folders."""
    group(path, n5="2.5.1")
    for setup, times in enumerate(arrays):
        factors = [[1, 1, 1], [2, 2, 1], [4, 4, 1]]
        folder = group(path / f"setup{setup}", downsamplingFactors=factors, dataType="uint16")
        for time, array in enumerate(times):
            point = group(folder / f"timepoint{time}", resolution=[0.25, 0.5, 2.0], multiScale=True)
            pyramid(point, array)
    return path


def test_bigdataviewer(tmp_path: Path) -> None:
    arrays = voxels(2, 12, 5, 33, 47)
    path = write_bigdataviewer(tmp_path / "dataset.n5", arrays)
    assert_refused(r"several images; got 1 \(setup0\), 2 \(setup1\); give series", path)
    assert_refused("several time points; got axes TZYX .*: time 1 to 12", path, series="setup1")
    image = open_image(path, series="2", time=11)
    assert image.voxel_size == (2.0, 0.5, 0.25)
    said = describe(image)
    assert "no unit for its voxel size, which is read as micrometres" in said[-1]
    assert "format    n5, series 2 of 2 (setup1), time 11 of 12, level 0 of 0 to 2" in said
    assert same(image, arrays[1:2, 10])
    assert same(open_image(path / "setup0", time=2, level=2), arrays[:1, 1, :, ::4, ::4])
    assert same(open_image(path / "setup0/timepoint3"), arrays[:1, 3])
    named = open_image(path / "setup0/timepoint3/s1")
    assert named.voxel_size == (2.0, 1.0, 0.5)
    assert same(named, arrays[:1, 3, :, ::2, ::2])


def test_xml_of_bigdataviewer(tmp_path: Path) -> None:
    """Beside the container, or named itself: voxel sizes with a unit, names of channels."""
    arrays = voxels(2, 2, 5, 33, 47)
    path = write_bigdataviewer(tmp_path / "a.n5", arrays)
    options = {"target": "a.n5", "loader": "bdv.n5", "unit": "nm"}
    xml = write_xml(tmp_path / "a.xml", ("one", "two"), **options)
    size = (0.002, 0.0005, 0.00025)
    for address in (path, xml):
        image = open_image(address, series="setup1", time=2)
        assert image.address == str(address)
        assert (image.voxel_size, image.channel_names) == (size, ("488 nm",))
        assert same(image, arrays[1:, 1]) and not image.layout.note
        again = open_image(image.address, **image.selection.options)
        assert again == image and again.identity == image.identity
    named = open_image(path / "setup1/timepoint0/s1")
    assert named.voxel_size == (0.002, 0.001, 0.0005)
    assert_refused("several images; got 1", xml)
    for target in ("gone.n5", "../a.n5", "."):
        write_xml(xml, **(options | {"target": target}))
        assert_refused(f"XML names is not in its folder; got {target}", xml)


def test_openorganelle(tmp_path: Path) -> None:
    """A scale and translation of each level, the slowest axis first."""
    array = voxels(5, 33, 47)
    path = group(tmp_path / "a.n5", n5="2.0.0") / "volumes/raw"
    for level in range(2):
        transform = {
            "axes": ["z", "y", "x"],
            "scale": [5.24, 4.0 * 2**level, 4.0 * 2**level],
            "translate": [0.0, 2.0 * level, 2.0 * level],
            "units": ["nm"] * 3,
        }
        step = 2**level
        write_n5(path / f"s{level}", array[:, ::step, ::step], transform=transform)
    image = open_image(tmp_path / "a.n5", level=1)
    assert image.voxel_size == (0.00524, 0.008, 0.008)
    assert image.translation == (0.0, 0.002, 0.002)
    assert image.series == (("volumes/raw",), 0)
    assert same(image, array[None, :, ::2, ::2])


def test_what_is_asked_for_or_refused(tmp_path: Path, server: str) -> None:
    path = group(tmp_path / "a.n5", n5="4.0.0")
    assert_refused("the N5 container holds no dataset here", path)
    write_n5(path / "two/a", voxels(5, 33, 47))
    write_n5(path / "ten/b", voxels(6, 33, 47))
    message = r"several images; got 1 \(ten/b\), 2 \(two/a\); give series, or .*a\.n5/ten/b"
    assert_refused(message, path)
    assert open_image(path, series="two/a").shape == (5, 33, 47)
    assert_refused("no such image in the file; got series three", path, series="three")
    attributes = path / "two/a/attributes.json"
    written = attributes.read_text()
    for before, after, message in (
        ("gzip", "jpeg", "compressed in a way that cannot be read; got jpeg; allowed: raw, gzip"),
        ("uint16", "string", "of a type that cannot be read; got string"),
        ("[47, 33, 5]", "[47, 33]", r"damaged; got dimensions \(33, 47\) in blocks"),
        ("{", "(", "the attributes cannot be read"),
    ):
        attributes.write_text(written.replace(before, after))
        assert_refused(message, path / "two/a")
    write_viewer(tmp_path / "b.n5", voxels(2, 5, 33, 47))
    write_n5(tmp_path / "b.n5/c1/s0", voxels(6, 33, 47))
    assert_refused("c1/s0 has another shape or type than c0/s0", tmp_path / "b.n5")
    (tmp_path / "b.n5/c1/s2/attributes.json").unlink()
    assert_refused("there is no N5 dataset", tmp_path / "b.n5", level=2)
    assert_refused("read from a local disk only", f"{server}/b.n5/c0")


@pytest.mark.parametrize("compression", PACK)
def test_damaged_blocks(tmp_path: Path, compression: str) -> None:
    array = voxels(5, 33, 47)
    path = write_n5(tmp_path / "a.n5", array, compression=compression)
    block = path / "1/1/0"
    content = block.read_bytes()
    for damaged in (b"", content[:10], content[: len(content) // 2], b"\0\2" + content[2:]):
        block.write_bytes(damaged)
        image = open_image(path)
        assert same_elsewhere(image, array)
        with pytest.raises(InputError, match=r"the region z 0:5, .* cannot be read; .* damaged"):
            image.read((slice(0, 5), slice(0, 33), slice(0, 47)))


def same_elsewhere(image: Any, array: np.ndarray) -> bool:
    """Whether a region is read beside the block 1/1/0."""
    region = (slice(0, 2), slice(0, 16), slice(0, 47))
    return bool((image.read(region) == array[region]).all())


def test_processes_and_identity(tmp_path: Path) -> None:
    arrays = voxels(2, 5, 33, 47)
    path = write_viewer(tmp_path / "a.n5", arrays)
    image = open_image(path)
    assert same(pickle.loads(pickle.dumps(image)), arrays)
    with get_context("fork").Pool(2) as pool:
        for block in pool.map(image.read, [REGION] * 4):
            np.testing.assert_array_equal(block, arrays[0][REGION])
    identity = image.identity
    others = {open_image(path / "c0").identity, open_image(path, level=1).identity}
    assert identity not in others and len(others) == 2
    os.utime(path / "c1/s1/0/0/0", ns=(0, 2**62))
    assert open_image(path).identity == identity  # another level
    os.utime(path / "c1/s0/0/0/0", ns=(0, 2**62))
    assert open_image(path).identity != identity
    moved = path.rename(tmp_path / "b.n5")
    assert open_image(moved / "c0").identity in others


def test_segmented_as_zarr(tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any) -> None:
    terapose = Terapose(monkeypatch, capsys)
    arrays = voxels(2, 4, 30, 30)
    write_viewer(tmp_path / "a.n5", arrays)
    write_zarr(tmp_path / "a.zarr", arrays, dimension_names="czyx")
    options: tuple[Any, ...] = ("--model", tiny_model, "--diameter", 30, "--jobs", 1)
    options += ("--cellprob-threshold", -9, "--voxel-size", "2,0.5,0.5")
    for suffix in ("n5", "zarr"):
        said = terapose("segment", tmp_path / f"a.{suffix}", tmp_path / suffix, *options)
        assert said.code == 0, said.err
    tables = [(tmp_path / suffix / "cells.csv").read_text() for suffix in ("n5", "zarr")]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) > 2
