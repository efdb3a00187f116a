"""Names of channels and sizes of voxels, from where each kind of TIFF keeps them.

Where a number cannot be used (a unit that is no length, a decimal comma, a printing resolution)
the size is unknown, which `check` shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from terapose.core.levels import factor_between
from terapose.io.images import micromanager
from terapose.io.images import tiff_makers as makers
from terapose.io.images.ome_xml import children, tag
from terapose.io.images.tiff_makers import Metadata, Sizes, length
from terapose.io.images.units import VoxelSize, micrometres, voxel_size_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

Shape = tuple[int, int, int]

# Editors write printing resolutions (72 to 600 dots per inch) where they know none: at 25 um or
# more per pixel a resolution tag says nothing of a microscope.
_COARSEST_TAG = 25.0
_SIGNED = -32768.0
_TAG_UNITS = {2: "inch", 3: "cm"}
_PLACE_IN_STACK = re.compile(r"^(?:[czt]:\d+/\d+ ?)+(?:- )?")

Reader = Callable[["TiffFile", "TiffPageSeries"], Metadata]


def metadata_of(file: TiffFile, series: TiffPageSeries) -> Metadata:
    """Names of the channels and the size of a voxel of level 0.

    Parameters
    ----------
    file, series
        The open file and one image of it.
    """
    if series.kind == "ome":
        return _from_ome(file)
    if series.kind == "imagej":
        return _from_imagej(file, series)
    told = _READERS.get(series.kind, _of_planes)(file, series)
    tags = _from_tags(series)
    z, y, x = (a or b for a, b in zip(told.sizes, tags, strict=True))
    return Metadata(told.names, (z, y, x))


def scaled(sizes: Sizes, finest: Shape, shape: Shape) -> VoxelSize | None:
    """Voxel size of a level.

    Parameters
    ----------
    sizes
        (z, y, x) of level 0 in micrometres, as far as they are known.
    finest, shape
        (Z, Y, X) of level 0 and of the level.
    """
    z, y, x = (
        None if size is None else size * factor_between(whole, part)
        for size, whole, part in zip(sizes, finest, shape, strict=True)
    )
    return voxel_size_of(z, y, x, shape[0])


def note_of_values(file: TiffFile, series: TiffPageSeries) -> str:
    """What to say where ImageJ shows other values than are stored; empty elsewhere.

    It stores signed numbers of 16 bits as unsigned ones, and that they begin at -32768.
    """
    told = (file.imagej_metadata or {}).get("c0") if series.kind == "imagej" else None
    if told != _SIGNED:
        return ""
    return "its values are signed in ImageJ, and read as they are stored, which is 32768 higher"


def image_names(file: TiffFile, images: Sequence[TiffPageSeries]) -> tuple[str, ...]:
    """Names of all images of a file; empty where one has none."""
    if images[0].kind in ("mmstack", "ndtiff") and len(images) > 1:
        return tuple(micromanager.position_names(file, len(images)))
    return tuple(str(image.name or "") for image in images)


def _from_ome(file: TiffFile) -> Metadata:
    """From OME-XML, which describes this image alone (see `ome_xml.only`)."""
    root = ElementTree.fromstring(file.ome_metadata or "")
    pixels = next(element for element in root.iter() if tag(element) == "Pixels")
    channels = children(pixels, "Channel")
    names = tuple(channel.get("Name") or channel.get("Fluor") for channel in channels)
    # samples of a pixel have no names of their own
    has_samples = any(int(channel.get("SamplesPerPixel", 1)) > 1 for channel in channels)
    z, y, x = (
        length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    )
    return Metadata(() if has_samples else names, (z, y, x))


def _from_imagej(file: TiffFile, series: TiffPageSeries) -> Metadata:
    """ImageJ: the unit of all axes, or of each, and the distance of planes."""
    told = file.imagej_metadata or {}
    unit = told.get("unit")
    z = length(told.get("spacing"), told.get("zunit", unit)) if told.get("spacing") else None
    _, y, x = _from_tags(series)
    if unit:
        y, x = _resolution(series, (told.get("yunit", unit), unit))
    return Metadata(_labels(told.get("Labels"), series), (z, y, x))


def _labels(labels: Any, series: TiffPageSeries) -> tuple[str, ...]:
    """Names of channels in ImageJ's labels of planes: those that differ between channels alone."""
    axes = "".join(axis for axis in series.axes if axis not in "YXS")
    lengths = [series.shape[series.axes.index(axis)] for axis in axes]
    if not isinstance(labels, list) or "C" not in axes or len(labels) != math.prod(lengths):
        return ()
    names = np.array([_PLACE_IN_STACK.sub("", str(label)).strip() for label in labels])
    by_channel = np.moveaxis(names.reshape(lengths), axes.index("C"), 0).reshape(
        lengths[axes.index("C")], -1
    )
    first = by_channel[:, 0]
    if (by_channel != first[:, None]).any() or len(set(first)) < len(first):
        return ()
    return tuple(map(str, first))


def _of_planes(file: TiffFile, series: TiffPageSeries) -> Metadata:
    """Planes that a program wrote one by one, each into a separate file."""
    if file.is_micromanager:
        return micromanager.metadata_of(file, series)
    return makers.metaseries(file, series) if file.is_metaseries else Metadata()


def _from_tags(series: TiffPageSeries) -> Sizes:
    """From the resolution tags, unless that is one of printing."""
    unit = _TAG_UNITS.get(int(series.keyframe.resolutionunit))
    sizes = _resolution(series, (unit, unit))
    y, x = (None if size is None or size > _COARSEST_TAG else size for size in sizes)
    return None, y, x


def _resolution(
    series: TiffPageSeries, units: tuple[str | None, str | None]
) -> tuple[float | None, float | None]:
    """(y, x) of the resolution tags, each in a unit."""
    sizes: list[float | None] = []
    for name, unit in zip(("YResolution", "XResolution"), units, strict=True):
        found = series.keyframe.tags.get(name)
        count, total = found.value if found is not None else (0, 0)
        sizes.append(micrometres(total / count, unit) if count else None)
    return sizes[0], sizes[1]


_READERS: dict[str, Reader] = {
    "mmstack": micromanager.metadata_of,
    "ndtiff": micromanager.metadata_of,
    "qpi": makers.qptiff,
    "svs": makers.svs,
    "scn": makers.scn,
    "lsm": makers.lsm,
    "stk": makers.stk,
    "fluoview": makers.fluoview,
    "scanimage": makers.scanimage,
    "sis": makers.sis,
}
