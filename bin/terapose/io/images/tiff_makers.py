"""What the programs of microscopes write of channels and voxels into TIFF files of their own.

Each function takes an opened file and one image of it, and gives the names of the channels and
the size of the voxels as far as the program wrote them. What is missing or no number is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from terapose.io.images.ome_xml import children, tag
from terapose.io.images.units import micrometres

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

Sizes = tuple[float | None, float | None, float | None]
"""(z, y, x) in micrometres."""

_MPP = re.compile(r"\bMPP\s*=\s*([0-9.]+)")


@dataclass(frozen=True)
class Metadata:
    """Names of channels and the size of a voxel, as far as a file states them.

    Attributes
    ----------
    names
        One for each channel, or none.
    sizes
        (z, y, x) in micrometres.
    """

    names: tuple[str | None, ...] = ()
    sizes: Sizes = (None, None, None)


def length(value: Any, unit: str | None) -> float | None:
    """Micrometres; None where the value or the unit is not known."""
    try:
        return micrometres(abs(float(value)), unit)
    except (TypeError, ValueError):
        return None


def qptiff(_file: TiffFile, series: TiffPageSeries) -> Metadata:
    """PerkinElmer and Akoya: XML in each page, with a biomarker or else a name of the channel."""
    names = []
    for page in series:
        root = _xml(page.aspage().description if page is not None else "")
        found = [] if root is None else [*children(root, "Biomarker"), *children(root, "Name")]
        texts = ((element.text or "").strip() for element in found)
        names.append(next(filter(None, texts), None))
    return Metadata(tuple(names))


def svs(_file: TiffFile, series: TiffPageSeries) -> Metadata:
    """Aperio: micrometres per pixel in the description."""
    found = _MPP.search(series.keyframe.description)
    size = length(found[1], "um") if found else None
    return Metadata(sizes=(None, size, size))


def scn(file: TiffFile, series: TiffPageSeries) -> Metadata:
    """Leica: names of the channels in the XML; sizes are in the tags."""
    root = _xml(file.scn_metadata or "")
    images = [] if root is None else [e for e in root.iter() if tag(e) == "image"]
    for image in images:
        if image.get("name", "Unknown") == series.name:
            channels = [e for e in image.iter() if tag(e) == "channel"]
            ordered = sorted(channels, key=lambda e: int(e.get("index", 0)))
            return Metadata(tuple(channel.get("name") for channel in ordered))
    return Metadata()


def lsm(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """Zeiss LSM: lengths in metres."""
    told = file.lsm_metadata or {}
    z, y, x = (length(told.get(f"VoxelSize{axis}"), "m") for axis in "ZYX")
    names = told.get("ChannelColors", {}).get("ColorNames", [])
    return Metadata(_strings(names), (z, y, x))


def stk(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """MetaMorph: calibration and, for each plane, its distance from the one before."""
    told = file.stk_metadata or {}
    unit = told.get("CalibrationUnits")
    is_calibrated = told.get("SpatialCalibration", 1) != 0
    y, x = (length(told.get(f"{a}Calibration"), unit) if is_calibrated else None for a in "YX")
    steps = {abs(float(step)) for step in told.get("ZDistance", ())}
    return Metadata(sizes=(length(steps.pop(), "um") if len(steps) == 1 else None, y, x))


def fluoview(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """Olympus FluoView: each axis with its step and unit."""
    told = {d[0].upper(): d for d in (file.fluoview_metadata or {}).get("Dimensions", ())}
    steps = (told.get(axis, ("", 0, 0, None, None)) for axis in "ZYX")
    z, y, x = (length(step[3], step[4]) for step in steps)
    return Metadata(sizes=(z, y, x))


def scanimage(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """ScanImage: the channels that were saved, and the step of a stack."""
    told = (file.scanimage_metadata or {}).get("FrameData") or {}
    names, saved = told.get("SI.hChannels.channelName"), told.get("SI.hChannels.channelSave")
    numbers = np.ravel(saved) if saved else ()  # one number, or a column of them
    chosen = [names[int(n) - 1] for n in numbers] if isinstance(names, list) else []
    step = length(told.get("SI.hStackManager.stackZStepSize"), "um")
    return Metadata(_strings(chosen), (step, None, None))


def sis(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """Olympus SIS: lengths in metres."""
    told = file.sis_metadata or {}
    y, x = (length(told.get(f"pixelsize{axis}"), "m") for axis in "yx")
    return Metadata(sizes=(None, y, x))


def metaseries(file: TiffFile, _series: TiffPageSeries) -> Metadata:
    """MetaXpress and newer MetaMorph: one plane, with its calibration."""
    told = (file.metaseries_metadata or {}).get("PlaneInfo", {})
    unit = told.get("spatial-calibration-units")
    y, x = (length(told.get(f"spatial-calibration-{axis}"), unit) for axis in "yx")
    return Metadata(sizes=(None, y, x))


def _strings(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in names)


def _xml(text: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return None
