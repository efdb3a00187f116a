"""OME-TIFF in one file or in many: from any member, or the companion file, to one whole image.

1. The XML is in the file that was named. Where that holds a pointer (``BinaryOnly``), it is in a
   companion file beside it (``.companion.ome``), or in another TIFF of the set.
2. Of several images one is chosen: by ``series``, else the one that has planes in the file that was
   named, else the largest.
3. Each file of this image is looked for beside the XML. A file that is elsewhere is refused (an
   image never reads what was not named), one that is missing is named.
4. A file whose identifier is that of the XML's own file is that file, whatever it is called: people
   rename files. So is the only file that the XML names. Two names for one file are refused: it
   would be read in the place of both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from terapose.core.errors import InputError, few
from terapose.io.images import address as addresses
from terapose.io.images import ome_xml
from terapose.io.images.ome_xml import OmeXmlError
from terapose.io.images.series import Candidate, choose
from terapose.io.images.tiff_files import TiffAddress, is_tiff, opened

if TYPE_CHECKING:
    from tifffile import TiffPage

_SHOWN = 3
_DESCRIPTION = 270


@dataclass(frozen=True)
class OmeSet:
    """One image of an OME-TIFF, and how to open it: as the first series of ``file``.

    Attributes
    ----------
    file
        A file of the image, with OME-XML of this image alone.
    files
        All files that make the image, with the one that holds the XML.
    names, number
        Names of all images in the XML, and which of them this is.
    """

    file: TiffAddress
    files: tuple[str, ...]
    names: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class _Document:
    """OME-XML and where it is: ``tiff`` is empty for a companion file."""

    root: Element
    path: str
    tiff: str


def description_of(page: TiffPage) -> str | None:
    """The OME-XML in the description of a page; None where there is none."""
    values: list[Any] = [tag.value for tag in page.tags.getall(_DESCRIPTION, default=[]) or []]
    texts = (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values)
    found = (ome_xml.find_ome_xml(text) for text in texts)
    return next((text for text in found if text is not None), None)


def open_set(address: str, text: str, wanted: str) -> OmeSet:
    """The image that a TIFF with this OME-XML belongs to.

    Parameters
    ----------
    address
        The file.
    text
        Its OME-XML.
    wanted
        Which of several images: a number from 1 or a name; empty: see above.

    Raises
    ------
    OmeXmlError
        If the XML cannot be used, or the file that holds it is missing.
    InputError
        If a file of the image is missing or refused, or several images may be meant.
    """
    root = ome_xml.parse(address, text)
    pointer = ome_xml.metadata_file(root)
    own = _Document(root, address, address)
    return _find(address, own if pointer is None else _follow(address, pointer), wanted)


def open_companion(address: str, wanted: str) -> OmeSet:
    """The image that a companion file describes (see `open_set`)."""
    return _find(address, _Document(_read_xml(address, address), address, ""), wanted)


def _follow(address: str, pointer: str) -> _Document:
    """The document in the file that a pointer names."""
    if addresses.is_url(address):
        raise _on_a_server(address)
    name = _within(address, pointer)
    path = _beside(address, name)
    if path is None:
        raise OmeXmlError(address, f"a pointer to {name}, which is missing")
    text = _text_of_tiff(path)
    if text is None:
        return _Document(_read_xml(address, path), path, "")
    root = ome_xml.parse(path, text)
    if ome_xml.metadata_file(root) is not None:
        raise OmeXmlError(address, f"a pointer to {name}, which holds a pointer itself")
    return _Document(root, path, path)


def _text_of_tiff(path: str) -> str | None:
    """OME-XML of a TIFF; None where it is no TIFF."""
    if not is_tiff(addresses.read_bytes(path, 0, 4) or b""):
        return None
    with opened(TiffAddress(path)) as file:
        return description_of(file.pages.first) or ""


def _read_xml(address: str, path: str) -> Element:
    content = addresses.read_bytes(path) or b""
    text = ome_xml.find_ome_xml(content.decode("utf-8-sig", "replace"))
    if text is None:
        raise OmeXmlError(address, f"no OME-XML in {os.path.basename(path)}")
    return ome_xml.parse(address, text)


def _find(address: str, document: _Document, wanted: str) -> OmeSet:
    images = ome_xml.images_of(address, document.root)
    paths = _Paths(address, document)
    here = os.path.basename(address)
    candidates = [
        Candidate(
            image.name, image.axes, image.shape, any(paths.name(f) == here for f in image.files)
        )
        for image in images
    ]
    number = choose(address, candidates, wanted)
    names = {file: paths.find(file) for file in images[number].files}
    missing = [file for file, path in names.items() if path is None]
    if missing:
        raise _missing(address, missing)
    _check_apart(address, names)
    members = {path for path in names.values() if path is not None}
    first = next((p for p in (address, document.tiff) if p in members), None)
    first = first or min(members, default=document.tiff)
    if not first:
        raise OmeXmlError(address, "it names no TIFF file")
    _check_size(address, images[number].planes, members or {first})
    # whole paths: tifffile looks beside the file that a link leads to
    places = {f: p if addresses.is_url(p) else os.path.abspath(p) for f, p in names.items() if p}
    own = first if addresses.is_url(first) else os.path.abspath(first)
    xml = ome_xml.only(document.root, number, places, own)
    return OmeSet(
        file=TiffAddress(first, omexml=xml),
        files=tuple(sorted({address, document.path, *members})),
        names=tuple(image.name for image in images),
        number=number,
    )


def _check_apart(address: str, names: Mapping[str, str | None]) -> None:
    """Refuse two names of files for one file: files were renamed, or one is a link to the other."""
    known: dict[str, str] = {}
    for name, path in names.items():
        if not name or path is None or addresses.is_url(path):
            continue
        other = known.setdefault(os.path.realpath(path), name)
        if other != name:
            raise InputError(
                "two names in the OME-XML are the same file",
                where=address,
                got=f"{other} and {name}, which are {os.path.basename(path)} here",
                remedy="give all files of the image their original names, which the OME-XML has",
            )


def _check_size(address: str, planes: int, members: Iterable[str]) -> None:
    """Refuse more planes than files can have, for which tifffile would make a list."""
    size = sum(int(fs.size(path) or 0) for fs, path in map(addresses.filesystem, members))
    if planes > size:
        raise OmeXmlError(address, f"{planes} planes, where its files have {size} bytes")


class _Paths:
    """Where the files are that a document names."""

    def __init__(self, address: str, document: _Document) -> None:
        self._address, self._document = address, document
        self._written = ome_xml.identifiers_of(document.root)
        self._own = document.root.get("UUID", "")

    def name(self, written: str) -> str:
        """Name of the file now."""
        return os.path.basename(self._document.tiff if self._is_own(written) else written)

    def find(self, written: str) -> str | None:
        """Its path; None where it is missing."""
        if self._is_own(written):
            return self._document.tiff
        if addresses.is_url(self._address):
            raise _on_a_server(self._address)
        return _beside(self._document.path, _within(self._address, written))

    def _is_own(self, written: str) -> bool:
        if not self._document.tiff:
            return False
        others = [uuid for name, uuid in self._written.items() if name != written]
        return (
            written in ("", os.path.basename(self._document.tiff))
            or not others
            or (self._written[written] == self._own and self._own not in ("", *others))
        )


def _within(address: str, name: str) -> str:
    """The name, unless it leads out of the image's folder."""
    path = PureWindowsPath(name)  # it knows both kinds of slashes
    if not name or path.anchor or ".." in path.parts:
        raise InputError(
            "its OME-XML names a file outside of the image's folder",
            where=address,
            got=name or "no name",
            remedy="put all files of the image into one folder and name them without a path",
        )
    return "/".join(path.parts)


def _beside(path: str, name: str) -> str | None:
    """A file beside another one, or beside the file that this is a link to."""
    for folder in (os.path.dirname(path), os.path.dirname(os.path.realpath(path))):
        found = os.path.join(folder, name)
        if os.path.isfile(found):
            return found
    return None


def _missing(address: str, names: Sequence[str]) -> InputError:
    return InputError(
        "files of the image are missing",
        where=address,
        got=few(names, _SHOWN),
        remedy="copy all files of an OME-TIFF together, under their original names",
    )


def _on_a_server(address: str) -> InputError:
    return addresses.local_only("an OME-TIFF in several files", address, "its files")
