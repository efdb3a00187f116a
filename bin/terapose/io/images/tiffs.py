"""TIFF, BigTIFF and OME-TIFF, ImageJ's and the TIFFs of microscopes, opened.

1. What the file is: one of an OME-TIFF (`ome_sets`), or what tifffile makes of it.
2. Which image of the file, and which level (`series`, `tiff_images`).
3. Whether it is whole: bytes, pages, planes of a set; whether it can be decoded, and is no colour
   (`tiff_checks`).
4. What its axes mean, its names and sizes (`axes`, `tiff_metadata`).

How regions are read is said in `tiff_planes`. OME-XML, or a description by ImageJ, that cannot be
used is refused; with ``axes`` the file is read as a plain TIFF. No file of whose planes something
is known is read as if nothing were: channels would become planes of a volume.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import micromanager, ome_sets
from terapose.io.images.identity import files_identity
from terapose.io.images.model import Image, check_level, layout_of, names_of
from terapose.io.images.ome_xml import OmeXmlError
from terapose.io.images.series import Candidate, choose
from terapose.io.images.tiff_checks import (
    check_kind,
    check_planes,
    check_stored,
    check_whole,
    refuse_colour,
)
from terapose.io.images.tiff_files import (
    DescriptionError,
    TiffAddress,
    damage,
    damaged,
    opened,
    said_by_tifffile,
)
from terapose.io.images.tiff_images import images_of
from terapose.io.images.tiff_metadata import image_names, metadata_of, note_of_values, scaled
from terapose.io.images.tiff_pages import check_split
from terapose.io.images.tiff_planes import chunks_of, files_of, is_lazy, open_source

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

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
        How to open it, and which image of it this is.
    names, place
        Names of all images at the address, and which of them this is.
    files
        Files that make the image, beside those of the planes.
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
    except DescriptionError as error:
        if not chosen.axes:
            raise
        note = f"{error.subject} is not used: {error.got}"
        return _open_file(address, TiffAddress(address, plain=True), chosen, note)


def open_ndtiff(folder: str, chosen: Selection) -> Image:
    """Open the NDTiff dataset in a folder (see `open_image`)."""
    path = TiffAddress(micromanager.first_file(folder))
    return _open_file(folder, path, chosen)


def open_companion(address: str, chosen: Selection) -> Image:
    """Open the OME-TIFF that a companion file describes (see `open_image`)."""
    return _open_set(address, ome_sets.open_companion(address, chosen.series), chosen)


def _open_file(address: str, path: TiffAddress, chosen: Selection, note: str = "") -> Image:
    with said_by_tifffile() as complaints, opened(path) as file:
        if file.is_ndtiff:
            micromanager.files_in_index(file.filehandle.dirname)
        images = images_of(file)
        if not images:
            raise damaged(address, "no image in it")
        names = image_names(file, images)
        here = address if addresses.is_url(address) else os.path.realpath(address)
        candidates = [
            Candidate(
                name,
                image.axes,
                image.shape,
                not image.is_multifile or here in files_of(image),
                image.keyframe.is_reduced,
            )
            for name, image in zip(names, images, strict=True)
        ]
        if not chosen.series:
            check_split(address, images)
        number = choose(address, candidates, chosen.series)
        found = _Found(path, number, names, number, micromanager.other_files(file), note)
        return _describe(address, file, found, chosen, complaints)


def _open_set(address: str, found: ome_sets.OmeSet, chosen: Selection) -> Image:
    from tifffile import TiffFileError

    with said_by_tifffile() as complaints, opened(found.file) as file:
        try:
            images_of(file)
        except TiffFileError:
            raise
        except (KeyError, ValueError) as error:  # what tifffile cannot make of the XML
            if reason := damage(complaints):
                raise damaged(address, reason) from error
            raise OmeXmlError(address, f"{type(error).__name__}: {error}") from error
        image = _Found(found.file, 0, found.names, found.number, found.files)
        return _describe(address, file, image, chosen, complaints)


def _describe(
    address: str, file: TiffFile, found: _Found, chosen: Selection, complaints: Sequence[str]
) -> Image:
    images = images_of(file)
    check_whole(address, file, found.file, images, complaints)
    image = images[found.number]
    pyramid = list(image.levels)
    check_level(address, chosen.level, len(pyramid))
    level = pyramid[chosen.level]
    check_stored(address, level)
    check_kind(address, file, image, chosen.axes)
    refuse_colour(address, level, for_display=_has_display_colours(file, found))
    finest = layout_of(address, image.axes, pyramid[0].shape, level.dtype, chosen)
    notes = (found.note, finest.note, note_of_values(file, image))
    finest = replace(finest, note="; ".join(filter(None, notes)))
    layout = finest.at(level.shape)
    check_planes(address, level, layout)
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
        find_identity=partial(files_identity, address, *_files(address, found, level)),
        series=(found.names, found.place),
    )


def _has_display_colours(file: TiffFile, found: _Found) -> bool:
    """Whether a palette only says how to show the values: in files of ImageJ and OME-TIFF."""
    return file.is_imagej or file.is_ome or found.file.plain


def _files(address: str, found: _Found, series: TiffPageSeries) -> list[str]:
    """All files of an image that is spread over several; none for the usual one."""
    if addresses.is_url(address):
        return []
    every = {os.path.realpath(path) for path in (address, *files_of(series), *found.files)}
    files = sorted(path for path in every if os.path.isfile(path))
    return [] if files == [os.path.realpath(address)] else files
