"""Tiles and strips of a TIFF that are pictures: read as they are, refused where they are larger."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from tests.memory import said
from tests.pictures import NOISE, read_picture, write_picture

from terapose.apps.train.files import _read_png
from terapose.apps.train.labels import read_indexed
from terapose.core.errors import InputError
from terapose.io.images.opening import open_image
from terapose.io.images.pictures import jpeg_2000_header, jpeg_pixels, refuse_no_png

_SMALL = np.zeros((601, 703), np.uint8)
_SIDE = 40_000
_WITHIN = "of 64 x 64 pixels, holds a picture that is larger, of another kind or damaged"


def _stretched(packed: bytes, form: str, less: int = 0) -> bytes:
    """A picture of 601 x 703 whose header says 40,000 x 40,000 wherever it says that."""
    large = struct.pack(form, _SIDE - less)
    for edge in _SMALL.shape:
        assert struct.pack(form, edge - less) in packed
        packed = packed.replace(struct.pack(form, edge - less), large)
    return packed


def _jpeg() -> bytes:
    return _stretched(bytes(imagecodecs.jpeg_encode(_SMALL)), ">H")


def _lossless() -> bytes:
    return _stretched(bytes(imagecodecs.jpeg_encode(_SMALL, lossless=True)), ">H")


def _progressive() -> bytes:
    """Its coefficients take memory before a row is decoded."""
    packed = io.BytesIO()
    Pillow.fromarray(_SMALL).save(packed, "JPEG", progressive=True)
    return _stretched(packed.getvalue(), ">H")


def _jpeg_2000() -> bytes:
    return _stretched(bytes(imagecodecs.jpeg2k_encode(_SMALL, codecformat="j2k")), ">I")


def _jpeg_xr() -> bytes:
    packed = _stretched(bytes(imagecodecs.jpegxr_encode(_SMALL)), "<I")
    return _stretched(packed, ">H", 1)


def _jpeg_xl() -> bytes:
    """As large as it says; one whose header alone says more is not looked at by the decoder."""
    return bytes(imagecodecs.jpegxl_encode(np.zeros((8192, 8192), np.uint8), effort=1))


def _webp() -> bytes:
    packed = bytes(imagecodecs.webp_encode(np.zeros((8, 8, 3), np.uint8), lossless=True))
    assert packed[12:16] == b"VP8L"
    return packed[:21] + struct.pack("<I", 2**28 - 1) + packed[25:]  # twice 14 bits


def _animated() -> bytes:
    """Of 8 x 8 pixels."""
    packed, frames = io.BytesIO(), [Pillow.new("RGB", (8, 8), n) for n in ("red", "blue")]
    frames[0].save(packed, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return packed.getvalue()


def _lerc() -> bytes:
    packed = bytearray(imagecodecs.lerc_encode(_SMALL, version=2))
    struct.pack_into("<3I", packed, 10, _SIDE, _SIDE, _SIDE**2)
    return bytes(packed)


def _packed_lerc() -> bytes:
    """More zeros, packed with Zstandard as some writers do, than a tile has."""
    return bytes(imagecodecs.zstd_encode(b"Lerc2" + bytes(2**24))) * 60


def _png() -> bytes:
    packed = bytearray(imagecodecs.png_encode(_SMALL))
    struct.pack_into(">2I", packed, 16, _SIDE, _SIDE)
    struct.pack_into(">I", packed, 29, zlib.crc32(packed[12:29]))
    return bytes(packed)


_BOMBS: list[tuple[str, int, Callable[[], bytes]]] = [
    ("jpeg", 1, _jpeg),
    ("jpeg", 1, _progressive),
    ("jpeg", 1, _lossless),
    ("jpeg2000", 1, _jpeg_2000),
    ("jpegxr", 1, _jpeg_xr),
    ("jpegxl", 1, _jpeg_xl),
    ("webp", 3, _webp),
    ("webp", 3, _animated),
    ("lerc", 1, _lerc),
    ("lerc", 1, _packed_lerc),
    ("png", 1, _png),
]


@pytest.mark.parametrize(
    ("compression", "samples", "made"), _BOMBS, ids=[made.__name__ for *_, made in _BOMBS]
)
def test_larger_than_said(
    tmp_path: Path, compression: str, samples: int, made: Callable[[], bytes]
) -> None:
    path = write_picture(tmp_path / "a.tif", made(), compression, samples, tile=(64, 64))
    assert _WITHIN in said(path, axes="YXC" if samples > 1 else "")


@pytest.mark.parametrize(("compression", "made"), [("jpeg", _jpeg), ("png", _png)])
def test_strip_larger_than_said(
    tmp_path: Path, compression: str, made: Callable[[], bytes]
) -> None:
    path = write_picture(tmp_path / "a.tif", made(), compression, 1, rowsperstrip=64)
    assert _WITHIN in said(path)


@pytest.mark.parametrize("how", [{"tile": (64, 32)}, {"rowsperstrip": 32}], ids=["tiles", "strips"])
@pytest.mark.parametrize(
    ("compression", "settings"),
    [
        ("jpeg2000", {}),
        ("jpegxr", {"compressionargs": {"level": 1.0}}),
        ("jpegxl", {"compressionargs": {"lossless": True}}),
        ("lerc", {}),
        ("lerc", {"predictor": True}),
        ("lerc", {"compressionargs": {"compression": "zstd"}}),
        ("lerc", {"compressionargs": {"compression": "deflate"}}),
        ("png", {}),
        ("jpeg", {"compressionargs": {"lossless": True}}),
    ],
)
def test_as_it_should_be(
    tmp_path: Path, compression: str, settings: dict[str, Any], how: dict[str, Any]
) -> None:
    """Also at the edges of the image, where tiles go on and the last strip is shorter."""
    path = tmp_path / "a.tif"
    settings = {**settings, **how}
    tifffile.imwrite(path, NOISE, compression=compression, photometric="minisblack", **settings)
    assert (read_picture(path) == NOISE).all()


@pytest.mark.parametrize("samples", [3, 4])
def test_webp(tmp_path: Path, samples: int) -> None:
    colours = np.stack([NOISE.astype(np.uint8) + n for n in range(samples)], -1)
    settings: dict[str, Any] = {
        "compressionargs": {"lossless": True},
        "tile": (64, 64),
        "planarconfig": "contig",
    }
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colours, compression="webp", photometric="minisblack", **settings)
    assert (read_picture(path, axes="YXC", channel=2) == colours[..., 1]).all()


def test_tiles_that_end_with_the_image(tmp_path: Path) -> None:
    """Some writers cut the pictures at the edges."""
    path, tiles = (
        tmp_path / "a.tif",
        [NOISE[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)],
    )
    packed = (bytes(imagecodecs.png_encode(np.ascontiguousarray(tile))) for tile in tiles)
    shape: dict[str, Any] = {"shape": NOISE.shape, "dtype": "u2", "tile": (64, 64)}
    tifffile.imwrite(path, packed, **shape, compression="png", photometric="minisblack")
    assert (read_picture(path) == NOISE).all()


def test_strip_with_all_rows(tmp_path: Path) -> None:
    """Some writers fill up the last one."""
    path, rows = tmp_path / "a.tif", np.concatenate([NOISE, NOISE])
    packed = (bytes(imagecodecs.png_encode(rows[y : y + 32])) for y in range(0, 100, 32))
    shape: dict[str, Any] = {"shape": NOISE.shape, "dtype": "u2", "rowsperstrip": 32}
    tifffile.imwrite(path, packed, **shape, compression="png", photometric="minisblack")
    assert (read_picture(path) == NOISE).all()


def test_picture_of_another_shape_or_type(tmp_path: Path) -> None:
    for picture, said_of_it in (
        (np.zeros((64, 63), np.uint8), r"its shape is \(64, 63\)"),
        (np.zeros((64, 64), np.uint16), "its type is uint16, not uint8"),
    ):
        path = write_picture(tmp_path / "a.tif", bytes(imagecodecs.png_encode(picture)), "png", 1)
        with pytest.raises(InputError, match=said_of_it):
            read_picture(path)


def _tile(picture: np.ndarray[Any, Any], compression: str) -> bytes:
    encode: dict[str, Any] = {
        "jpeg": imagecodecs.jpeg8_encode,
        "jpeg2000": imagecodecs.jpeg2k_encode,
    }
    return bytes(encode.get(compression, imagecodecs.png_encode)(np.ascontiguousarray(picture)))


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "png"])
@pytest.mark.parametrize("shape", [(32, 128), (128, 32), (16, 256)])
def test_pictures_of_as_many_pixels_in_another_shape(
    tmp_path: Path, compression: str, shape: tuple[int, int]
) -> None:
    """Their rows would be put together to other rows."""
    packed = _tile(np.arange(64 * 64, dtype=np.uint8).reshape(shape), compression)
    path = write_picture(tmp_path / "a.tif", packed, compression, 1, tile=(64, 64))
    with pytest.raises(InputError, match=_WITHIN):
        read_picture(path)


@pytest.mark.parametrize("how", [{"tile": (64, 64)}, {"rowsperstrip": 64}])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_jpegs_that_end_too_soon(tmp_path: Path, part: float, how: dict[str, Any]) -> None:
    """A decoder makes up what is missing."""
    noise = NOISE[:64, :64].astype(np.uint8)
    packed = _tile(noise, "jpeg")
    read_picture(
        write_picture(tmp_path / "a.tif", packed + b"\0\0", "jpeg", 1, **how)
    )  # writers fill up
    path = write_picture(tmp_path / "a.tif", packed[: int(len(packed) * part)], "jpeg", 1, **how)
    with pytest.raises(InputError, match=f"{_WITHIN}: it ends too soon"):
        read_picture(path)


_DAMAGED = """
import gc, sys
from pathlib import Path
from tests.io.test_pictures import _tile
from tests.pictures import NOISE, read_picture, write_picture
from terapose.core.errors import InputError

