"""TIFF, BigTIFF and OME-TIFF, ImageJ's and the TIFFs of microscopes, opened.

1. What the file is: one of an OME-TIFF (`ome_sets`), or what tifffile makes of it.
2. Which image of the file, and which level (`series`, `tiff_images`).
3. Whether it is whole: bytes, pages, planes of a set; whether it can be decoded, and is no colour.
4. What its axes mean, its names and sizes (`axes`, `tiff_metadata`).

How regions are read is said in `tiff_planes`. OME-XML that cannot be used is refused; with ``axes``
the file is read as a plain TIFF. No file of whose planes something is known is read as if nothing
were: channels would become planes of a volume.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from terapose.errors import InputError
from terapose.image import address as addresses
from terapose.image import micromanager, ome_sets
from terapose.image.axes import Layout
from terapose.image.model import Image, check_level, layout_of, names_of
from terapose.image.ome_xml import OmeXmlError
from terapose.image.series import Candidate, choose
from terapose.image.tiff_files import (
    TiffAddress,
    damage,
    damaged,
    misfit,
    opened,
    said_by_tifffile,
)
from terapose.image.tiff_images import images_of
from terapose.image.tiff_metadata import image_names, metadata_of, scaled
from terapose.image.tiff_planes import (
    chunks_of,
    files_of,
    is_lazy,
    is_mapped,
    leading,
    open_source,
)
from terapose.selection import Selection

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

_COLOUR = ("RGB", "YCBCR", "PALETTE", "CIELAB", "SEPARATED")
_FORMATS = {
    "ome": "ome-tiff",
    "mmstack": "micro-manager",
    "ndtiff": "ndtiff",
    "qpi": "qptiff",
    "lsm": "lsm",
    "stk": "stk",
    "svs": "svs",
    "scn": "scn",
    "ndpi": "ndpi",
}


@dataclass(frozen=True)
class _Found:
    """An address understood as far as which image of which file.

    Attributes
    ----------
    file, number
        How to open it, and which of its images this is.
    names, place
        Names of all images at the address, and which of them this is.
    files
        Files that make the image, beside those of its planes.
    note
        What was left aside.
    """

    file: TiffAddress
    number: int
    names: tuple[str, ...]
    place: int
    files: tuple[str, ...]
    note: str = ""


def open_tiff(address: str, chosen: Selection) -> Image:
    """Open a TIFF file (see `open_image`)."""
    try:
        with said_by_tifffile(), opened(TiffAddress(address)) as file:
            # the index of Micro-Manager says more than the OME-XML beside it
            has_index = file.is_mmstack or file.is_ndtiff
            text = None if has_index else ome_sets.description_of(file.pages.first)
        if text is None:
            return _open_file(address, TiffAddress(address), chosen)
        return _open_set(address, ome_sets.open_set(address, text, chosen.series), chosen)
    except OmeXmlError as error:
        if not chosen.axes:
            raise
        note = f"its OME-XML is not used: {error.got}"
        return _open_file(address, TiffAddress(address, plain=True), chosen, note)


def open_companion(address: str, chosen: Selection) -> Image:
    """Open the OME-TIFF that a companion file describes (see `open_image`)."""
    return _open_set(address, ome_sets.open_companion(address, chosen.series), chosen)


def _open_file(address: str, path: TiffAddress, chosen: Selection, note: str = "") -> Image:
    with said_by_tifffile() as complaints, opened(path) as file:
        images = images_of(file)
        if not images:
            raise damaged(address, "no image in it")
        names = image_names(file, images)
        here = address if addresses.is_url(address) else os.path.realpath(address)
        candidates = [
            Candidate(
                name, image.axes, image.shape, not image.is_multifile or here in files_of(image)
            )
            for name, image in zip(names, images, strict=True)
        ]
        number = choose(address, candidates, chosen.series)
        found = _Found(path, number, names, number, micromanager.other_files(file), note)
        return _describe(address, file, found, chosen, complaints)


def _open_set(address: str, found: ome_sets.OmeSet, chosen: Selection) -> Image:
    with said_by_tifffile() as complaints, opened(found.file) as file:
        image = _Found(found.file, 0, found.names, found.number, found.files)
        return _describe(address, file, image, chosen, complaints)


def _describe(
    address: str, file: TiffFile, found: _Found, chosen: Selection, complaints: Sequence[str]
) -> Image:
    images = images_of(file)
    _check_whole(address, found, images, complaints)
    image = images[found.number]
    pyramid = list(image.levels)
    check_level(address, chosen.level, len(pyramid))
    level = pyramid[chosen.level]
    _check_bytes(address, level)
    _check_kind(address, file, image, chosen)
    _check_compression(address, level)
    _refuse_colour(address, level, has_display_colours=file.is_imagej or file.is_ome)
    finest = layout_of(address, image.axes, pyramid[0].shape, level.dtype, chosen)
    finest = replace(finest, note="; ".join(filter(None, (found.note, finest.note))))
    layout = finest.at(level.shape)
    _check_planes(address, level, layout)
    told = metadata_of(file, image)
    return Image(
        address=address,
        format=_FORMATS.get(image.kind, "tiff"),
        layout=layout,
        channel_names=names_of(told.names, layout.length("C")),
        dtype=level.dtype.newbyteorder("="),
        voxel_size=scaled(told.sizes, finest.shape, layout.shape),
        selection=chosen,
        levels_shape=tuple(finest.at(entry.shape).shape for entry in pyramid),
        chunks=chunks_of(level, layout.shape),
        is_lazy=is_lazy(found.file, level),
        open_source=partial(open_source, found.file, found.number, chosen.level),
        find_identity=partial(addresses.file_identity, address, *_files(address, found, level)),
        series=(found.names, found.place),
    )


def _files(address: str, found: _Found, series: TiffPageSeries) -> list[str]:
    """All files of an image that is spread over several; none for the usual one."""
    planes = files_of(series)
    if not found.files and planes in ([], [os.path.realpath(address)]):
        return []
    if addresses.is_url(address):
        return []
    return sorted({os.path.realpath(path) for path in (address, *planes, *found.files)})


def _check_whole(
    address: str, found: _Found, images: Sequence[TiffPageSeries], complaints: Sequence[str]
) -> None:
    """Refuse a file that is damaged, or whose OME-XML describes other pages than it has."""
    broken = damage(complaints)
    if broken:
        raise damaged(address, broken)
    if found.file.omexml and (not images or images[0].kind != "ome" or misfit(complaints)):
        raise OmeXmlError(address, misfit(complaints) or "it does not fit the pages of the file")


def _check_kind(address: str, file: TiffFile, image: TiffPageSeries, chosen: Selection) -> None:
    """Refuse what is whole as a TIFF but not as what its program wrote."""
    if image.kind == "bif":
        raise InputError(
            "tiles of a Ventana BIF overlap, and are not stitched here",
            where=address,
            remedy="convert it, for example with bioformats2raw",
        )
    if file.is_micromanager:
        micromanager.check(address, file, image, chosen.axes)


def _check_bytes(address: str, series: TiffPageSeries) -> None:
    """Refuse a file that ends before the data of the image does."""
    ends: list[tuple[TiffPage | TiffFrame, int]]
    if is_mapped(series):
        ends = [(series.keyframe, int(series.dataoffset or 0) + int(series.nbytes))]
    else:
        last = {str(page.parent.filehandle.path): page for page in series if page is not None}
        ends = [(page, _end(page)) for page in last.values()]
    for page, end in ends:
        handle = page.parent.filehandle
        if end > handle.size:
            name = f"{handle.name}: " if series.is_multifile else ""
            raise damaged(address, f"{name}{handle.size} bytes where its image ends at byte {end}")


def _end(page: TiffPage | TiffFrame) -> int:
    """Where a page's last tile or strip ends."""
    ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
    return int(max(ends, default=0))


