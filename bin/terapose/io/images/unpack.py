"""Compressions, each unpacked into no more bytes than may be in it.

A few kilobytes may unpack into gigabytes. Whoever reads knows how much there can be at most: a
block has so many voxels, a member of an archive the size in its directory. What would be more is
an error before the memory is taken.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any, Protocol

_JAVA_LZ4 = b"LZ4Block"
_SLACK = 2**16


class _Stream(Protocol):
    """What the decompressors of zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


def most_of(voxels: int, itemsize: int) -> int:
    """Bytes that a chunk of so many voxels may have at any step between the disk and an array.

    Compression makes some chunks longer, and a writer may have added checksums or an index: twice
    the size is room for all of it.
    """
    return 2 * voxels * itemsize + _SLACK


def _too_much(most: int) -> ValueError:
    return ValueError(f"unpacks to more than the {most} bytes that it may have")


def stored(packed: bytes, most: int) -> bytes:
    """Bytes that are not compressed: whoever read them saw how many there are."""
    return packed


def _from_streams(
    packed: bytes, most: int, new: Callable[[], _Stream], *, first: bool = False
) -> bytes:
    """All streams, one after another, or the first; zeros behind the last are no stream."""
    parts, left = [], most
    while True:
        stream = new()
        part = stream.decompress(packed, left + 1)
        if len(part) > left:
            raise _too_much(most)
        if not stream.eof:
            raise ValueError("the compressed data ends too soon")
        parts.append(part)
        left -= len(part)
        packed = stream.unused_data.lstrip(b"\0")
        if first or not packed:
            return parts[0] if len(parts) == 1 else b"".join(parts)


def from_gzip(packed: bytes, most: int) -> bytes:
    """Bytes that gzip or zlib packed: the first ones show which."""
    return _from_streams(packed, most, lambda: zlib.decompressobj(zlib.MAX_WBITS | 32))


def from_deflate(packed: bytes, most: int) -> bytes:
    """Bytes that were deflated, without a header."""
    return _from_streams(packed, most, lambda: zlib.decompressobj(-zlib.MAX_WBITS), first=True)


def from_bzip2(packed: bytes, most: int) -> bytes:
    """Bytes that bzip2 packed."""
    return _from_streams(packed, most, bz2.BZ2Decompressor) if packed else b""


def from_xz(packed: bytes, most: int, **settings: Any) -> bytes:
    """Bytes that xz or lzma packed; ``settings`` of a raw stream.

    The window that a stream asks for counts, too, if it is larger than 128 MiB.
    """
    if settings.get("format") != lzma.FORMAT_RAW:
        settings = {
            "format": settings.get("format", lzma.FORMAT_AUTO),
            "memlimit": 2**27 + 2 * most,
        }
    if not packed:
        return b""
    return _from_streams(packed, most, lambda: lzma.LZMADecompressor(**settings))


def from_zstd(packed: bytes, most: int) -> bytes:
    """Bytes that Zstandard packed."""
    import imagecodecs

    try:
        return bytes(imagecodecs.zstd_decode(packed, out=most))
    except imagecodecs.ZstdError as error:
        if "too small" in str(error):
            raise _too_much(most) from error
        raise


def from_blosc(packed: bytes, most: int) -> bytes:
    """Bytes that Blosc packed."""
    import imagecodecs

    whole, _, size = struct.unpack_from("<III", packed, 4)
    if whole > most:
        raise _too_much(most)
    # the decoder does not notice that bytes are missing
    if size != len(packed):
        raise ValueError(f"{len(packed)} bytes in place of {size}")
    return bytes(imagecodecs.blosc_decode(packed))


def from_lz4(packed: bytes, most: int) -> bytes:
    """LZ4 in the frames of lz4-java, or behind its length as numcodecs writes it."""
    import imagecodecs

    if not packed.startswith(_JAVA_LZ4):
        (whole,) = struct.unpack_from("<I", packed)
        if whole > most:
            raise _too_much(most)
        return bytes(imagecodecs.lz4_decode(packed, header=True))
    parts, place, left = [], 0, most
    while place < len(packed):
        magic, token, size, whole, _ = struct.unpack_from("<8sBIII", packed, place)
        if magic != _JAVA_LZ4:
            raise ValueError(f"no LZ4 frame at byte {place}")
        place += 21
        part = packed[place : place + size]
        place += size
        if whole > left:
            raise _too_much(most)
        left -= whole
        is_packed = token & 0xF0 == 0x20
        parts.append(bytes(imagecodecs.lz4_decode(part, out=whole)) if is_packed else part)
    return b"".join(parts)
