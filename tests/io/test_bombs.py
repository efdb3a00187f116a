"""Small files that unpack to more than 1 GB end in one sentence, in little memory.

Each is read in a forked process that may take 400 MB more than it has (`tests.memory`).
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from tests.memory import said

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image
from terapose.io.images.unpack import most_of

_PART = 2**24
_TIMES = 72  # of 16 MiB: 1.2 GB


def _deflated() -> bytes:
    """Raw deflate; a full flush makes a part stand by itself."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = stream.compress(bytes(_PART)) + stream.flush(zlib.Z_FULL_FLUSH)
    return part * _TIMES + stream.flush()


def _zlib() -> bytes:
    return b"\x78\xda" + _deflated() + b"\0\0\0\0"


def _blosc() -> bytes:
    packed = bytearray(imagecodecs.blosc_encode(bytes(2**16)))
    struct.pack_into("<I", packed, 4, _PART * _TIMES)
    return bytes(packed)


def _lz4() -> bytes:
    return struct.pack("<I", _PART * _TIMES) + imagecodecs.lz4_encode(bytes(2**16))


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """1.2 GB of zeros, or what says that it is that."""
    part = bytes(_PART)
    return {
        "gzip": gzip.compress(part) * _TIMES,
        "zlib": _zlib(),
        "bz2": bz2.compress(part) * _TIMES,
        "lzma": lzma.compress(part, preset=0) * _TIMES,
        "zstd": bytes(imagecodecs.zstd_encode(part)) * _TIMES,
        "blosc": _blosc(),
        "lz4": _lz4(),
        "deflate": _deflated(),
    }


EDGES = (1000, 1000)
CODECS = ["gzip", "zlib", "bz2", "lzma", "zstd", "blosc", "lz4"]


@pytest.mark.parametrize("name", CODECS)
def test_zarr_2(bombs: dict[str, bytes], tmp_path: Path, name: str) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=EDGES, chunks=EDGES, dtype="u2", zarr_format=2, fill_value=0
    )
    array[:] = 1
    document = tmp_path / "a.zarr/.zarray"
    metadata = json.loads(document.read_text())
    document.write_text(json.dumps({**metadata, "compressor": {"id": name}}))
    (tmp_path / "a.zarr/0.0").write_bytes(bombs[name])
    assert f"unpacks to more than the {most_of(10**6, 2)} bytes" in said(tmp_path / "a.zarr")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", ["gzip", "zstd", "blosc", "numcodecs.zlib"])
def test_zarr_3(bombs: dict[str, bytes], tmp_path: Path, name: str, sharded: bool) -> None:
    path = tmp_path / "a.zarr"
    packed = bombs[name.removeprefix("numcodecs.")]
    codecs: list[dict[str, Any]] = [{"name": "bytes"}, {"name": name, "configuration": {}}]
    if name == "gzip":
        codecs[1]["configuration"] = {"level": 1}
    content = packed
    if sharded:
        inner = [*codecs]
        settings = {"chunk_shape": [8, 8], "codecs": inner, "index_codecs": [{"name": "bytes"}]}
        codecs = [{"name": "sharding_indexed", "configuration": settings}]
        content += struct.pack("<QQ", 0, len(packed))
    chunks = {"name": "regular", "configuration": {"chunk_shape": [8, 8]}}
    keys = {"name": "default", "configuration": {"separator": "/"}}
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [8, 8],
        "data_type": "uint8",
        "chunk_grid": chunks,
        "chunk_key_encoding": keys,
        "fill_value": 0,
        "codecs": codecs,
    }
    (path / "c/0").mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps(document))
    (path / "c/0/0").write_bytes(content)
    text = said(path)
    assert "unpacks to more than" in text or "is too large for a file of this type" in text


@pytest.mark.parametrize(
    "stored",
    [{"compressor": {"id": "zstd", "level": 1}}, {"filters": [{"id": "delta", "dtype": "<u2"}]}],
)
def test_zarr_as_it_should_be(tmp_path: Path, stored: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 2**16, (64, 64), dtype=np.uint16)
    array = zarr.create_array(
        tmp_path / "a.zarr", data=noise, chunks=(64, 64), zarr_format=2, **_made(stored)
    )
    assert array.metadata.zarr_format == 2
    read = open_image(tmp_path / "a.zarr").read((slice(0, 1), slice(0, 64), slice(0, 64)))
    assert (read[0] == noise).all()


