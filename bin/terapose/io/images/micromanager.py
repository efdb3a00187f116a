"""Micro-Manager: stacks with an index of their planes (MMStack) and NDTiff.

The index at the start of a file says where the plane of each channel, slice, frame and position
is, so the file is read whatever its OME-XML says. Sizes are in the summary of the acquisition, or
in the JSON that each plane carries.

An index is believed as far as it can be checked: it must have all slices and channels that the
summary promises (the rest of a large stack is in other files), and the second plane must be where
its own directory says, as the places of planes are reckoned from the index alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from terapose.core.errors import InputError
from terapose.io.documents import parse_json
from terapose.io.images.tiff_makers import Metadata, length

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_PLANE = 51123
_NDTIFF_INDEX = "NDTiff.index"
_PROMISED = {"C": "Channels", "Z": "Slices"}


def summary_of(file: TiffFile) -> dict[str, Any]:
    """What the acquisition was to be; empty where the file does not say."""
    found = (file.micromanager_metadata or {}).get("Summary")
    return found if isinstance(found, dict) else {}


def metadata_of(file: TiffFile, series: TiffPageSeries) -> Metadata:
    """Names of the channels and the size of a voxel."""
    summary, plane = summary_of(file), _plane(file)
    in_index = series.kind == "ndtiff"
    names = _names_in_index(file, "channel") if in_index else _list(summary.get("ChNames"))
    pixel = length(summary.get("PixelSize_um"), "um") or length(plane.get("PixelSizeUm"), "um")
    step = length(summary.get("z-step_um"), "um")
    return Metadata(tuple(str(name) for name in names), (step, pixel, pixel))


def position_names(file: TiffFile, positions: int) -> list[str]:
    """Names of the positions of the stage, as far as the file has them."""
    if file.is_ndtiff:
        labels = _names_in_index(file, "position")
    else:
        summary = summary_of(file)
        told = _list(summary.get("StagePositions") or summary.get("InitialPositionList"))
        labels = [str(p.get("Label", "")) for p in told if isinstance(p, dict)]
    if len(labels) == positions and len(set(labels)) == positions:
        return labels
    return [f"Pos{n}" for n in range(positions)]


def other_files(file: TiffFile) -> tuple[str, ...]:
    """Files that an image needs beside those of the planes."""
    return (_index(file),) if file.is_ndtiff else ()


def is_ndtiff_folder(path: str) -> bool:
    """Whether a local folder holds an NDTiff dataset."""
    return os.path.isfile(os.path.join(path, _NDTIFF_INDEX))


def first_file(folder: str) -> str:
    """A file of the NDTiff dataset in a folder.

    Raises
    ------
    InputError
        If a file that its index names is missing, or outside of the folder.
    """
    return os.path.join(folder, files_in_index(folder)[0])


def files_in_index(folder: str) -> list[str]:
    """Names of the files of an NDTiff dataset, each once.

    Raises
    ------
    InputError
        If one is missing, or outside of the folder.
    """
    from tifffile import read_ndtiff_index

    index = os.path.join(folder, _NDTIFF_INDEX)
    names = list(dict.fromkeys(fields[1] for fields in read_ndtiff_index(index)))
    missing = [n for n in names if not os.path.isfile(os.path.join(folder, n))]
    outside = [n for n in names if os.path.basename(n) != n]
    if outside or missing or not names:
        raise InputError(
            "files of this NDTiff dataset are outside its folder"
            if outside
            else "files of this NDTiff dataset are missing",
            where=folder,
            got=(outside or missing or ["an empty index"])[0],
            remedy="copy the whole folder",
        )
    return names


def check(address: str, file: TiffFile, series: TiffPageSeries, axes: str) -> None:
    """Refuse what is not whole.

    Raises
    ------
    InputError
        If the index is missing or wrong, or has fewer slices or channels than the summary.
    """
    if series.kind == "mmstack":
        _check_promise(address, file, series)
        _check_places(address, file, series)
    elif series.kind != "ndtiff" and len(series) > 1 and not axes:
        raise InputError(
            "a Micro-Manager file without an index of the planes",
            where=address,
            got="an acquisition that was cut short, or an NDTiff without its NDTiff.index",
            remedy="copy all files of the acquisition together, or say what its axes are (axes)",
        )


def _check_promise(address: str, file: TiffFile, series: TiffPageSeries) -> None:
    summary = summary_of(file)
    lengths = dict(zip(series.axes, series.shape, strict=True))
    for axis, name in _PROMISED.items():
        promised = summary.get(name, 1)
        if isinstance(promised, int) and promised > lengths.get(axis, 1):
            raise InputError(
                "planes of the image are missing",
                where=address,
                got=f"{lengths.get(axis, 1)} of {promised} {name.lower()}",
                remedy="copy all files of the acquisition together, under their original names",
            )


def _check_places(address: str, file: TiffFile, series: TiffPageSeries) -> None:
    if len(file.pages) < 2:
        return
    second: Any = file.pages[1]
    known = {int(page.offset): page for page in series if page is not None and page.parent is file}
    page = known.get(int(second.offset))
    if page is not None and page.dataoffsets[0] != second.dataoffsets[0]:
        raise InputError(
            "the index of this Micro-Manager file does not fit its planes",
            where=address,
            got=f"a plane at byte {second.dataoffsets[0]}, in the index at {page.dataoffsets[0]}",
            remedy="open it in ImageJ and save it as TIFF",
        )


def _plane(file: TiffFile) -> dict[str, Any]:
    """What the first plane of the opened file says of itself."""
    value = file.pages.first.tags.valueof(_PLANE)
    return value if isinstance(value, dict) else {}


def _names_in_index(file: TiffFile, axis: str) -> list[str]:
    """Names along an axis of NDTiff, in the order in which they were taken first."""
    from tifffile import read_ndtiff_index

    found = (fields[0].get(axis) for fields in read_ndtiff_index(_index(file)))
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))


def _index(file: TiffFile) -> str:
    return os.path.join(file.filehandle.dirname, _NDTIFF_INDEX)


def _list(value: Any) -> list[Any]:
    """A list, which some versions wrote as JSON in a string."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return []
    return value if isinstance(value, list) else []
