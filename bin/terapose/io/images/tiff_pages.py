"""Refuses TIFF files whose pages are stored in different ways, one compressed and one not.

Of an image of many pages tifffile reads all tags of the first, and of the others only where their
data is: that is fast, and right where all are alike, as nearly all programs write them. Here the
few tags are looked at that decoding depends on. Of an image of few pages, or where one of those
that it tries is another, tifffile makes an image of all pages that are stored in one way, and more
images of the others: these are refused, too, where planes have one size.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from terapose.core.errors import InputError

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage, TiffPageSeries

_TAGS = {
    256: ("width", 0),
    257: ("length", 0),
    277: ("samples of a pixel", 1),
    284: ("arrangement of samples", 1),
    262: ("meaning of values", 1),
    258: ("bits", 1),
    259: ("compression", 1),
    266: ("order of bits", 1),
    278: ("rows of a strip", math.inf),
    317: ("predictor", 1),
    322: ("width of a tile", 0),
    323: ("length of a tile", 0),
    339: ("format of samples", 1),
}
"""Names and defaults of the tags that say how a page is stored."""
_NEEDED = {256, 257}
_OR_SERIES = "; or choose one by its number (series), if they are several images"
_FORMATS = {3: "H", 4: "I"}
_MOST = 4096


def check_pages(address: str, series: TiffPageSeries) -> None:
    """Refuse an image of which a page is stored in another way than the one that speaks for it.

    Parameters
    ----------
    address
        For the message.
    series
        A level of an image.

    Raises
    ------
    InputError
        If it has such a page.
    """
    if len(series) < 2:
        return
    with ExitStack() as opened:
        _check(address, series, opened)


def check_split(address: str, images: Sequence[TiffPageSeries]) -> None:
    """Refuse pages of one size that tifffile takes for several images: they differ in storage.

    Parameters
    ----------
    address
        For the message.
    images
        All images of a file.

    Raises
    ------
    InputError
        If there are such pages. Those that are said to be of a lower resolution do no harm.
    """
    generic = [one for one in images if one.kind == "generic"]
    if len(generic) < 2:
        return
    largest = max(generic, key=lambda image: math.prod(image.shape))
    page = largest.keyframe
    for other in (image.keyframe for image in generic if image is not largest):
        if (other.imagelength, other.imagewidth) == (page.imagelength, page.imagewidth) and not (
            other.is_reduced
        ):
            number = _number(other)
            stored = _stored(page, page), _stored(other, other)
            got = _difference(*stored, f"plane {_number(page)}", number)
            raise _differ(address, got or f"plane {number}", _OR_SERIES)


def _number(page: TiffPage) -> str:
    """Number of a page from 1; of one below another page, with its number there."""
    index = page.treeindex
    return ".".join(str(n + 1) for n in index)


def _check(address: str, series: TiffPageSeries, opened: ExitStack) -> None:
    known: dict[int, dict[int, float] | None] = {}
    for number, page in enumerate(series, 1):
        speaker = None if page is None else page.keyframe
        if page is None or speaker is None or page is speaker or not page.offset:
            continue
        handle = page.parent.filehandle
        if handle.closed:  # a further file of a set: one at a time, there may be very many
            opened.close()
            handle.open()
            opened.callback(handle.close)
        if id(speaker) not in known:
            known[id(speaker)] = _stored(speaker, speaker)
        own = _stored(page, speaker)
        got = _difference(known[id(speaker)], own, "the first plane", str(number))
        if got is not None:
            raise _differ(address, got)


def _differ(address: str, got: str, more: str = "") -> InputError:
    return InputError(
        "planes of the image are stored in different ways",
        where=address,
        got=got,
        remedy="write all of them in the same way, for example with tifffile or bioformats2raw"
        + more,
    )


def _difference(
    first: dict[int, float] | None, own: dict[int, float] | None, place: str, number: str
) -> str | None:
    """How two pages differ, in words; None where nothing that is known does."""
    if first is None or own is None or first == own:
        return None
    code = next(code for code in _TAGS if first[code] != own[code])
    return f"{_TAGS[code][0]} {first[code]:g} in {place}, {own[code]:g} in plane {number}"


def _stored(page: TiffPage | TiffFrame, speaker: TiffPage) -> dict[int, float] | None:
    """How a page says that it is stored; None where it does not have its own directory."""
    tiff, handle = page.parent.tiff, page.parent.filehandle
    handle.seek(page.offset)
    try:
        (count,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
        if not 0 < count <= _MOST:
            return None
        directory = handle.read(count * tiff.tagsize)
        found = {code: default for code, (_, default) in _TAGS.items()}
        codes = set()
        for start in range(0, len(directory), tiff.tagsize):
            entry = directory[start : start + tiff.tagsize]
            code, kind = struct.unpack_from(tiff.tagformat1, entry)
            codes.add(code)
            (number,) = struct.unpack_from(tiff.tagformat2[:2], entry, 4)
            if code in _TAGS and kind in _FORMATS and number == 1:
                place = tiff.tagsize - tiff.tagoffsetthreshold
                (value,) = struct.unpack_from(tiff.byteorder + _FORMATS[kind], entry, place)
                found[code] = value
    except struct.error:
        return None
    if not codes >= _NEEDED:  # an offset of something else
        return None
    found[278] = min(found[278], speaker.imagelength)
    if found[277] == 1:
        found[284] = 1  # says nothing
    return found