def _made(stored: dict[str, Any]) -> dict[str, Any]:
    import numcodecs

    made: dict[str, Any] = {"compressors": None, "filters": None}
    if "compressor" in stored:
        made["compressors"] = numcodecs.get_codec(stored["compressor"])
    if "filters" in stored:
        made["filters"] = [numcodecs.get_codec(one) for one in stored["filters"]]
    return made


def test_codecs_that_run_what_they_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    for codec in ("pickle", "json2", "vlen-bytes"):
        metadata = {
            "zarr_format": 2,
            "shape": [4, 4],
            "chunks": [4, 4],
            "dtype": "<u2",
            "fill_value": 0,
            "order": "C",
            "compressor": {"id": codec},
            "filters": None,
        }
        (path / ".zarray").write_text(json.dumps(metadata))
        with pytest.raises(InputError, match=r"cannot be (read|opened)"):
            open_image(path)


def test_holes(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        path, shape=(8, 8), chunks=(8, 8), dtype="u1", zarr_format=2, compressors=None
    )
    array[:] = 1
    os.truncate(path / "0.0", 2**31)
    assert "0.0: is too large for a file of this type; got 2147483648 bytes" in said(path)
    os.truncate(path / ".zattrs", 2**31)
    assert ".zattrs: is too large" in said(path)


@pytest.mark.parametrize(
    ("method", "name"), [(8, "deflate"), (zipfile.ZIP_BZIP2, "bz2"), (93, "zstd")]
)
@pytest.mark.parametrize("member", ["zarr.json", "c/0/0"])
@pytest.mark.parametrize("honest", [False, True])
def test_zip(
    bombs: dict[str, bytes], tmp_path: Path, method: int, name: str, member: str, honest: bool
) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=EDGES, chunks=EDGES, dtype="u2", compressors=None
    )
    array[:] = 1
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in ("zarr.json", "c/0/0"):
            content = (tmp_path / "a.zarr" / file).read_bytes()
            archive.writestr(file, bombs[name] if file == member else content)
            if file == member:
                entry = archive.getinfo(file)
                entry.compress_type = method
                entry.file_size = _PART * _TIMES if honest else 64
    text = said(path)
    assert "the ZIP archive cannot be read" in text
    assert f"{member} has {_PART * _TIMES} bytes, where" in text or "unpacks to more than" in text


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "blosc", "lz4"])
def test_n5(bombs: dict[str, bytes], tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.n5"
    (path / "0").mkdir(parents=True)
    attributes = {
        "n5": "2.0.0",
        "dimensions": [8, 8],
        "blockSize": [8, 8],
        "dataType": "uint8",
        "compression": {"type": name},
    }
    (path / "attributes.json").write_text(json.dumps(attributes))
    packed = bombs[{"bzip2": "bz2", "xz": "lzma"}.get(name, name)]
    if name == "lz4":
        packed = struct.pack("<8sBIII", b"LZ4Block", 0x26, 100, _PART * _TIMES, 0) + bytes(100)
    head = struct.pack(">HHII", 0, 2, 8, 8)
    (path / "0/0").write_bytes(head + packed)
    text = said(path)
    assert "unpacks to more than" in text or "larger than it may be" in text
    (path / "0/0").write_bytes(struct.pack(">HHII", 0, 2, 2**15, 2**15) + packed[:1000])
    assert "block 0/0 is too large: (32768, 32768)" in said(path)
    os.truncate(path / "0/0", 2**31)
    assert "block 0/0 is larger than it may be" in said(path)


def _hdf5(path: Path, content: bytes, edge: int = 800, **settings: Any) -> Path:
    with h5py.File(path, "w") as file:
        chunk = (edge, edge)
        data = file.create_dataset("raw", chunk, "u2", chunks=chunk, **settings)
        data.id.write_direct_chunk((0, 0), content)
    return path


def test_hdf5(bombs: dict[str, bytes], tmp_path: Path) -> None:
    assert len(bombs["zlib"]) < most_of(800 * 800, 2)
    for settings in ({}, {"shuffle": True}, {"fletcher32": True}):
        path = _hdf5(tmp_path / "a.h5", bombs["zlib"], compression="gzip", **settings)
        assert "has more than the 2625536 bytes that it may" in said(path)
    path = _hdf5(tmp_path / "b.h5", bombs["zlib"], 8, compression="gzip")
    assert "has more than the 65792 bytes that it may" in said(path)


def test_hdf5_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((8, 8))
        settings.set_deflate(4)
        settings.set_filter(32000, 0)
        space = h5py.h5s.create_simple((8, 8))
        h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT16, space, settings)
    assert "is compressed more than once; got HDF5 filters [1, 32000]" in said(path)