packed, refused = _tile(NOISE[:64, :64].astype("u1"), "png"), 0
for n in range(120):
    place = n * len(packed) // 120
    damaged = packed[:place] if n % 2 else packed[:place] + b"\\xa5" + packed[place + 1 :]
    try:
        read_picture(write_picture(Path(sys.argv[1]), damaged, "png", 1, tile=(64, 64)))
    except InputError:
        refused += 1
    gc.collect()
print(refused)
"""


def test_damaged_png_does_not_crash(tmp_path: Path) -> None:
    """In a process of its own, which had ended with a segmentation fault."""
    words = [sys.executable, "-c", _DAMAGED, str(tmp_path / "a.tif")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr and int(done.stdout) > 100


def test_jpeg_with_tables(tmp_path: Path) -> None:
    """As libtiff writes it: what all strips have in common lies in a tag."""
    path = tmp_path / "a.tif"
    smooth = np.add.outer(np.arange(100), np.arange(90)).astype(np.uint8)
    Pillow.fromarray(smooth).save(path, compression="jpeg", quality=95)
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.jpegtables
    assert np.abs(read_picture(path).astype(int) - smooth).max() < 8


def test_jpeg_of_tables_that_say_the_size(tmp_path: Path) -> None:
    """A decoder takes the size of the tables where they have one."""
    small = bytes(imagecodecs.jpeg_encode(np.zeros((64, 64), np.uint8)))
    path = write_picture(
        tmp_path / "a.tif", small, "jpeg", 1, extratags=[(347, 7, None, _jpeg(), True)]
    )
    with pytest.raises(InputError, match="1600000000 pixels"):
        read_picture(path)


def test_header_of_jpeg() -> None:
    packed = bytes(imagecodecs.jpeg_encode(_SMALL))
    assert jpeg_pixels(packed) == _SMALL.size
    assert jpeg_pixels(packed[:20]) == 0
    assert jpeg_pixels(b"\xff\xd8\xff\xd9" + packed) == 0
    for between in (b"\xff", b"\0", b"\xff\xd0", b"\xff\x01"):
        with pytest.raises(ValueError, match="header of the JPEG is damaged at byte 2"):
            jpeg_pixels(packed[:2] + between + packed[2:])


def _boxes(packed: bytes) -> dict[bytes, int]:
    return {kind: packed.index(kind) - 4 for kind in (b"jp2h", b"jp2c")}


def test_jpeg_2000_with_two_headers(tmp_path: Path) -> None:
    """The first is that of 8 x 8 pixels, in a box that a decoder passes over."""
    small = bytes(imagecodecs.jpeg2k_encode(np.zeros((8, 8), np.uint8), codecformat="j2k"))
    large = bytes(imagecodecs.jpeg2k_encode(_SMALL, codecformat="jp2"))
    box = struct.pack(">I4s", 8 + len(small), b"free") + small
    first = _boxes(large)[b"jp2h"]
    path = tmp_path / "a.jp2"
    path.write_bytes(large[:first] + box + large[first:])
    assert open_image(tmp_path / "*.jp2", stack=True).shape == (1, *_SMALL.shape)
    path = write_picture(tmp_path / "a.tif", path.read_bytes(), "jpeg2000", 1)
    with pytest.raises(InputError, match="601 x 703 pixels of 1 components, 8 bits"):
        read_picture(path)


def test_header_of_jpeg_2000() -> None:
    packed = bytes(imagecodecs.jpeg2k_encode(_SMALL.astype(np.int16), codecformat="jp2"))
    assert jpeg_2000_header(packed) == (601, 703, 1, 16, True)
    start = _boxes(packed)[b"jp2c"]
    long = packed[:start] + struct.pack(">I4sQ", 1, b"jp2c", 0) + packed[start + 8 :]
    assert jpeg_2000_header(long) == jpeg_2000_header(packed)
    for damaged in (b"", packed[:12], packed[: start + 40], packed[:12] + bytes(200)):
        with pytest.raises(ValueError, match="no image header"):
            jpeg_2000_header(damaged)
    colours = packed[:start] + struct.pack(">I4s", 12, b"pclr") + bytes(4) + packed[start:]
    with pytest.raises(ValueError, match="palette"):
        jpeg_2000_header(colours)


def test_png_of_training(tmp_path: Path) -> None:
    """Its header may say no more than its bytes can become; OpenCV would take the memory."""
    path = tmp_path / "a.png"
    imagecodecs.imwrite(path, _SMALL)
    refuse_no_png(path)
    path.write_bytes(_png())
    for read in (_read_png, read_indexed):
        with pytest.raises(InputError, match="as a PNG image; got 40000 x 40000 pixels"):
            read(path)
    path.write_bytes(bytes(imagecodecs.jpeg_encode(_SMALL)))
    with pytest.raises(InputError, match="got another format"):
        _read_png(path)
    path.write_bytes(_png() + bytes(2**21))  # as many as it says, but more than OpenCV reads
    with pytest.raises(InputError, match="cannot be read as a PNG image"):
        _read_png(path)