def _check_planes(address: str, series: TiffPageSeries, layout: Layout) -> None:
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

    compression = series.keyframe.compression
    try:
        TIFF.DECOMPRESSORS[compression]
    except (KeyError, ValueError, ImportError) as error:
        raise InputError(
            "is compressed in a way that cannot be read",
            where=address,
            got=f"compression {int(compression)} {getattr(compression, 'name', '')}".rstrip(),
            allowed="none, deflate, LZW, Zstandard, JPEG 2000 and others that imagecodecs decodes",
            remedy="write it again with one of these",
        ) from error


def _refuse_colour(address: str, series: TiffPageSeries, *, has_display_colours: bool) -> None:
    """Refuse colours, but for tags that only say how to show the values (such as ImageJ's LUT)."""
    photometric = getattr(series.keyframe.photometric, "name", "")
    if photometric == "PALETTE" and has_display_colours:
        return
    # three or four planes are often tagged RGB by who wrote them; axes say what they are
    if photometric == "RGB" and "S" not in series.axes:
        return
    if photometric in _COLOUR:
        raise InputError(
            "this is a colour image, whose colours are no channels of their own",
            where=address,
            got=f"{photometric} {series.axes} {series.shape}",
            allowed="grey channels of one value a voxel",
            remedy="split the colours into channels (in ImageJ: Image > Color > Split Channels); "
            "planes that are no colours have to be written as such (photometric minisblack)",
        )
