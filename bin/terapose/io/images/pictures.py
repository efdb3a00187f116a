"""Pictures inside of other files (JPEG, JPEG 2000, WebP and others), unpacked into bounded memory.

A picture says how large it is, and a few bytes may say anything. Who reads knows how much there can
be at most. Decoders of imagecodecs are given so much memory to write into, and refuse before they
unpack what does not fit. Four take memory earlier, so their headers are read first:

- JPEG, whose coefficients are kept where it is progressive;
- JPEG 2000, which is unpacked before it is copied;
- WebP, of which an animation is put together on two canvases;
- PNG, whose decoder is given no memory.

Those of JPEG XR and of JPEG without loss crash where some pictures are damaged, so they have a
process of their own (`terapose.io.images.apart`).

A header is read where the decoder reads it: with two of them, or with bytes between them that a
decoder passes over, the second could be the larger one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from terapose.core.errors import InputError
from terapose.io.images import unpack
from terapose.io.images.apart import Packed, decode_apart

Picture = np.ndarray[Any, Any]

PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG starts with."""

_PNG_HEAD = 26
_GREY = (0, 4)
"""Kinds of colours of a PNG, without and with transparency."""
_INFLATED = 1032
"""Bytes that one byte of a PNG can become."""
_SOI, _SOS, _EOI = b"\xff\xd8", 0xDA, 0xD9
# markers of a JPEG that name the size: all of the range but tables and extensions, and JPEG-LS
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# of them, those of 8 or 12 bits with loss: baseline, extended and progressive
_COMMON = (0xC0, 0xC1, 0xC2)
# markers without a length, of which none belongs between those of a header
_BARE = {0x00, 0x01, *range(0xD0, 0xD9), 0xFF}
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_SIZ = b"\xff\x4f\xff\x51"
_ANIMATED = 2
_ZSTD, _LERC = b"\x28\xb5\x2f\xfd", (b"Lerc2", b"CntZI")


class Jpeg2000(NamedTuple):
    """What the header of a JPEG 2000 says: its size, and the first component's bits a pixel."""

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool


def jpeg_pixels(packed: bytes) -> int:
    """Rows times columns of a JPEG, as its header says; 0 where it ends without one.

    Raises
    ------
    ValueError
        If other bytes are between its segments: decoders disagree on what they are.
    """
    return max(map(math.prod, jpeg_sizes(packed)), default=0)


def jpeg_sizes(packed: bytes) -> list[tuple[int, int]]:
    """Rows and columns of a JPEG, each time that its header says them.

    Raises
    ------
    ValueError
        As `jpeg_pixels`.
    """
    return [(rows, columns) for _, rows, columns in _frames(packed)]


def is_common_jpeg(packed: bytes) -> bool:
    """Whether the header of a JPEG, or a part of it, says that it has the usual kind of pixels.

    Others, such as those without loss, have decoders that crash where they are damaged.

    Raises
    ------
    ValueError
        As `jpeg_pixels`.
    """
    return all(code in _COMMON for code, _, _ in _frames(packed))


def _frames(packed: bytes) -> list[tuple[int, int, int]]:
    """Marker, rows and columns each time that a JPEG's header says them."""
    place, frames = len(_SOI) if packed.startswith(_SOI) else 0, []
    while place + 4 <= len(packed):
        mark, code, length = struct.unpack_from(">BBH", packed, place)
        if mark != 0xFF or code in _BARE:
            raise ValueError(f"the header of the JPEG is damaged at byte {place}")
        if code in _FRAMES:
            rows, columns = struct.unpack_from(">HH", packed, place + 5)
            frames.append((code, rows, columns))
        if code in (_SOS, _EOI):
            break
        place += 2 + length
    return frames


def is_jpeg_cut(packed: bytes) -> bool:
    """Whether the end of a JPEG is missing: decoders make up the pixels, and only warn.

    Nothing else than the mark of the end looks like it in what is behind the header.
    """
    place = packed.find(bytes((0xFF, _SOS)))
    return bytes((0xFF, _EOI)) not in packed[max(place, 0) :]