def _zeros_of_lzf(times: int) -> bytes:
    """A zero, and references to it of 264 bytes each."""
    return b"\x00\x00" + b"\xe0\xff\x00" * times


def test_hdf5_lzf(tmp_path: Path) -> None:
    """Of what has been packed 88 times at most; what is small is harmless."""
    path = _hdf5(tmp_path / "a.h5", _zeros_of_lzf(2**20 + 2**18), 1400, compression="lzf")
    assert "has more than the 7905536 bytes that it may" in said(path)
    packed = _zeros_of_lzf(14_848) + b"\xe0\x76\x00"  # 2 * 1400 * 1400 = 1 + 14848 * 264 + 127
    path = _hdf5(tmp_path / "b.h5", packed, 1400, compression="lzf")
    assert said(path) == "it was read"


def test_hdf5_lzf_left_out(tmp_path: Path) -> None:
    """A chunk that LZF would have made longer is stored as it is."""
    noise = np.random.default_rng(1).integers(0, 2**16, (1400, 1400), dtype=np.uint16)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=noise, chunks=noise.shape, compression="lzf")
        assert data.id.get_chunk_info(0).filter_mask == 1
    assert (
        open_image(path).read((slice(0, 1), slice(0, 9), slice(0, 9)))[0] == noise[:9, :9]
    ).all()


@pytest.mark.parametrize("step", [1, 2])
def test_hdf5_virtual(bombs: dict[str, bytes], tmp_path: Path, step: int) -> None:
    """Chunks of the sources are looked at: of those, and of that of them, that is read."""
    good = tmp_path / "good.h5"
    with h5py.File(good, "w") as file:
        file.create_dataset("raw", (1600, 1600), "u2", chunks=(800, 800), compression="gzip")
    _hdf5(tmp_path / "bad.h5", bombs["zlib"], compression="gzip")
    with h5py.File(good, "a") as file:
        file["raw"].id.write_direct_chunk((800, 800), bombs["zlib"])
    layout = h5py.VirtualLayout((3, 800, 800), "u2")
    layout[0] = h5py.VirtualSource(good, "raw", (1600, 1600))[:800, :800]
    layout[1] = h5py.VirtualSource(tmp_path / "bad.h5", "raw", (800, 800))
    layout[2, ::step] = h5py.VirtualSource(good, "raw", (1600, 1600))[: 800 // step, 800:]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    assert "the chunk at (0, 0) has more than the 2625536 bytes" in said(
        tmp_path / "a.h5", axes="ZYX", region="1:2,:,:"
    )
    text = said(tmp_path / "a.h5", axes="ZYX", region="0:1,:,:")
    # what is not joined as one box is looked at as a whole
    assert text == "it was read" if step == 1 else "the chunk at (800, 800) has more" in text


def test_hdf5_as_it_should_be(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 2**16, (600, 600), dtype=np.uint16)
    for number, filters in enumerate(({"shuffle": True}, {"fletcher32": True}, {})):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=noise, chunks=(500, 500), compression="gzip", **filters)
        assert (path.stat().st_size) > 2**19
        read = open_image(path).read((slice(0, 1), slice(100, 600), slice(0, 600)))
        assert (read[0] == noise[100:]).all()


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzma", "packbits", "lzw"])
@pytest.mark.parametrize("tiled", [False, True])
def test_tiff(bombs: dict[str, bytes], tmp_path: Path, compression: str, tiled: bool) -> None:
    """A strip or tile is decoded into memory of its own size: what is more is left or refused."""
    path = tmp_path / "a.tif"
    packed = bombs.get(compression) or bytes(imagecodecs.lzw_encode(bytes(2**22)))
    if compression == "packbits":
        packed = b"\x81\0" * 2**20
    tile = (16, 16) if tiled else None
    pieces: Iterator[bytes] = iter([packed])
    tifffile.imwrite(
        path,
        pieces,
        shape=(16, 16),
        dtype="u1",
        tile=tile,
        rowsperstrip=None if tiled else 16,
        compression=compression,
        photometric="minisblack",
    )
    assert said(path) == "it was read" or "cannot be read; got" in said(path)
