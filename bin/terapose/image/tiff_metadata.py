"""Voxel size and channel names from OME-XML, ImageJ's description and resolution tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from terapose.image.units import VoxelSize, micrometres, voxel_size_of
from terapose.levels import factor_between

if TYPE_CHECKING:
    from tifffile import TiffFile

Shape = tuple[int, int, int]

# Editors write printing resolutions (72 to 600 dots per inch) where they know none: at 25 um or
# more per pixel a resolution tag says nothing of a microscope.
_COARSEST_TAG = 25.0
_TAG_UNITS = {2: "inch", 3: "cm"}


def channel_names(file: TiffFile, number: int) -> list[str | None]:
    """Names of the channels, from OME-XML or ImageJ's labels of a stack without Z."""
    pixels = _pixels(file, number)
    if pixels is not None:
        return [child.get("Name") for child in pixels if _tag(child) == "Channel"]
    labels = (file.imagej_metadata or {}).get("Labels")
    if isinstance(labels, list) and file.series[number].axes == "CYX":
        return [str(label) for label in labels]
    return []


def voxel_size(file: TiffFile, number: int, finest: Shape, shape: Shape) -> VoxelSize | None:
    """Voxel size of a level.

    Parameters
    ----------
    file, number
        The open file and which of its series is the image.
    finest, shape
        (Z, Y, X) of level 0, to which the metadata belongs, and of the level wanted.

    Returns
    -------
    tuple of float or None
        (z, y, x) in micrometres.
    """
    pixels = _pixels(file, number)
    sizes = _from_ome(pixels) if pixels is not None else _from_tags(file, number)
    scaled = [
        None if size is None else size * factor_between(whole, part)
        for size, whole, part in zip(sizes, finest, shape, strict=True)
    ]
    return voxel_size_of(scaled[0], scaled[1], scaled[2], shape[0])


def _pixels(file: TiffFile, number: int) -> ElementTree.Element | None:
    """The Pixels element of the image in the file's OME-XML."""
    if not file.ome_metadata:
        return None
    root = ElementTree.fromstring(file.ome_metadata)
    found = [element for element in root.iter() if _tag(element) == "Pixels"]
    return found[number] if number < len(found) else None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _from_ome(pixels: ElementTree.Element) -> list[float | None]:
    sizes: list[float | None] = []
    for axis in "ZYX":
        text = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        sizes.append(None if text is None else micrometres(float(text), unit))
    return sizes


def _from_tags(file: TiffFile, number: int) -> list[float | None]:
    """ImageJ keeps its unit and the distance of planes in its description."""
    page: Any = file.series[number].keyframe
    imagej = file.imagej_metadata
    unit = imagej.get("unit") if imagej else _TAG_UNITS.get(int(page.resolutionunit))
    sizes: list[float | None] = [None]
    if imagej and imagej.get("spacing"):
        sizes[0] = micrometres(abs(float(imagej["spacing"])), unit)
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        count, length = tag.value if tag is not None else (0, 0)
        size = micrometres(length / count, unit) if count else None
        coarse = size is not None and not imagej and size > _COARSEST_TAG
        sizes.append(None if coarse else size)
    return sizes