def jpeg_2000_header(packed: bytes) -> Jpeg2000:
    """Read the header of a JPEG 2000, or of the first bytes of one.

    Raises
    ------
    ValueError
        If there is none, or if colours of a palette take the place of components.
    """
    start = _codestream(packed)
    if packed[start : start + 4] != _SIZ or len(packed) < start + 43:
        raise ValueError(f"no image header in the first {len(packed)} bytes of the JPEG 2000")
    if b"pclr" in packed[:start]:
        raise ValueError("a JPEG 2000 of a palette, which is not read")
    right, bottom, left, top = struct.unpack_from(">4I", packed, start + 8)
    components, depth = struct.unpack_from(">HB", packed, start + 40)
    return Jpeg2000(bottom - top, right - left, components, (depth & 127) + 1, depth > 127)


def _codestream(packed: bytes) -> int:
    """Where the codestream begins: at once, or in the first box for it; the length if nowhere."""
    place = 0
    while packed.startswith(_JP2) and place + 16 <= len(packed):
        length, kind, long = struct.unpack_from(">I4sQ", packed, place)
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return place + head
        size = long if length == 1 else length
        if size < head:
            return len(packed)
        place += size
    return place


def _from(codec: str, packed: bytes, most: int, **options: Any) -> Picture:
    """Unpack what a codec of imagecodecs packed; it takes a buffer that is as large or larger."""
    import imagecodecs

    decode = getattr(imagecodecs, f"{codec}_decode")
    picture: Picture = decode(packed, out=bytearray(most), **options)
    return picture


def _from_png(packed: bytes, most: int) -> Picture:
    """The decoder takes the memory itself: in a buffer, it crashes where a PNG is damaged."""
    import imagecodecs

    if not packed.startswith(PNG) or packed[12:16] != b"IHDR" or len(packed) < _PNG_HEAD:
        raise ValueError("no PNG")
    width, height, bits, colours = struct.unpack_from(">IIBB", packed, 16)
    samples = 2 if colours in _GREY else 4  # as many as there are with transparency
    if width * height * samples * -(-bits // 8) > most:
        raise ValueError(f"{height} x {width} pixels of {samples} samples, {bits} bits")
    picture: Picture = imagecodecs.png_decode(packed)
    return picture


def _from_jpeg_2000(packed: bytes, most: int) -> Picture:
    found = jpeg_2000_header(packed)
    if found.rows * found.columns * found.components * -(-found.bits // 8) > most:
        size = f"{found.rows} x {found.columns}"
        raise ValueError(f"{size} pixels of {found.components} components, {found.bits} bits")
    return _from("jpeg2k", packed, most)


def _from_webp(packed: bytes, most: int, *, alpha: bool) -> Picture:
    if packed[12:16] == b"VP8X" and packed[20] & _ANIMATED:
        raise ValueError("an animation")
    return _from("webp", packed, most, hasalpha=alpha or None)


def _from_lerc(packed: bytes, most: int) -> Picture:
    if packed.startswith(_ZSTD):
        packed = unpack.from_zstd(packed, most)
    elif not packed.startswith(_LERC):
        packed = unpack.from_gzip(packed, most)
    return _from("lerc", packed, most)


def decoder_of(compression: int, samples: int) -> Callable[[bytes, int], Picture] | None:
    """What unpacks pictures of a compression of TIFF into so many bytes at most; None if nothing.

    Parameters
    ----------
    compression
        Its number.
    samples
        Values of a pixel.
    """
    if compression in (33003, 33004, 33005, 34712):
        return _from_jpeg_2000
    if compression in (34927, 50001):
        return partial(_from_webp, alpha=samples == 4)
    if compression == 34887:
        return _from_lerc
    if compression == 34933:
        return _from_png
    if compression in (22610, 34934):
        return lambda packed, most: decode_apart(Packed("jpegxr", packed, most))
    return partial(_from, "jpegxl") if compression in (50002, 52546) else None


def refuse_no_png(path: Path) -> None:
    """Refuse a file that is no PNG, or says that it has more pixels than its bytes can hold.

    OpenCV reads other formats under this name, too, and takes memory for what the header says.

    Raises
    ------
    InputError
        If it is such a file.
    """
    with path.open("rb") as file:
        head = file.read(_PNG_HEAD)
    got = "another format"
    if head.startswith(PNG) and len(head) == _PNG_HEAD:
        width, height, bits = struct.unpack_from(">IIB", head, 16)
        if width * height * bits // 8 <= path.stat().st_size * _INFLATED:
            return
        got = f"{width} x {height} pixels in {path.stat().st_size} bytes"
    raise InputError("cannot be read as a PNG image", where=path, got=got, remedy="write it again")
