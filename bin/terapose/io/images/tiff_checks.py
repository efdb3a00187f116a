"""Refuses TIFF files that are not whole, do not fit what they say, or hold no grey channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from terapose.core.errors import InputError
from terapose.io.images import micromanager
from terapose.io.images.axes import Layout
from terapose.io.images.ome_xml import OmeXmlError
from terapose.io.images.tiff_files import (
    DescriptionError,
    TiffAddress,
    check_tiles,
    damage,
    damaged,
    misfit,
)
from terapose.io.images.tiff_pages import check_pages
from terapose.io.images.tiff_planes import has_plain_planes, is_mapped, leading

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

_COLOUR = ("RGB", "YCBCR", "PALETTE", "CIELAB", "SEPARATED")


def check_whole(
    address: str,
    file: TiffFile,
    path: TiffAddress,
    images: Sequence[TiffPageSeries],
    complaints: Sequence[str],
) -> None:
    """Refuse a file that is damaged, or that describes other pages than it has.

    Parameters
    ----------
    address
        For the message.
    file, path, images
        The open file, how it was opened, and its images.
    complaints
        What tifffile said of it up to now.

    Raises
    ------
    InputError
        If it is damaged.
    DescriptionError
        If what it says of the pages does not fit them.
    """
    told = _told_pages(file, images[0]) if images else None
    broken = damage(complaints)
    if broken:
        raise damaged(address, broken)
    unfit = misfit(complaints)
    if path.omexml:
        if unfit or not images or images[0].kind != "ome":
            raise OmeXmlError(address, unfit or "it does not fit the pages of the file")
    elif unfit:
        if len(file.pages) == 1:  # one page for all planes, which end too soon
            raise damaged(address, unfit)
        is_imagej = "ImageJ" in unfit
        reason = f"ImageJ's for more planes than the {len(file.pages)} pages of the file"
        raise DescriptionError(address, "its description", reason if is_imagej else unfit)
    elif told:
        raise DescriptionError(address, "its description", told)


def _told_pages(file: TiffFile, series: TiffPageSeries) -> str | None:
    """How ImageJ's description, or tifffile's, does not fit the pages; None where it does.

    Other programs add and drop pages, and copy the description.
    """
    if series.kind not in ("imagej", "shaped"):
        return None
    pages, size = len(file.pages), int(series.keyframe.nbytes)
    told = int(series.nbytes) // size
    if series.kind == "imagej" and pages > 1 and pages != told:
        return f"{told} planes, where the file has {pages} pages"
    if pages > 1 and told > 1 and series.dataoffset is not None:
        # planes in one piece: the next page is the second of them, or comes after all of them
        away = int(file.pages[1].dataoffsets[0]) - int(series.dataoffset)
        if away != size and away < told * size:
            return f"{told} planes in one piece, where the second page is {away} bytes away"
    if series.kind == "imagej" and pages == 1:
        images = (file.imagej_metadata or {}).get("images", 1)
        start = int(series.keyframe.dataoffsets[0])
        if images != told and start + images * size <= file.filehandle.size:
            return f"{told} planes and {images} images"
    return None


def check_kind(address: str, file: TiffFile, image: TiffPageSeries, axes: str) -> None:
    """Refuse what is whole as a TIFF but not as what its program wrote; ``axes`` were given."""
    if image.kind == "bif":
        raise InputError(
            "tiles of a Ventana BIF overlap, and are not stitched here",
            where=address,
            remedy="convert it, for example with bioformats2raw",
        )
    if file.is_micromanager:
        micromanager.check(address, file, image, axes)


def check_stored(address: str, series: TiffPageSeries) -> None:
    """Refuse an image, or a level of it, of which not all can be read as its first page is.

    Raises
    ------
    InputError
        If the file is not whole, pages are stored in different ways, or nothing can decode them.
    """
    _check_bytes(address, series)
    check_tiles(address, series.keyframe)
    _check_alike(address, series)
    check_pages(address, series)
    _check_compression(address, series)


def _check_bytes(address: str, series: TiffPageSeries) -> None:
    """Refuse a file that ends before the image does, or does not say where all of it is.

    Raises
    ------
    InputError
        If it does. Parts of which it says that they were never written are no fault.
    """
    ends: list[tuple[TiffPage | TiffFrame, int]]
    if is_mapped(series):
        ends = [(series.keyframe, int(series.dataoffset or 0) + int(series.nbytes))]
    else:
        last: dict[str, TiffPage | TiffFrame] = {}
        for one in series:
            if one is not None:
                _check_places(address, one, has_index=series.kind == "mmstack")
                last[str(one.parent.filehandle.path)] = one
        ends = [(page, _end(page)) for page in last.values()]
    for page, end in ends:
        handle = page.parent.filehandle
        if end > handle.size:
            name = f"{handle.name}: " if series.is_multifile else ""
            raise damaged(address, f"{name}{handle.size} bytes where its image ends at byte {end}")


def _check_alike(address: str, series: TiffPageSeries) -> None:
    """Refuse a set whose files cannot be read as one array.

    Planes of all have to be of one shape and type. Those that are decoded have to be cut into the
    same tiles or strips, too.

    Raises
    ------
    InputError
        If they are not.
    """
    if not series.is_multifile:
        return
    pages = {str(page.parent.filehandle.path): page.keyframe for page in series if page is not None}
    first, *others = (page for page in pages.values() if page is not None)
    is_decoded = not has_plain_planes(series)
    for other in others:
        for what, is_asked, shown in (
            ("hold different planes", True, _kind),
            ("are cut into different tiles or strips", is_decoded, _pieces),
        ):
            if is_asked and shown(other) != shown(first):
                names = (page.parent.filehandle.name for page in (first, other))
                both = zip(names, map(shown, (first, other)), strict=True)
                raise InputError(
                    f"files of the image {what}",
                    where=address,
                    got=" and ".join(f"{name}: {text}" for name, text in both),
                    remedy="write all of them in the same way",
                )


def _kind(page: TiffPage) -> str:
    return f"{' x '.join(map(str, page.shape))} {page.dtype}"


def _pieces(page: TiffPage) -> str:
    shape = " x ".join(map(str, page.chunks))
    return f"{'tiles' if page.is_tiled else 'strips'} of {shape}"


def _check_places(address: str, page: TiffPage | TiffFrame, *, has_index: bool) -> None:
    """Refuse a page that does not say of each tile or strip where it is: it would read as zeros.

    One that was never written has no place and no length; scanners of Aperio leave it a place. An
    index that places planes by itself (``has_index``) has lengths for all of them.
    """
    kept = page.keyframe
    if kept is None:
        return
    found, pieces = min(len(page.dataoffsets), len(page.databytecounts)), math.prod(kept.chunked)
    if found < pieces:
        kind = "tiles" if kept.is_tiled else "strips"
        file = page.parent.filehandle.name
        raise damaged(address, f"{file}, page {page.index}: places of {found} of {pieces} {kind}")
    if has_index:
        return
    places, lengths = (np.asarray(n) != 0 for n in (page.dataoffsets, page.databytecounts))
    if kept.is_svs:
        places &= lengths
    if (places != lengths).any():
        number = int((places != lengths).argmax())
        kind = "tile" if kept.is_tiled else "strip"
        what = "a place, but no length" if places[number] else "a length, but no place"
        file = page.parent.filehandle.name
        raise damaged(address, f"{file}, page {page.index}: {kind} {number} has {what}")


def _end(page: TiffPage | TiffFrame) -> int:
    """Where a page's last tile or strip ends."""
    ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
    return int(max(ends, default=0))


