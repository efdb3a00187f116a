"""Imaris files (`.ims`), version 5.5 and later: HDF5 in Imaris' own layout.

1. A channel at a time point and a level is the dataset ``DataSet/ResolutionLevel r/TimePoint t/
   Channel c/Data`` with the axes Z, Y, X. Together they are one image T, C, Z, Y, X.
2. Arrays are filled up to whole chunks with zeros. The true lengths are attributes of the channel's
   group, ``ImageSizeX`` and so on; at level 0 also ``X``, ``Y``, ``Z`` of ``DataSetInfo/Image``. A
   coarser level without them cannot be read, for its end is not known.
3. The voxel size is the extent (``ExtMin0`` to ``ExtMax2``) over the lengths of level 0, in
   ``Unit`` (micrometres where there is none). The extent also says where the image is.
4. Text is kept as arrays of characters.
5. A file may hold further images, ``DataSet1`` with ``DataSetInfo1`` and so on (``series``).
6. An address may go on inside, down to ``DataSet/ResolutionLevel 1/TimePoint 0/Channel 2/Data``.
   The time point and channel that it names are the only ones; a level is one of the pyramid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from terapose.core.errors import InputError
from terapose.core.levels import factor_between
from terapose.core.selection import Selection
from terapose.io.images.axes import Layout, Shape
from terapose.io.images.hdf5_axes import text_of
from terapose.io.images.hdf5_files import Hdf5Files, Node, is_dataset, shape_of
from terapose.io.images.hdf5_source import identity_of, open_stack, stored_as
from terapose.io.images.model import Image, check_level, layout_of, named_level, names_of
from terapose.io.images.series import pick
from terapose.io.images.units import VoxelSize, micrometres, signed_micrometres, voxel_size_of

_IMAGE = re.compile(r"DataSet\d*")
_PARTS = ("ResolutionLevel", "TimePoint", "Channel")
_NO_NAME = ("", "(name not specified)")


@dataclass(frozen=True)
class Inside:
    """What an address names inside a file; None or empty where it does not.

    Attributes
    ----------
    image
        Name of the group of the image, "DataSet".
    level, time, channel
        Numbers from 0.
    """

    image: str = ""
    level: int | None = None
    time: int | None = None
    channel: int | None = None


@dataclass(frozen=True)
class _Level:
    """A level: its number in the file, true (Z, Y, X), and the dataset of the first channel."""

    number: int
    shape: Shape
    node: Node


def is_imaris(files: Hdf5Files) -> bool:
    """Whether the names in a file are those of Imaris."""
    return bool(_images(files))


def parse(inside: str) -> Inside | None:
    """What an address names in an Imaris file; None where that is no part of an image."""
    names = inside.split("/") if inside else []
    image = names.pop(0) if names and _IMAGE.fullmatch(names[0]) else ""
    numbers: list[int | None] = []
    for part in _PARTS:
        match = re.fullmatch(rf"{part} (\d+)", names[0]) if image and names else None
        numbers.append(int(match[1]) if match else None)
        if match is None:
            break
        names.pop(0)
    if len(numbers) == len(_PARTS) and numbers[-1] is not None and names == ["Data"]:
        names = []
    return None if names else Inside(image, *numbers)


def open_imaris(address: str, files: Hdf5Files, inside: Inside, chosen: Selection) -> Image:
    """Open an image of an Imaris file (see `open_image`).

    Parameters
    ----------
    address
        As the user gave it.
    files
        The open file.
    inside
        What the address names inside it.
    chosen
        What else was chosen.
    """
    names, number, image = _choose(address, files, inside, chosen.series)
    group = files.find(f"{image}/ResolutionLevel 0")
    times = _counted(group, "TimePoint", inside.time)
    channels = _counted(files.find(f"TimePoint {times[0]}", group), "Channel", inside.channel)
    info = f"DataSetInfo{image.removeprefix('DataSet')}"
    levels = _levels(address, files, image, info, times[0], channels[0])
    if inside.level is not None:
        files.find(f"{image}/ResolutionLevel {inside.level}")
        chosen = named_level(address, inside.level, chosen)
    check_level(address, chosen.level, len(levels))
    level = levels[chosen.level]
    lengths = [(len(times), len(channels), *one.shape) for one in levels]
    dtype = level.node.item.dtype.newbyteorder("=")
    finest = layout_of(address, "TCZYX", lengths[0], dtype, chosen)
    layout = finest.at(lengths[chosen.level])
    size, translation = _placed(files, info, levels[0].shape, level.shape)
    stem = f"{image}/ResolutionLevel {level.number}"
    paths = [f"{stem}/TimePoint {t}/Channel {c}/Data" for t in times for c in channels]
    chunks, is_lazy = stored_as(files, level.node, layout)
    labels = [_text(files, f"{info}/Channel {c}", "Name") for c in channels]
    return Image(
        address=address,
        format="imaris",
        layout=layout,
        channel_names=names_of(
            [None if label in _NO_NAME else label for label in labels], layout.length("C")
        ),
        dtype=dtype,
        voxel_size=size,
        translation=translation,
        selection=chosen,
        levels_shape=tuple(finest.at(one).shape for one in lengths),
        chunks=chunks,
        is_lazy=is_lazy,
        open_source=partial(
            open_stack, files.file, address, paths, (len(times), len(channels)), dtype
        ),
        find_identity=partial(identity_of, *_needed(address, files, layout, paths, level)),
        series=(names, number),
    )


def _needed(
    address: str, files: Hdf5Files, layout: Layout, paths: list[str], level: _Level
) -> tuple[list[str], list[str]]:
    """Paths of the datasets that the image needs, of one type and size, and all files."""
    channels = layout.lengths[1]
    first = layout.time * channels
    needed = paths[first : first + channels] if layout.read[0] == "T" else paths
    used = {files.file}
    model = level.node.item
    for path in needed:
        node = files.find(path)
        if (node.item.shape, node.item.dtype) != (model.shape, model.dtype):
            raise _damaged(address, f"{path} is not like the other channels")
        used |= files.sources(node)
    return needed, sorted(used)


def _images(files: Hdf5Files) -> list[str]:
    """Names of the groups that hold an image each, in their order."""
    root = files.find("").item
    found = [
        name
        for name in root
        if _IMAGE.fullmatch(name) and "ResolutionLevel 0" in _names(files.find(name))
    ]
    return sorted(found, key=lambda name: (len(name), name))


def _choose(
    address: str, files: Hdf5Files, inside: Inside, series: str
) -> tuple[tuple[str, ...], int, str]:
    """Names of the images to choose from, which of them is meant, and its name in the file."""
    if inside.image:
        files.find(inside.image)
    images = [inside.image] if inside.image else _images(files)
    infos = [f"DataSetInfo{image.removeprefix('DataSet')}/Image" for image in images]
    found = [_text(files, info, "Name") for info in infos]
    names = tuple(
        image if name in _NO_NAME else name for image, name in zip(images, found, strict=True)
    )
    if series in images:
        number = images.index(series)
    else:
        number = pick(address, names, series, what="the Imaris file")
    return names, number, images[number]


def _counted(group: Node, part: str, named: int | None) -> list[int]:
    """Numbers of the time points or channels in a group, or the one that is named."""
    if named is not None:
        return [named]
    found = [re.fullmatch(rf"{part} (\d+)", name) for name in _names(group)]
    return sorted(int(match[1]) for match in found if match) or [0]


def _levels(
    address: str, files: Hdf5Files, image: str, info: str, time: int, channel: int
) -> list[_Level]:
    """All levels whose true lengths are known, the finest first."""
    levels: list[_Level] = []
    while f"ResolutionLevel {len(levels)}" in _names(files.find(image)):
        number = len(levels)
        path = f"{image}/ResolutionLevel {number}/TimePoint {time}/Channel {channel}"
        node = files.find(f"{path}/Data")
        if not is_dataset(node.item) or node.item.ndim != 3:
            raise _damaged(address, f"{path}/Data is not a volume")
        texts = [_text(files, path, f"ImageSize{axis}") for axis in "ZYX"]
        if not all(texts) and number == 0:
            texts = [_text(files, f"{info}/Image", axis) for axis in "ZYX"]
        if not all(texts):
            if number:
                break
            texts = [str(n) for n in shape_of(node.item)]
        z, y, x = (
            _length(address, text, n) for text, n in zip(texts, node.item.shape, strict=True)
        )
        levels.append(_Level(number, (z, y, x), node))
    return levels


def _length(address: str, text: str, stored: int) -> int:
    if not text.isdecimal() or not 0 < int(text) <= stored:
        raise _damaged(address, f"a length of {text or 'nothing'} in an array of {stored}")
    return int(text)


def _placed(
    files: Hdf5Files, info: str, finest: Shape, shape: Shape
) -> tuple[VoxelSize | None, VoxelSize | None]:
    """Voxel size and place of a level, by rule 3: the extent begins at the first voxel's edge."""
    path = f"{info}/Image"
    unit = _text(files, path, "Unit") or "um"
    steps: dict[str, float | None] = {}
    starts: dict[str, float] = {}
    for number, (axis, fine, coarse) in enumerate(
        zip("XYZ", finest[::-1], shape[::-1], strict=True)
    ):
        try:
            low, high = (float(_text(files, path, f"Ext{end}{number}")) for end in ("Min", "Max"))
        except ValueError:
            return None, None
        step = (high - low) / fine * factor_between(fine, coarse)
        steps[axis], starts[axis] = micrometres(step, unit), signed_micrometres(low, unit)
    size = voxel_size_of(steps["Z"], steps["Y"], steps["X"], finest[0])
    if size is None:
        return None, None
    z, y, x = (starts[axis] + step / 2 for axis, step in zip("ZYX", size, strict=True))
    return size, (z, y, x)


def _names(node: Node) -> list[str]:
    return [] if is_dataset(node.item) else list(node.item)


def _text(files: Hdf5Files, path: str, name: str) -> str:
    """An attribute as text; empty where it is not there."""
    group = files.find("")
    for part in path.split("/"):
        if part not in _names(group):
            return ""
        group = files.find(part, group)
    value: Any = group.item.attrs.get(name)
    return "" if value is None else text_of(value).strip()


def _damaged(address: str, reason: str) -> InputError:
    return InputError(
        "the Imaris file is damaged or incomplete",
        where=address,
        got=reason,
        remedy="write or copy the file again",
    )
