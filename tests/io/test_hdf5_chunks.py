"""Chunks of HDF5 files that are shorter than they should be, which HDF5 does not notice."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import pytest
from tests.checks import same
from tests.synthetic import voxels

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image

SHAPE = (4, 24, 40)
CHUNK = (2, 24, 40)
HALF = voxels(*SHAPE)[:1].tobytes()


def _written(path: Path, content: bytes, mask: int = 0, **settings: Any) -> Path:
    """A file with a chunk as it should be, and one of the given bytes."""
    array = voxels(*SHAPE)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=array, chunks=CHUNK, **settings)
        data.id.write_direct_chunk((2, 0, 0), content, filter_mask=mask)
    return path


def _scaled(bits: int, count: int) -> bytes:
    return bits.to_bytes(4, "little") + b"\x08" + bytes(16) + bytes(count)


SHORT: list[tuple[str, bytes, int, dict[str, Any]]] = [
    ("gzip", zlib.compress(HALF), 0, {"compression": "gzip"}),
    ("gzip of nothing", zlib.compress(b""), 0, {"compression": "gzip"}),
    ("gzip, shuffled", zlib.compress(HALF), 0, {"compression": "gzip", "shuffle": True}),
    ("gzip left out", HALF, 1, {"compression": "gzip"}),
    ("all left out", b"a", 2**32 - 1, {"compression": "gzip", "shuffle": True}),
    ("lzf left out", HALF, 1, {"compression": "lzf"}),
    ("lzf", b"\x00a" * 9, 0, {"compression": "lzf"}),
    ("shuffled", HALF, 0, {"shuffle": True}),
    ("checksum left out", HALF, 1, {"fletcher32": True}),
    ("scaled", _scaled(5, 30), 0, {"scaleoffset": 0}),
    ("scaled, cut", _scaled(5, 30)[:20], 0, {"scaleoffset": 0}),
    ("scaled, gzip", zlib.compress(_scaled(5, 30)), 0, {"scaleoffset": 0, "compression": "gzip"}),
    ("not scaled", HALF, 1, {"scaleoffset": 0}),
    ("no filters", HALF, 0, {}),
]


@pytest.mark.parametrize(
    ("content", "mask", "settings"), [one[1:] for one in SHORT], ids=[one[0] for one in SHORT]
)
def test_short_chunks(tmp_path: Path, content: bytes, mask: int, settings: dict[str, Any]) -> None:
    """HDF5 would read on in its own memory: other voxels each time."""
    image = open_image(_written(tmp_path / "a.h5", content, mask, **settings), axes="ZYX")
    everything = (slice(0, 4), slice(0, 24), slice(0, 40))
    with pytest.raises(InputError, match=r"the chunk at \(2, 0, 0\) has \d+ bytes, where it sho"):
        image.read(everything)


def test_a_short_source_of_a_virtual_dataset(tmp_path: Path) -> None:
    for name, content, compression in (
        ("plain", HALF, None),
        ("packed", zlib.compress(HALF), "gzip"),
    ):
        path = _written(tmp_path / f"{name}.h5", content, compression=compression)
        layout = h5py.VirtualLayout(SHAPE, "u2")
        layout[:] = h5py.VirtualSource(path, "raw", SHAPE)
        with h5py.File(tmp_path / f"all-{name}.h5", "w") as file:
            file.create_virtual_dataset("raw", layout)
        image = open_image(tmp_path / f"all-{name}.h5", axes="ZYX")
        with pytest.raises(InputError, match=r"the chunk at \(2, 0, 0\) has \d+ bytes"):
            image.read((slice(0, 4), slice(0, 24), slice(0, 40)))


FILTERS = itertools.product((None, "gzip", "lzf"), (False, True), (False, True), (None, 0, 12))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4"])
def test_whole_chunks_of_all_filters(tmp_path: Path, dtype: str) -> None:
    """Those that no filter has made shorter, and those at the end of the image, too."""
    array = voxels(7, 25, 41, dtype=dtype)
    for compression, shuffle, fletcher32, scaleoffset in FILTERS:
        if fletcher32 and scaleoffset is not None:
            continue  # h5py refuses that
        settings = {"compression": compression, "shuffle": shuffle, "fletcher32": fletcher32}
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "raw", data=array, chunks=(2, 8, 16), scaleoffset=scaleoffset, **settings
            )
        assert same(open_image(path, axes="ZYX"), array[None]), (settings, scaleoffset)


def test_numbers_of_fewer_bits(tmp_path: Path) -> None:
    """N-bit leaves out bits that the type does not use."""
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(12)
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((2, 8, 8))
    settings.set_filter(5, 0)
    array = voxels(*SHAPE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(SHAPE)
        data = h5py.h5d.create(file.id, b"raw", kind, space, settings)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    assert same(open_image(tmp_path / "a.h5", axes="ZYX"), array[None])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["raw"].id.write_direct_chunk((2, 8, 8), b"ab")
    with pytest.raises(InputError, match="has 2 bytes, where it should have 192"):
        open_image(tmp_path / "a.h5", axes="ZYX").read((slice(0, 4), slice(0, 24), slice(0, 40)))


@pytest.mark.parametrize("name", ["Blosc", "Blosc2", "LZ4", "Zstd", "Bitshuffle", "BZip2"])
def test_filters_of_hdf5plugin(tmp_path: Path, name: str) -> None:
    """Whole chunks are read, those of half the bytes refused, and those that say more."""
    plugin = pytest.importorskip("hdf5plugin")
    made, array = getattr(plugin, name), voxels(5, 25, 41)
    path, half = tmp_path / "a.h5", tmp_path / "half.h5"
    for shape, file_name in ((CHUNK, path), ((1, *CHUNK[1:]), half)):
        with h5py.File(file_name, "w") as file:
            file.create_dataset("raw", data=array, chunks=shape, **made())
    assert same(open_image(path, axes="ZYX"), array[None])
    with h5py.File(half) as file:
        short = file["raw"].id.read_direct_chunk((0, 0, 0))[1]
    where = {"Blosc": (4, "<I"), "Blosc2": (30, ">Q"), "LZ4": (0, ">Q"), "Bitshuffle": (0, ">Q")}
    contents = [short]
    if name in where:
        place, form = where[name]
        long = bytearray(short)
        struct.pack_into(form, long, place, 2**31 - 9)
        contents.append(bytes(long))
    for content in contents:
        with h5py.File(path, "a") as file:
            file["raw"].id.write_direct_chunk((2, 0, 0), content)
        with pytest.raises(InputError, match=r"the chunk at \(2, 0, 0\) has"):
            open_image(path, axes="ZYX").read((slice(0, 4), slice(0, 24), slice(0, 40)))
