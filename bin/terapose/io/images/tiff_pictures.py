"""Tiles and strips of a TIFF that are pictures, decoded into no more memory than they should have.

tifffile calls the decoders of pictures without a place to write to, so they take as much memory as
the picture says. It makes its pages itself and has no hook for that, so what a page decodes with is
replaced, once for the process: then it holds for all pages, those of further files of a set and
those that are read as a whole among them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from terapose.io.images.apart import Packed, decode_apart
from terapose.io.images.lzw import check_lzw
from terapose.io.images.pictures import (
    Picture,
    decoder_of,
    is_common_jpeg,
    is_jpeg_cut,
    jpeg_pixels,
    jpeg_sizes,
)
from terapose.io.images.unpack import most_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

Shape = tuple[int, ...]
Decoded = tuple[Picture | None, Shape, Shape]
"""Pixels (depth, rows, columns, samples), where they are in the page, and their shape."""
Decode = Callable[..., Decoded]

_JPEG = (6, 7, 33007, 34892)
_LERC, _LZW = 34887, 5
_LOW_FIRST = 2


def tiff_file(*file: Any, **options: Any) -> TiffFile:
    """Open a file with tifffile, pictures in it bounded; the parameters are those of `TiffFile`."""
    import tifffile

    _bound_pages()
    return tifffile.TiffFile(*file, **options)


@cache
def _bound_pages() -> None:
    """Replace what pages decode with."""
    from tifffile import TiffPage

    original: Callable[[TiffPage], Decode] = TiffPage.__dict__["decode"].func
    bounded = cached_property(lambda page: _bounded(page, original(page)))
    bounded.__set_name__(TiffPage, "decode")
    TiffPage.decode = bounded  # type: ignore[assignment]


def _bounded(page: TiffPage, original: Decode) -> Decode:
    """What decodes a tile or strip of a page; its parameters are those of `TiffPage.decode`."""
    unpack = decoder_of(page.compression, page.samplesperpixel)
    if page.compression == _LZW:
        return _checked(page, original)
    if unpack is None and page.compression not in _JPEG:
        return original

    def decode(data: bytes | None, index: int, **options: Any) -> Decoded:
        if data is None:
            return original(None, index, **options)
        _, place, full = original(None, index, _fullsize=True)
        try:
            if unpack is None:
                _check_jpeg(data, full, options)
                if not options.get("jpegheader"):  # what has one is a part of a larger JPEG
                    _check_whole(data, {full[2], min(full[2], page.imagewidth - place[3])})
                if all(map(is_common_jpeg, (data, *_shared(options)))):
                    return original(data, index, **options)
                picture = _decoded_apart(page, data, original(None, index)[2], options)
            else:
                picture = unpack(data, most_of(math.prod(full), _itemsize(page)))
            shape = original(None, index, **options)[2]
            return _fitted(page, picture, place, shape), place, shape
        except (ValueError, struct.error) as error:
            pixels = " x ".join(map(str, full[1:3]))
            raise ValueError(
                f"tile or strip {index}, of {pixels} pixels, holds a picture that is larger, of "
                f"another kind or damaged: {error}"
            ) from error

    return decode


def _checked(page: TiffPage, original: Decode) -> Decode:
    """What decodes a tile or strip of LZW data, but none that may end the process."""

    def decode(data: bytes | None, index: int, **options: Any) -> Decoded:
        if data is not None:
            check_lzw(_ordered(page, data))
        return original(data, index, **options)

    return decode


def _ordered(page: TiffPage, data: bytes) -> bytes:
    """Data with the highest bit of each byte first, as tifffile decodes them."""
    if page.fillorder != _LOW_FIRST:
        return data
    import imagecodecs

    return bytes(imagecodecs.bitorder_decode(data))


def _shared(options: dict[str, Any]) -> tuple[bytes, bytes]:
    """Tables and header of the JPEGs of a page, where they are not in each."""
    return options.get("jpegtables") or b"", options.get("jpegheader") or b""


def _check_jpeg(data: bytes, full: Shape, options: dict[str, Any]) -> None:
    """Raise ValueError where a JPEG, or the tables that belong to it, says that it is larger."""
    tables, header = _shared(options)
    pixels, most = max(map(jpeg_pixels, (tables, header + data))), most_of(math.prod(full[:3]), 1)
    if pixels > most:
        raise ValueError(f"{pixels} pixels")


def _decoded_apart(page: TiffPage, data: bytes, shape: Shape, options: dict[str, Any]) -> Picture:
    """Decode a JPEG as tifffile does, in another process."""
    from tifffile.tifffile import jpeg_decode_colorspace

    tables, header = _shared(options)
    colours = jpeg_decode_colorspace(
        page.photometric, page.planarconfig, page.extrasamples, page.is_jfif
    )
    return decode_apart(
        Packed(
            "jpeg",
            header + data + b"\xff\xd9" if header else data,
            tables=tables,
            options={
                "colorspace": colours[0],
                "outcolorspace": colours[1],
                "shape": shape[1:3],
            },
        )
    )


def _check_whole(data: bytes, columns: set[int]) -> None:
    """Raise ValueError where a JPEG ends too soon, or has other columns than these."""
    for _, found in jpeg_sizes(data):
        if found not in columns:
            raise ValueError(f"{found} columns")
    if is_jpeg_cut(data):
        raise ValueError("it ends too soon")


def _itemsize(page: TiffPage) -> int:
    return 0 if page.dtype is None else page.dtype.itemsize


def _has_form(picture: Picture, form: Shape) -> bool:
    """Whether a picture has so many planes, rows, columns and samples."""
    is_flat = form[0] == 1 and picture.ndim > 1
    return math.prod(form) == picture.size and (not is_flat or picture.shape[:2] == form[1:3])


def _fitted(page: TiffPage, picture: Picture, place: Shape, shape: Shape) -> Picture:
    """A picture as the tile or strip that it is, shape ``shape``.

    At the edges of the image it may be cut there, or a strip have all rows: so writers differ.

    Raises
    ------
    ValueError
        If it is of another size or type.
    """
    if picture.dtype.itemsize != _itemsize(page):
        raise ValueError(f"its type is {picture.dtype}, not {page.dtype}")
    _, depth, rows, columns, _ = (n - at for n, at in zip(page.shaped, place, strict=True))
    inside = (min(depth, shape[0]), min(rows, shape[1]))
    forms = [shape, (*inside, *shape[2:]), (*inside, min(columns, shape[2]), shape[3])]
    if not page.is_tiled:
        forms.append((1, picture.size // math.prod(shape[2:]), *shape[2:]))
    form = next((form for form in forms if _has_form(picture, form)), None)
    if form is None or form[1] < inside[1]:
        raise ValueError(f"its shape is {picture.shape}")
    from tifffile import TIFF

    block = picture.reshape(form)[:, : shape[1]]
    if page.compression == _LERC and page.predictor != 1:
        block = TIFF.UNPREDICTORS[page.predictor](block, axis=-2, out=block)
    missing = [(0, n - m) for n, m in zip(shape, block.shape, strict=True)]
    return np.pad(block, missing, constant_values=page.nodata)
