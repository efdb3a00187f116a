"""OME-XML: found in a text, read, checked, and cut down to one image.

The text is what is between ``<?xml`` or ``<OME`` and ``</OME>``. Blanks, NULs and other control
characters before and after it do no harm: programs leave them where they count the bytes of a
string in their own ways. Whatever else is wrong with it is an `OmeXmlError`, never a reason to
take the file for another kind of TIFF: its planes would become what they are not.

An image is cut out (`only`) before tifffile sees the XML. So tifffile opens the files of this
image alone, and its first series is this image. The names of files are written anew, one
identifier for each file: identifiers of real files are wrong more often than their names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from terapose.io.images.tiff_files import DescriptionError

_START = re.compile(r"<\?xml\b|<(?:\w+:)?OME[\s>/]")
_ROOT = re.compile(r"<(?:\w+:)?OME[\s>/]")
_HARMLESS = "".join(map(chr, range(33))) + "\x7f\u00a0\ufeff"
_SIZES = "XYZCT"
_PLANES = ("TiffData", "BinData", "MetadataOnly")
_INTEGERS = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")
_MOST = 2**31 - 1
"""The largest number that the schema allows."""


class OmeXmlError(DescriptionError):
    """OME-XML that cannot be used."""

    def __init__(self, address: str, reason: str) -> None:
        correct = "correct it (with tiffcomment of Bio-Formats or of tifffile)"
        super().__init__(address, "its OME-XML", reason, correct)


@dataclass(frozen=True)
class OmeImage:
    """An image as OME-XML describes it.

    Attributes
    ----------
    name
        Its name; empty where it has none.
    axes, shape
        Axes longer than 1 in the order of the file ("CZYX"), and their lengths.
    files
        Names of the files that hold its planes, as written; empty: the file with the XML.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    files: tuple[str, ...]

    @property
    def planes(self) -> int:
        """How many planes it has, of one channel each."""
        return math.prod(self.shape[:-2])


def find_ome_xml(text: str) -> str | None:
    """The OME-XML in a description; None where there is none."""
    if _ROOT.search(text) is None:
        # in an encoding of two bytes a letter, every other one is NUL
        return text if _ROOT.search(text.replace("\0", "")) else None
    start = _START.search(text)
    return text[start.start() if start else 0 :].rstrip(_HARMLESS)


def parse(address: str, text: str) -> Element:
    """Read OME-XML.

    Raises
    ------
    OmeXmlError
        If it is not well-formed.
    """
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise OmeXmlError(address, str(error)) from error


