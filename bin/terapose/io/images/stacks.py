"""One image of many files, a plane each: a folder, or what a pattern matches.

1. The names of the files are read, and put in order (`plane_places`).
2. The first file (of the time point that is chosen) says shape and type. No other one is opened
   before it is read; then it has to hold the same.
3. `check` opens all of the chosen time point, for what they hold, not for their pixels: a plane of
   another shape is not found out after hours.

Files of a pattern with ``{c}`` or ``{t}`` alone may hold the planes of a volume; their pixel size
is read where they are along no Z. The voxel size of all others is what the user gives.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any, cast

from terapose.core.errors import InputError, few
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import patterns, plane_places, tiffs
from terapose.io.images.axes import Layout, Shape, unnamed
from terapose.io.images.identity import Identity, states_of
from terapose.io.images.joined import Index, Joined
from terapose.io.images.model import Image, Source, check_level, layout_of, names_of
from terapose.io.images.plane_files import (
    SUFFIXES,
    Header,
    check_alike,
    check_axes,
    header_of,
    read,
)
from terapose.io.images.plane_places import Places
from terapose.io.images.units import VoxelSize


def open_stack(address: str, chosen: Selection) -> Image:
    """Open the files of a folder or pattern as one image (see `open_image`).

    Parameters
    ----------
    address
        A folder, or a pattern as `terapose.io.images.patterns` has it.
    chosen
        What was chosen of it.
    """
    _check_chosen(address, chosen)
    places = find_places(address)
    first = check_axes(header_of(_first(places, chosen)), are_given=bool(chosen.axes))
    inside = first.axes or unnamed(len(first.shape))
    if len(inside) == 3 and "Z" in places.axes:
        raise InputError(
            "holds several planes; each file of a stack must hold one",
            where=first.path,
            got=f"{first.shape[0]} planes",
            remedy="open it without stack, or name files along {c} or {t} alone",
        )
    shape = places.lengths + first.shape
    layout = layout_of(address, places.axes + inside, shape, first.dtype, chosen)
    layout = replace(layout, note="; ".join(filter(None, (places.note, layout.note))))
    used = _used(places, layout)
    touched = {first.path}
    return Image(
        address=address,
        format=f"stack of {first.kind}",
        layout=layout,
        channel_names=names_of(places.channel_names, layout.length("C")),
        dtype=first.dtype,
        voxel_size=_voxel_size(places, first, layout.shape),
        selection=chosen,
        levels_shape=(layout.shape,),
        chunks=(1, *layout.shape[1:]),
        is_lazy=False,
        open_source=partial(_open_source, places, first, touched),
        find_identity=partial(_identity, places, used),
        check_files=partial(_check_files, used, first),
        touched=touched,
    )


def _voxel_size(places: Places, first: Header, shape: Shape) -> VoxelSize | None:
    """What the first file says, where the others are beside it: not along Z."""
    if "Z" in places.axes or first.kind != "tiff":
        return None
    try:
        image = tiffs.open_tiff(first.path, Selection())
    except InputError:  # its OME-XML may tell of files that are no part of the stack
        return None
    return image.voxel_size if image.shape == shape else None


def find_places(address: str) -> Places:
    """Find the files of a stack and their order.

    Raises
    ------
    InputError
        If there are none, or their names do not say their order.
    """
    if os.path.isdir(address):
        names = [name for name in os.listdir(address) if _is_plane(name)]
        if not names:
            raise InputError(
                "the folder holds no planes",
                where=address,
                got=_inside(address),
                allowed=f"files ending in {', '.join(SUFFIXES)}",
                remedy="name the folder that they are in, or a pattern such as */img_{z}.tif",
            )
        return plane_places.in_natural_order(address, [f"{address}/{name}" for name in names])
    axes = patterns.axes_in(address)
    found = [one for one in patterns.matches(address) if os.path.isfile(one.path)]
    if not found:
        raise InputError(
            "no file matches this pattern",
            where=address,
            remedy="check the path; {z} and {t} are whole numbers, with all of their digits",
        )
    if axes:
        return plane_places.by_pattern(address, found)
    return plane_places.in_natural_order(address, [one.path for one in found])


def _is_plane(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _inside(folder: str) -> str:
    """What a folder holds, in a few words."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return few(names, 3) or "nothing"


def _check_chosen(address: str, chosen: Selection) -> None:
    """Refuse what is no folder or pattern, and choices that a stack does not have."""
    check_level(address, chosen.level, 1)
    if chosen.series:
        raise InputError(
            "a stack is one image",
            where=address,
            got=f"series {chosen.series}",
            remedy="leave series out, or name the files of one image by a pattern",
        )
    if addresses.is_url(address):
        raise addresses.local_only("a stack", address, "the files")
    if not os.path.isdir(address) and not patterns.is_pattern(address):
        raise InputError(
            "a stack is a folder or a pattern"
            if os.path.exists(address)
            else "no such folder, and not a pattern",
            where=address,
            allowed="a folder with a file for each plane, or a pattern such as img_{z}_{c}.tif",
            remedy="leave stack out for an image in one file, and check the path",
        )


def _first(places: Places, chosen: Selection) -> str:
    """A file that is read in any case: the first, or the first of the time point."""
    time = (chosen.time or 1) - 1
    if places.axes[:1] != "T" or not 0 <= time < places.lengths[0]:
        return places.files[0]
    return places.files[time * len(places.files) // places.lengths[0]]


def _used(places: Places, layout: Layout) -> tuple[str, ...]:
    """Files that are read: those of the time point, where the first axis of the names is times.

    What names call an axis may be read as another one (``axes``).
    """
    if layout.read[0] != "T" or not places.axes:
        return places.files
    size = len(places.files) // places.lengths[0]
    return places.files[layout.time * size : (layout.time + 1) * size]


def _open_source(places: Places, expected: Header, touched: set[str]) -> Source:
    read_one = partial(_read, places.files, expected, touched)
    return cast(Source, Joined(places.lengths, read_one))


def _read(
    files: tuple[str, ...], expected: Header, touched: set[str], number: int, index: Index
) -> Any:
    touched.add(files[number])
    return read(files[number], expected, index)


def _identity(places: Places, files: tuple[str, ...]) -> Identity:
    """By the files and their order; names count, the folder does not."""
    states = states_of(files)
    folder = os.path.commonpath(files)
    order = [os.path.relpath(path, folder) for path in files]
    return Identity(("stack", places.axes, places.lengths, order), states, folder)


def _check_files(files: tuple[str, ...], expected: Header) -> None:
    for path in files:
        check_alike(header_of(path), expected)
