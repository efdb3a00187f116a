"""Shards of Zarr whose index is not one that a writer makes, with a checksum that is right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image

_VALUES = np.random.default_rng(4).integers(1, 999, (4, 8, 8)).astype(np.uint16)
_MOST = 2**64 - 1
_COUNT = 8
Index = np.ndarray[Any, Any]


def _shard(folder: Path, place: str, compressors: Any = ()) -> Path:
    """An array of one shard of eight chunks; its file."""
    inner = ShardingCodec(
        chunk_shape=(2, 4, 4), index_location=place, codecs=[BytesCodec(), *compressors]
    )
    zarr.create_array(
        folder / "a.zarr",
        data=_VALUES,
        chunks=_VALUES.shape,
        serializer=inner,
        compressors=None,
        filters=None,
        fill_value=0,
    )
    (file,) = (path for path in folder.rglob("c/**/*") if path.is_file())
    return file


def _edited(file: Path, place: str, edit: Callable[[Index], None]) -> None:
    """Change the index of a shard: (chunk, offset or length), and its checksum."""
    content, size = file.read_bytes(), 16 * _COUNT
    start = 0 if place == "start" else len(content) - size - 4
    index = np.frombuffer(content[start : start + size], "<u8").reshape(_COUNT, 2).copy()
    edit(index)
    packed = index.tobytes()
    packed += struct.pack("<I", google_crc32c.value(packed))
    file.write_bytes(content[:start] + packed + content[start + len(packed) :])


def _same(index: Index) -> None:
    index[3] = index[5]


def _within(index: Index) -> None:
    """One chunk begins in the middle of another."""
    index[2, 0] = index[1, 0] + 2


def _beyond(index: Index) -> None:
    index[7, 0] = 2**20


def _half_beyond(index: Index) -> None:
    last = int(index[:, 0].argmax())
    index[last, 0] += 160


def _far(index: Index) -> None:
    """The end is at 2**64 and more."""
    index[7] = (_MOST - 3, 64)


def _half_missing(index: Index) -> None:
    index[7, 0] = _MOST


def _other_half_missing(index: Index) -> None:
    index[7, 1] = _MOST


def _no_bytes(index: Index) -> None:
    index[7, 1] = 0


_ODD = [_same, _within, _beyond, _half_beyond, _far, _half_missing, _other_half_missing, _no_bytes]


def _read(folder: Path, chunk: int | None = None) -> np.ndarray[Any, Any]:
    """All voxels, or those of a chunk."""
    image = open_image(folder / "a.zarr", axes="ZYX")
    whole = (slice(0, 4), slice(0, 8), slice(0, 8))
    return image.read(whole if chunk is None else _box(chunk), 1)


def _box(chunk: int) -> Any:
    z, y, x = np.unravel_index(chunk, (2, 2, 2))
    return slice(2 * z, 2 * z + 2), slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4)


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("compressors", [(), (ZstdCodec(),)], ids=["plain", "zstd"])
@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: odd.__name__)
def test_an_odd_index_is_refused(
    tmp_path: Path, place: str, compressors: Any, odd: Callable[[Index], None]
) -> None:
    file = _shard(tmp_path, place, compressors)
    assert (_read(tmp_path) == _VALUES).all()
    _edited(file, place, lambda index: None)
    assert (_read(tmp_path) == _VALUES).all()
    _edited(file, place, odd)
    with pytest.raises(InputError, match=r"cannot be read"):
        _read(tmp_path)
    for chunk in range(_COUNT):
        try:
            assert (_read(tmp_path, chunk) == _VALUES[_box(chunk)]).all()
        except InputError:
            continue


@pytest.mark.parametrize("place", ["start", "end"])
def test_a_shard_of_no_bytes_is_refused(tmp_path: Path, place: str) -> None:
    """It is not taken for one that is not there."""
    file = _shard(tmp_path, place)
    file.write_bytes(b"")
    for chunk in (None, 0, 7):
        with pytest.raises(InputError, match="cannot be read"):
            _read(tmp_path, chunk)


@pytest.mark.parametrize("place", ["start", "end"])
def test_what_a_shard_lacks_is_zeros(tmp_path: Path, place: str) -> None:
    """Chunks in any order, with room between them, and chunks and shards that are missing."""
    file = _shard(tmp_path, place)

    def without(index: Index) -> None:
        index[[0, 6]] = _MOST

    _edited(file, place, without)
    wanted = _VALUES.copy()
    for chunk in (0, 6):
        wanted[_box(chunk)] = 0
    assert (_read(tmp_path) == wanted).all()
    for chunk in range(_COUNT):
        assert (_read(tmp_path, chunk) == wanted[_box(chunk)]).all()
    file.unlink()
    assert not _read(tmp_path).any() and not _read(tmp_path, 3).any()


def test_chunks_in_another_order(tmp_path: Path) -> None:
    file = _shard(tmp_path, "end")

    def swapped(index: Index) -> None:
        index[[1, 4]] = index[[4, 1]]

    _edited(file, "end", swapped)
    found = _read(tmp_path)
    assert (found[_box(1)] == _VALUES[_box(4)]).all() and (found[_box(0)] == _VALUES[_box(0)]).all()