def check_planes(address: str, series: TiffPageSeries, layout: Layout) -> None:
    """Refuse an image that lacks planes of the time point that was chosen."""
    if is_mapped(series):
        return
    lead = leading(series)
    wanted = np.arange(len(series))
    if lead is not None and "T" in layout.read[: len(lead)]:
        wanted = wanted.reshape(lead).take(layout.time, layout.read.index("T")).ravel()
    pages = [series[int(number)] for number in wanted]
    # Micro-Manager's index has an offset of 0 for a plane that was not written
    missing = sum(p is None or (series.kind == "mmstack" and not p.dataoffsets[0]) for p in pages)
    if missing:
        raise InputError(
            "planes of the image are missing",
            where=address,
            got=f"{missing} of {len(pages)} planes were never written",
            remedy="choose a time point that is complete (time), or write the image again",
        )


def _check_compression(address: str, series: TiffPageSeries) -> None:
    """Refuse what nothing here can decode, before anything is computed."""
    from tifffile import TIFF

    pages = series if series.is_multifile else [series.keyframe]
    # files of a set may be compressed in different ways
    found = {page.keyframe.compression for page in pages if page is not None and page.keyframe}
    for compression in sorted(found):
        try:
            TIFF.DECOMPRESSORS[compression]
        except (KeyError, ValueError, ImportError) as error:
            name = getattr(compression, "name", "")
            raise InputError(
                "is compressed in a way that cannot be read",
                where=address,
                got=f"compression {int(compression)} {name}".rstrip(),
                allowed="none, deflate, LZW, Zstandard, JPEG 2000 and others that imagecodecs "
                "decodes",
                remedy="write it again with one of these",
            ) from error


def refuse_colour(address: str, series: TiffPageSeries, *, for_display: bool) -> None:
    """Refuse colours, but for tags that only say how to show the values (such as ImageJ's LUT)."""
    photometric = getattr(series.keyframe.photometric, "name", "")
    if photometric == "PALETTE" and for_display:
        return
    # three or four planes are often tagged RGB by who wrote them; axes say what they are
    if photometric == "RGB" and "S" not in series.axes:
        return
    if photometric in _COLOUR:
        raise InputError(
            "this is a colour image, whose colours are not separate channels",
            where=address,
            got=f"{photometric} {series.axes} {series.shape}",
            allowed="grey channels with one value per voxel",
            remedy="split the colours into channels (in ImageJ: Image > Color > Split Channels); "
            "planes that are not colours must be written as grey (photometric minisblack)",
        )
