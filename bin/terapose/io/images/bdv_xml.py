"""The XML beside an HDF5 file or N5 of BigDataViewer or BigStitcher: names and sizes of setups.

The pixels are in the HDF5 file (`terapose.io.images.bdv`) or N5 (`terapose.io.images.n5`); the XML
names it, and says for each setup its name, its voxel size, and its channel, tile, angle and
illumination. Transformations that register setups with each other are not applied: each setup is
read as it was taken.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from terapose.core.errors import InputError
from terapose.io.images.units import VoxelSize, micrometres, voxel_size_of

_ROOT = b"<SpimData"
HDF5 = "bdv.hdf5"
N5 = "bdv.n5"
_DAMAGED = "correct the XML, or move it away (the image is then read without its metadata)"


@dataclass(frozen=True)
class Setup:
    """What the XML says of one setup.

    Attributes
    ----------
    name
        Its name, or its attributes where it has none.
    attributes
        Channel, tile, angle and illumination, as they are named: "channel 488, tile 1".
    channel
        Name of the channel; empty where it has none.
    voxel_size
        (z, y, x) in micrometres of the finest level, or None.
    """

    name: str
    attributes: str
    channel: str
    voxel_size: VoxelSize | None


def is_bdv_xml(head: bytes) -> bool:
    """Whether a file that starts like this is an XML of BigDataViewer."""
    return _ROOT in head


def pixels_of(xml_name: str) -> tuple[str, str]:
    """Where the pixels of an XML are.

    Returns
    -------
    kind, path : str
        `HDF5` or `N5`, and the path as it is given there, from the XML's own folder.

    Raises
    ------
    InputError
        If the XML is damaged, or its pixels are in another format.
    """
    root = _parse(xml_name)
    loader = root.find("SequenceDescription/ImageLoader")
    kind = "none" if loader is None else loader.get("format", "none")
    path = "" if loader is None else (loader.findtext(kind.removeprefix("bdv.")) or "").strip()
    if kind not in (HDF5, N5) or not path:
        raise InputError(
            "the pixels of this BigDataViewer XML are neither in an HDF5 file nor in N5",
            where=xml_name,
            got=f"format {kind}",
            allowed=f"{HDF5}, {N5}",
            remedy="name the image itself, for example a setup in an OME-Zarr folder",
        )
    base = (root.findtext("BasePath") or ".").strip()
    return kind, os.path.normpath(os.path.join(base, path))


def beside(file_name: str) -> str:
    """The XML that belongs to an HDF5 file or N5: of the same name, with BigDataViewer's root."""
    xml_name = f"{os.path.splitext(file_name)[0]}.xml"
    if not os.path.isfile(xml_name):
        return ""
    with open(xml_name, "rb") as file:
        return xml_name if is_bdv_xml(file.read(4096)) else ""


def setups_in(xml_name: str) -> Mapping[int, Setup]:
    """What an XML says of the setups, by their numbers.

    Raises
    ------
    InputError
        If it is damaged.
    """
    found: dict[int, Setup] = {}
    root = _parse(xml_name)
    labels = _labels(root)
    try:
        for entry in root.iterfind("SequenceDescription/ViewSetups/ViewSetup"):
            number = int(entry.findtext("id", ""))
            found[number] = _setup(entry, labels)
    except ValueError as error:
        raise _damaged(xml_name, str(error)) from error
    return found


def _setup(entry: Element, labels: Mapping[tuple[str, str], str]) -> Setup:
    own = {one.tag: (one.text or "").strip() for one in entry.iterfind("attributes/*")}
    said = [f"{kind} {labels.get((kind, value), value)}" for kind, value in own.items()]
    channel = labels.get(("channel", own.get("channel", "")), "")
    unit = entry.findtext("voxelSize/unit")
    sizes = (entry.findtext("voxelSize/size") or "").split()
    lengths = [micrometres(float(size), unit) for size in sizes]
    x, y, z = lengths if len(lengths) == 3 else (None, None, None)
    name = (entry.findtext("name") or "").strip()
    attributes = ", ".join(said)
    return Setup(name or attributes, attributes, channel, voxel_size_of(z, y, x, 0))


def _labels(root: Element) -> dict[tuple[str, str], str]:
    """Names of channels, tiles and so on by kind and number; not those that are their numbers."""
    found = {}
    for group in root.iterfind("SequenceDescription/ViewSetups/Attributes"):
        for entry in group:
            number, name = entry.findtext("id", "").strip(), entry.findtext("name", "").strip()
            if name and name != number:
                found[group.get("name", ""), number] = name
    return found


def _parse(xml_name: str) -> Element:
    try:
        return ElementTree.parse(xml_name).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _damaged(xml_name, str(error)) from error


def _damaged(xml_name: str, reason: str) -> InputError:
    return InputError(
        "the XML of BigDataViewer cannot be read", where=xml_name, got=reason, remedy=_DAMAGED
    )
