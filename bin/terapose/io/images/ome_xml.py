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

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from terapose.io.images.tiff_files import DescriptionError

_START = re.compile(r"<\?xml\b|<(?:\w+:)?OME[\s>/]")
_ROOT = re.compile(r"<(?:\w+:)?OME[\s>/]")
_HARMLESS = "".join(map(chr, range(33))) + "\x7f\u00a0\ufeff"
_SIZES = "XYZCT"
_PLANES = ("TiffData", "BinData", "MetadataOnly")
_INTEGERS = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")


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
    short = [axis for axis, length in lengths.items() if length < 1]
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
            if name in data.attrib:
                _whole(data, name)


def _check_names(pixels: Element, own: str) -> None:
    """A file that has an identifier alone is the one with the XML."""
    for data in children(pixels, "TiffData"):
        for uuid in children(data, "UUID"):
            identifier = (uuid.text or "").strip()
            if own and identifier not in ("", own) and not uuid.get("FileName"):
                raise ValueError(f"the file {identifier} has no name")


def _whole(element: Element, name: str) -> int:
    text = element.attrib[name]
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is no number") from error


def _check_real(element: Element, name: str) -> None:
    text = element.attrib[name]
    try:
        float(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is no number") from error