def tag(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def children(element: Element, name: str) -> list[Element]:
    """Direct children of this name."""
    return [child for child in element if tag(child) == name]


def metadata_file(root: Element) -> str | None:
    """Name of the file that holds the metadata, where this one has a pointer to it alone."""
    found = children(root, "BinaryOnly")
    return found[0].get("MetadataFile", "") if found else None


def images_of(address: str, root: Element) -> list[OmeImage]:
    """All images that OME-XML describes, with their numbers checked.

    Raises
    ------
    OmeXmlError
        If there is none, or something in one of them is missing or no number.
    """
    found = []
    for n, (image, pixels) in enumerate(_pixels(root), 1):
        try:
            axes, lengths = _dimensions(pixels)
            _check_numbers(pixels)
            _check_pages(pixels, axes, lengths)
            _check_names(pixels, root.get("UUID", ""))
        except (KeyError, ValueError) as error:
            what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
            raise OmeXmlError(address, f"image {n}: {what}") from error
        long = [(axis, lengths[axis]) for axis in axes if lengths[axis] > 1 or axis in "YX"]
        found.append(
            OmeImage(
                name=image.get("Name") or "",
                axes="".join(axis for axis, _ in long),
                shape=tuple(length for _, length in long),
                files=tuple(dict.fromkeys(_file(data) for data in children(pixels, "TiffData"))),
            )
        )
    if not found:
        raise OmeXmlError(address, "no image in it")
    return found


def only(root: Element, number: int, places: Mapping[str, str], own: str) -> str:
    """OME-XML of one image alone.

    Parameters
    ----------
    root
        The document; it is changed.
    number
        Which image, from 0.
    places
        For each name of a file in this image, its path, which becomes its identifier.
    own
        Path of the file that tifffile opens.
    """
    every = _pixels(root)
    wanted, pixels = every[number]
    for image, others in every:
        if others is not pixels:
            image.remove(others)
        if image is not wanted and image in root:
            root.remove(image)
    root.set("UUID", own)
    if len(every) == 1 and not any(children(pixels, name) for name in _PLANES):
        # all pages of the file, in the order of the axes
        ElementTree.SubElement(pixels, f"{_namespace(pixels)}TiffData")
    for data in children(pixels, "TiffData"):
        written = _file(data)
        for child in children(data, "UUID"):
            data.remove(child)
        name = places.get(written, own)
        ElementTree.SubElement(data, f"{_namespace(data)}UUID", FileName=name).text = name
    return ElementTree.tostring(root, encoding="unicode")


def _pixels(root: Element) -> list[tuple[Element, Element]]:
    """Images, and for each of them the element with its pixels."""
    return [
        (image, pixels) for image in children(root, "Image") for pixels in children(image, "Pixels")
    ]


def _namespace(element: Element) -> str:
    return element.tag[: -len(tag(element))]


def _file(data: Element) -> str:
    """Name of the file that holds planes; empty where it is the file with the XML."""
    found = children(data, "UUID")
    return found[0].get("FileName", "") if found else ""


def identifiers_of(root: Element) -> dict[str, str]:
    """For each file that is named, the identifier that it is said to have."""
    return {
        uuid.get("FileName", ""): (uuid.text or "").strip()
        for _, pixels in _pixels(root)
        for data in children(pixels, "TiffData")
        for uuid in children(data, "UUID")
    }


def _dimensions(pixels: Element) -> tuple[str, dict[str, int]]:
    """Axes in the order of the file, and the length of each."""
    order = pixels.attrib["DimensionOrder"]
    if sorted(order) != sorted(_SIZES) or order[:2] != "XY":
        raise ValueError(f"DimensionOrder {order}")
    lengths = {axis: _whole(pixels, f"Size{axis}") for axis in _SIZES}
    short = [axis for axis, length in lengths.items() if not 1 <= length <= _MOST]
    if short:
        raise ValueError(f"Size{short[0]} {lengths[short[0]]}")
    return order[::-1], lengths


def _check_numbers(pixels: Element) -> None:
    for axis in "XYZ":
        if f"PhysicalSize{axis}" in pixels.attrib:
            _check_real(pixels, f"PhysicalSize{axis}")
    for channel in children(pixels, "Channel"):
        if "SamplesPerPixel" in channel.attrib:
            _whole(channel, "SamplesPerPixel")
    for data in children(pixels, "TiffData"):
        for name in _INTEGERS:
            if _whole(data, name, 0) < 0:
                # tifffile counts such pages from the end of the file
                raise ValueError(f"{name} {data.attrib[name]}")


class _Run(NamedTuple):
    """Planes that follow each other in pages that follow each other."""

    file: str
    page: int
    plane: int
    pages: int

    @property
    def stop(self) -> int:
        """The page behind them."""
        return self.page + self.pages


def _check_pages(pixels: Element, axes: str, lengths: Mapping[str, int]) -> None:
    """Refuse planes that the image does not have, and pages that are several planes of it."""
    planes = math.prod(lengths[axis] for axis in axes[:-2])
    runs = sorted(_runs(pixels, axes, lengths))
    for run in runs:
        if run.pages > planes:
            raise ValueError(f"PlaneCount {run.pages}, where the image has {planes} planes")
    if any(_whole(c, "SamplesPerPixel", 1) > 1 for c in children(pixels, "Channel")):
        return  # a page has several channels
    one: _Run | None = None
    for other in runs:
        if one is None or one.file != other.file or one.stop <= other.page:
            one = other
        elif one.plane - one.page != other.plane - other.page:
            raise ValueError(f"IFD {other.page} is several planes")
        elif one.stop < other.stop:
            one = other


def _runs(pixels: Element, axes: str, lengths: Mapping[str, int]) -> Iterator[_Run]:
    """What each element says that does not mean all pages of a file."""
    for data in children(pixels, "TiffData"):
        count = _whole(data, "PlaneCount", _whole(data, "NumPlanes", int("IFD" in data.attrib)))
        plane = 0
        for axis in axes[:-2]:
            plane = plane * lengths[axis] + _whole(data, f"First{axis}", 0)
        if count:
            yield _Run(_file(data), _whole(data, "IFD", 0), plane, count)


def _check_names(pixels: Element, own: str) -> None:
    """A file that has an identifier alone is the one with the XML."""
    for data in children(pixels, "TiffData"):
        for uuid in children(data, "UUID"):
            identifier = (uuid.text or "").strip()
            if own and identifier not in ("", own) and not uuid.get("FileName"):
                raise ValueError(f"the file {identifier} has no name")


def _whole(element: Element, name: str, default: int | None = None) -> int:
    if default is not None and name not in element.attrib:
        return default
    text = element.attrib[name]
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is not a number") from error


def _check_real(element: Element, name: str) -> None:
    text = element.attrib[name]
    try:
        float(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is not a number") from error
