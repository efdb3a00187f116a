"""HDF5 files of BigDataViewer and BigStitcher.

1. A view is a dataset ``t00000/s00/0/cells`` with the axes Z, Y, X: time point, setup, level. The
   setup is a channel, tile, angle or illumination, or a combination of them. Each setup is a
   separate image (``series``), because setups may have other sizes and places; times are chosen by
   ``time``, levels by ``level``. They are counted in the file's order, times from 1.
2. ``s00/resolutions`` has for each level how many voxels of the finest level one voxel of it
   covers, in X, Y, Z. The level of a factor f begins (f - 1) / 2 voxels further in: the middle of
   those that its first voxel covers.
3. BigDataViewer wrote unsigned numbers of 16 bits as signed ones for years. Since it knows other
   types, a setup has the attribute ``dataType``. Without it signed numbers of 16 bits are unsigned;
   with it they are what it says.
4. Voxel sizes and names are in the XML beside the file (`terapose.io.images.bdv_xml`).
5. An address may go on inside: ``t00001``, ``t00001/s00``, ``s00``, ``t00001/s00/1/cells``. The
   time point and setup that it names are the only ones; a level is one of the pyramid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from terapose.core.errors import InputError
from terapose.core.levels import factor_between
from terapose.core.selection import Selection
from terapose.io.images import bdv_xml
from terapose.io.images.axes import Layout
from terapose.io.images.bdv_xml import Setup
from terapose.io.images.hdf5_axes import text_of
from terapose.io.images.hdf5_files import Hdf5Files, Node, is_dataset, shape_of
from terapose.io.images.hdf5_source import identity_of, open_stack, stored_as
from terapose.io.images.model import Image, check_level, layout_of, named_level, names_of
from terapose.io.images.series import listed, pick
from terapose.io.images.units import VoxelSize

_TIME = re.compile(r"t\d{5,}")
_SETUP = re.compile(r"s\d{2,}")
_NOTES = ("resolutions", "subdivisions")


@dataclass(frozen=True)
class Inside:
    """What an address names inside a file: time point, setup and level; empty where it does not."""

    time: str = ""
    setup: str = ""
    level: str = ""


@dataclass(frozen=True)
class _Level:
    """A level of a view: its dataset, and how many voxels of the finest its own cover."""

    node: Node
    factors: VoxelSize


def is_bdv(files: Hdf5Files) -> bool:
    """Whether the names in a file are those of BigDataViewer."""
    return bool(_times(files)) and bool(_setups(files))


def parse(inside: str) -> Inside | None:
    """What an address names in a file of BigDataViewer; None where that is no view."""
    names = inside.split("/") if inside else []
    time = names.pop(0) if names and _TIME.fullmatch(names[0]) else ""
    setup = names.pop(0) if names and _SETUP.fullmatch(names[0]) else ""
    level = names.pop(0) if time and setup and names and names[0].isdecimal() else ""
    if level and names == ["cells"]:
        names = []
    return None if names else Inside(time, setup, level)


def refuse_notes(address: str, inside: str) -> None:
    """Refuse what BigDataViewer notes about levels: it looks like a small image.

    Raises
    ------
    InputError
        If the address names it.
    """
    if inside.rsplit("/", 1)[-1] in _NOTES:
        raise InputError(
            "this is BigDataViewer's list of levels, not an image",
            where=address,
            got=inside,
            remedy="name a view, such as t00000/s00/0/cells, or the file alone, with series, time "
            "and level",
        )


def open_bdv(
    address: str, files: Hdf5Files, inside: Inside, chosen: Selection, xml_name: str = ""
) -> Image:
    """Open a view of a BigDataViewer file (see `open_image`).

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
    xml_name
        Its XML; by default that of the same name.
    """
    xml_name = xml_name or bdv_xml.beside(files.file)
    said = bdv_xml.setups_in(xml_name) if xml_name else {}
    names, number, setup = _choose(address, files, inside, chosen.series, said)
    times = [inside.time] if inside.time else _times(files)
    levels = _levels(address, files, times, setup, chosen.time)
    if inside.level:
        files.find(f"{times[0]}/{setup}/{inside.level}/cells")
        chosen = named_level(address, list(levels).index(inside.level), chosen)
    check_level(address, chosen.level, len(levels))
    name, level = list(levels.items())[chosen.level]
    dtype = _type(files, setup, level.node.item.dtype)
    lengths = [(len(times), *shape_of(one.node.item)) for one in levels.values()]
    finest = layout_of(address, "TZYX", lengths[0], dtype, chosen)
    layout = finest.at(lengths[chosen.level])
    about = said.get(_number(setup))
    size, translation = _placed(about, level)
    paths = [f"{time}/{setup}/{name}/cells" for time in times]
    chunks, is_lazy = stored_as(files, level.node, layout)
    return Image(
        address=address,
        format="bdv-hdf5",
        layout=layout,
        channel_names=names_of([about.channel if about else None], layout.length("C")),
        dtype=dtype,
        voxel_size=size,
        translation=translation,
        selection=chosen,
        levels_shape=tuple(finest.at(one).shape for one in lengths),
        chunks=chunks,
        is_lazy=is_lazy,
        open_source=partial(open_stack, files.file, address, paths, (len(times),), dtype),
        find_identity=partial(identity_of, *_read(files, layout, paths, xml_name)),
        series=(names, number),
    )


def _read(
    files: Hdf5Files, layout: Layout, paths: list[str], xml_name: str
) -> tuple[list[str], list[str]]:
    """Paths of the datasets that the image needs, and all files: one time point, or all."""
    needed = [paths[layout.time]] if layout.read[0] == "T" else paths
    used = {files.file, *([xml_name] if xml_name else [])}
    for path in needed:
        used |= files.sources(files.find(path))
    return needed, sorted(used)


def _times(files: Hdf5Files) -> list[str]:
    names = [name for name in files.find("").item if _TIME.fullmatch(name)]
    return sorted(names, key=_number)


def _setups(files: Hdf5Files) -> list[str]:
    """Setups that the file notes; those of the first time point where it notes none."""
    names = [name for name in files.find("").item if _SETUP.fullmatch(name)]
    times = _times(files)
    if not names and times:
        names = [name for name in files.find(times[0]).item if _SETUP.fullmatch(name)]
    return sorted(names, key=_number)


def _number(name: str) -> int:
    return int(name[1:])


def _choose(
    address: str, files: Hdf5Files, inside: Inside, series: str, said: Mapping[int, Setup]
) -> tuple[tuple[str, ...], int, str]:
    """Names of the setups to choose from, which of them is meant, and its name in the file."""
    setups = [inside.setup] if inside.setup else _setups(files)
    names = tuple(
        said[_number(setup)].name or setup if _number(setup) in said else setup for setup in setups
    )
    if series in setups:
        number = setups.index(series)
    else:
        number = pick(
            address,
            names,
            series,
            what="the BigDataViewer file",
            got=listed([_shown(setup, said.get(_number(setup))) for setup in setups]),
        )
    return names, number, setups[number]


def _shown(setup: str, about: Setup | None) -> str:
    return setup if about is None else f"{setup} {about.name}: {about.attributes}".rstrip(": ")


def _levels(
    address: str, files: Hdf5Files, times: list[str], setup: str, wanted: int | None
) -> dict[str, _Level]:
    """All levels of a setup by name, at the time point that is meant or the first that has it."""
    present = [time for time in times if setup in files.find(time).item]
    is_known = wanted is not None and 1 <= wanted <= len(times)
    time = times[wanted - 1] if is_known and wanted else next(iter(present), times[0])
    if not present:
        files.find(f"{time}/{setup}")
    if time not in present:
        raise InputError(
            "the setup has no image at this time point",
            where=address,
            got=f"{time}/{setup}",
            allowed=", ".join(str(times.index(one) + 1) for one in present) or None,
            remedy="choose another time point or setup",
        )
    group = files.find(f"{time}/{setup}")
    numbers = sorted(int(name) for name in group.item if name.isdecimal())
    nodes = {str(n): files.find(f"{n}/cells", group) for n in numbers}
    for name, node in nodes.items():
        if not is_dataset(node.item) or node.item.ndim != 3:
            raise InputError(
                "a level of the BigDataViewer file is not a volume",
                where=address,
                got=f"{time}/{setup}/{name}/cells",
                remedy="write the file again",
            )
    return {name: _Level(nodes[name], f) for name, f in _factors(files, setup, nodes).items()}


def _factors(files: Hdf5Files, setup: str, nodes: dict[str, Node]) -> dict[str, VoxelSize]:
    """(z, y, x) of each level as the file notes them, else as the lengths of the arrays say."""
    shapes = {name: shape_of(node.item) for name, node in nodes.items()}
    finest = next(iter(shapes.values()), ())
    noted: Any = np.zeros((0, 3))
    if setup in files.find("").item and "resolutions" in files.find(setup).item:
        noted = np.asarray(files.find(f"{setup}/resolutions").item)
    found: dict[str, VoxelSize] = {}
    for name, shape in shapes.items():
        if noted.ndim == 2 and noted.shape[1] == 3 and int(name) < len(noted):
            x, y, z = (float(f) for f in noted[int(name)])
        else:
            z, y, x = (factor_between(a, b) for a, b in zip(finest, shape, strict=True))
        found[name] = (z, y, x)
    return found


def _type(files: Hdf5Files, setup: str, stored: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the voxels, by rule 3."""
    attributes = files.find(setup).item.attrs if setup in files.find("").item else {}
    said = text_of(attributes["dataType"]) if "dataType" in attributes else "uint16"
    unsigned = {"int8": "uint8", "int16": "uint16", "int32": "uint32", "int64": "uint64"}
    native = stored.newbyteorder("=")
    return np.dtype(said) if unsigned.get(native.name) == said else native


def _placed(about: Setup | None, level: _Level) -> tuple[VoxelSize | None, VoxelSize | None]:
    """Voxel size and translation of a level, by rule 2; no translation for the finest."""
    finest = about.voxel_size if about else None
    z, y, x = level.factors
    size = None if finest is None else (finest[0] * z, finest[1] * y, finest[2] * x)
    if level.factors == (1.0, 1.0, 1.0):
        return size, None
    # without a voxel size, voxels of the finest level are counted
    steps = finest or (1.0, 1.0, 1.0)
    a, b, c = (s * (f - 1) / 2 for s, f in zip(steps, level.factors, strict=True))
    return size, (a, b, c)
