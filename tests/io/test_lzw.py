"""LZW data in a TIFF: sound ones are read, those that would end the process are refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from tests.pictures import NOISE, read_picture, write_picture

from terapose.core.errors import InputError
from terapose.io.images.lzw import check_lzw


def _lzw(*codes: int) -> bytes:
    """Codes of 9 bits, from the highest bit on."""
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


UNSOUND = [
    _lzw(256, 403, 258),
    _lzw(256, 258, 258, 259),
    _lzw(256, 7, 258, 259, 256, 511, 258, 257),
    _lzw(256, *range(200), 256, 300, 258),
    b"\x00\x01" + bytes(range(1, 60)),
]


@pytest.mark.parametrize("packed", UNSOUND)
def test_lzw_that_ends_the_process(tmp_path: Path, packed: bytes) -> None:
    """Decoders read what they have never written: after a code of an empty table."""
    path = write_picture(tmp_path / "a.tif", packed, "lzw", 1, tile=(64, 64))
    with pytest.raises(InputError, match="LZW data"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["noise", "few", "zeros", "walk", "random"])
def test_lzw_as_it_should_be(kind: str) -> None:
    """Of many lengths, so that tables are filled and cleared at any bit, by two writers."""
    rng = np.random.default_rng(2)
    made: dict[str, Callable[[int], np.ndarray[Any, Any]]] = {
        "noise": lambda n: rng.poisson(20, n),
        "few": lambda n: rng.integers(0, 3, n),
        "zeros": np.zeros,
        "walk": lambda n: np.cumsum(rng.integers(-1, 2, n)),
        "random": lambda n: rng.integers(0, 256, n),
    }
    for n in (1, 2, 255, 3_800, 4_100, 20_001, *rng.integers(1, 300_000, 12)):
        row = made[kind](int(n)).astype(np.uint8)
        check_lzw(bytes(imagecodecs.lzw_encode(row.tobytes())))
        file = io.BytesIO()
        Pillow.fromarray(row[None]).save(file, "TIFF", compression="tiff_lzw")
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            (start,), (count,) = page.dataoffsets, page.databytecounts
            check_lzw(file.getvalue()[start : start + count])
            assert (page.asarray() == row).all()


def _reversed(packed: bytes) -> bytes:
    return bytes(imagecodecs.bitorder_encode(packed))


def test_lzw_with_the_lowest_bit_first(tmp_path: Path) -> None:
    tile = NOISE[:64, :64].astype(np.uint8)
    packed = _reversed(bytes(imagecodecs.lzw_encode(tile.tobytes())))
    for content, is_whole in ((packed, True), (_reversed(UNSOUND[0]), False)):
        more = [(65000, 3, 1, 2, True)]
        path = write_picture(tmp_path / "a.tif", content, "lzw", 1, tile=(64, 64), extratags=more)
        file = path.read_bytes()  # tifffile writes no tag FillOrder
        path.write_bytes(file.replace(struct.pack("<HHI", 65000, 3, 1), b"\x0a\1\3\0\1\0\0\0"))
        if is_whole:
            assert (read_picture(path) == tile).all()
            continue
        with pytest.raises(InputError, match="LZW data that are damaged"):
            read_picture(path)
