"""TIFFs as the programs of microscopes write them: tags of their own, in formats of their own."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tests.raw_tiff import BYTE, LONG, RATIONAL, SHORT, RawTiff, Tag, text

_TILES: dict[str, Any] = {"tile": (16, 16), "compression": "lzw", "metadata": None}


def qpi_xml(kind: str, name: str = "", biomarker: str = "") -> str:
    """What QPTIFF has in the description of each page."""
    told = (f"<Name>{name}</Name>" if name else "") + (
        f"<Biomarker>{biomarker}</Biomarker>" if biomarker else ""
    )
    return (
        '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription>'
        f"<DescriptionVersion>2</DescriptionVersion><ImageType>{kind}</ImageType>{told}"
        "<ScanProfile><Name>not of a channel</Name></ScanProfile>"
        "</PerkinElmer-QPI-ImageDescription>"
    )


def write_qptiff(
    path: Path,
    array: np.ndarray,
    names: Sequence[tuple[str, str]],
    *,
    factors: Sequence[int] = (1, 2),
    extra: int = 20,
    photometric: Any = "minisblack",
) -> Path:
    """A slide of (C, Y, X), with a thumbnail, an overview and a label of ``extra`` pixels."""
    options: dict[str, Any] = {"software": "PerkinElmer-QPI", "metadata": None}
    colour = np.full((extra, extra, 3), 7, np.uint8)
    with tifffile.TiffWriter(path) as file:
        for factor in factors:
            kind = "FullResolution" if factor == 1 else "ReducedResolution"
            for channel, (name, biomarker) in zip(array, names, strict=True):
                # levels are cut down to whole numbers of pixels
                high, wide = (n // factor * factor for n in channel.shape[:2])
                file.write(
                    channel[:high:factor, :wide:factor],
                    description=qpi_xml(kind, name, biomarker),
                    photometric=photometric,
                    resolution=(40000 / factor, 20000 / factor),
                    resolutionunit="CENTIMETER",
                    subfiletype=int(factor > 1),
                    **(options | _TILES),
                )
            if factor == 1:
                thumbnail = {"description": qpi_xml("Thumbnail"), "photometric": "rgb"}
                file.write(colour, **(options | thumbnail))
        for kind in ("Overview", "Label"):
            # of other lengths, as no two of these pages are of one size
            size = extra + 1 if kind == "Label" else extra + 3
            page = np.full((size, extra, 3), 9, np.uint8)
            file.write(page, description=qpi_xml(kind), photometric="rgb", **options)
    return path


def write_svs(path: Path, array: np.ndarray, photometric: Any = "minisblack") -> Path:
    """Aperio: a slide of (Y, X) with a thumbnail, a level, a label and a macro."""
    told = "Aperio Image Library v11.2.1\r\n%s |AppMag = 20|MPP = 0.4990|Left = 1"
    small = np.full((10, 10, 3), 7, np.uint8)
    with tifffile.TiffWriter(path) as file:
        options = {"photometric": photometric, **_TILES}
        file.write(array, description=told % "full", **options)
        file.write(small, description=told % "thumb", photometric="rgb", metadata=None)
        file.write(array[::4, ::4], description=told % "level", **options)
        for kind in (1, 9):
            described: dict[str, Any] = {"description": told % "aside", "subfiletype": kind}
            file.write(small[: 5 + kind], photometric="rgb", metadata=None, **described)
    return path


def write_scn(path: Path, array: np.ndarray, names: Sequence[str]) -> Path:
    """Leica SCN: (C, Y, X) in two levels, after a small image of the slide."""
    high, wide = array.shape[1:]
    told = "".join(
        f'<dimension sizeX="{wide}" sizeY="{high}" r="{r}" c="{c}" ifd="{1 + r * len(names) + c}"/>'
        for r in (0, 1)
        for c in range(len(names))
    )
    channels = "".join(f'<channel index="{n}" name="{name}"/>' for n, name in enumerate(names))
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        '<collection><image name="macro"><pixels><dimension sizeX="9" sizeY="9" ifd="0"/></pixels>'
        f'</image><image name="slide"><pixels>{told}</pixels><scanSettings><channelSettings>'
        f"{channels}</channelSettings></scanSettings></image></collection></scn>"
    )
    options: dict[str, Any] = {"photometric": "minisblack", **_TILES}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(np.full((9, 9), 1, array.dtype), description=xml, **options)
        for factor in (1, 2):
            for channel in array:
                resolution = (20000 / factor, 20000 / factor)
                unit: Any = "CENTIMETER"
                part = channel[::factor, ::factor]
                file.write(part, resolution=resolution, resolutionunit=unit, **options)
    return path


def write_lsm(path: Path, array: np.ndarray, names: Sequence[str], *, positions: int = 1) -> Path:
    """Zeiss LSM: (Z, C, Y, X), or (P, Z, C, Y, X); each plane with a thumbnail after it."""
    planes, channels, high, wide = array.shape[-4:]
    listed = b"".join(struct.pack("<I", len(n) + 1) + n.encode() + b"\0" for n in names)
    colours = bytes(4 * len(names))
    start = 24 + len(colours)
    size = start + len(listed)
    header = struct.pack("<6I", size, len(names), len(names), 24, start, 0) + colours + listed
    info = np.zeros((), np.dtype(tifffile.TIFF.CZ_LSMINFO))
    told = {
        "MagicNumber": 67127628,
        "StructureSize": info.dtype.itemsize,
        "DimensionX": wide,
        "DimensionY": high,
        "DimensionZ": planes,
        "DimensionChannels": channels,
        "DimensionTime": 1,
        "DimensionP": positions if positions > 1 else 0,
        "VoxelSizeX": 0.25e-6,
        "VoxelSizeY": 0.5e-6,
        "VoxelSizeZ": 2e-6,
        "OffsetChannelColors": 8,
    }
    for name, value in told.items():
        info[name] = value
    # two values that would fit into their tag are elsewhere, against the rules
    bits = [Tag(258, SHORT, 2, 8 + len(header))] if channels == 2 else []
    file = RawTiff(header + struct.pack("<2H", 16, 16))
    tag = Tag(34412, BYTE, info.nbytes, info.tobytes())
    for n, plane in enumerate(array.reshape(-1, channels, high, wide)):
        pixels = plane if channels > 1 else plane[0]
        file.page(pixels, [*bits, tag] if n == 0 else bits)
        file.page(plane[0, ::4, ::4].astype(np.uint8), [Tag(254, LONG, 1, 1)])
    path.write_bytes(file.content)
    return path


def write_stk(
    path: Path, array: np.ndarray, *, step: float, unit: str, calibrated: int = 1
) -> Path:
    """MetaMorph: (Z, Y, X) in one page that describes the first plane."""
    header = struct.pack("<4I", 25, 100, 50, 100)
    header += struct.pack("<I", len(unit) + 1) + unit.encode() + b"\0"
    pairs = [(3, calibrated), (4, 8), (5, 16), (6, 24)]
    first = b"".join(struct.pack("<2I", *pair) for pair in pairs)
    planes = len(array)
    second = b"".join(
        struct.pack("<6I", round(step * 1000), 1000, 2450000, 1000 * n, 2450000, 1000 * n)
        for n in range(planes)
    )
    file = RawTiff(header)
    tags = [
        Tag(33628, LONG, len(pairs), first),
        Tag(33629, RATIONAL, planes, second),
        Tag(33630, RATIONAL, planes, struct.pack("<2I", 488, 1) * planes),
    ]
    file.page(array, tags, repeated=planes)
    path.write_bytes(file.content)
    return path


def write_fluoview(
    path: Path, planes: np.ndarray, axes: Sequence[tuple[str, int, float, str]]
) -> Path:
    """Olympus FluoView: planes (n, Y, X), and (name, length, step, unit) of each axis, X first."""
    header = np.zeros((), np.dtype(tifffile.TIFF.MM_HEADER))
    header["ImageName"] = b"an image"
    for n, (name, size, step, unit) in enumerate(axes):
        dimension = header["Dimensions"][n]
        dimension["Name"], dimension["Size"] = name.encode(), size
        dimension["Resolution"], dimension["Unit"] = step, unit.encode("latin-1")
    file = RawTiff()
    told = [
        Tag(34361, BYTE, header.nbytes, header.tobytes()),
        Tag(34362, BYTE, 64, bytes(64)),
    ]
    for n, plane in enumerate(planes):
        file.page(plane, told if n == 0 else told[1:])
    path.write_bytes(file.content)
    return path


def write_scanimage(path: Path, planes: np.ndarray, told: Mapping[str, Any]) -> Path:
    """ScanImage: a BigTIFF whose frame data are between its header and its first page."""
    frames = "\n".join(f"{key} = {value}" for key, value in told.items()).encode() + b"\0"
    file = RawTiff(struct.pack("<4I", 0x07030301, 3, len(frames), 0) + frames, big=True)
    for plane in planes:
        file.page(plane, [text(305, "SI.5.6")])
    path.write_bytes(file.content)
    return path


def write_metaxpress(path: Path, array: np.ndarray, size: str, unit: str) -> Path:
    """MetaXpress: one plane with its calibration."""
    told = "".join(
        f'<prop id="spatial-calibration-{axis}" type="float" value="{size}"/>' for axis in "xy"
    )
    xml = (
        "<MetaData><PlaneInfo>"
        f'{told}<prop id="spatial-calibration-units" type="string" value="{unit}"/>'
        "</PlaneInfo></MetaData>"
    )
    options: dict[str, Any] = {"software": "MetaSeries", "metadata": None}
    tifffile.imwrite(path, array, description=xml, photometric="minisblack", **options)
    return path


def write_sis(path: Path, array: np.ndarray) -> Path:
    """Olympus SIS: one plane of pixels of 0.5 by 0.25 micrometres."""
    general = struct.pack("<10xhdd8xd2x34s32s", -6, 0.25, 0.5, 20.0, b"camera", b"kind")
    header = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 0, 0, 1, 0, 100, b"name", 1)
    header += struct.pack("<hhI", 1, 1, 8 + len(header) + 8) + general + bytes(120)
    file = RawTiff(header)
    file.page(array, [Tag(33560, LONG, 1, 8), text(305, "analySIS")])
    path.write_bytes(file.content)
    return path
