"""N5 on a local disk: datasets by name, and the layouts that keep one image in many of them.

A folder is one image if it is

1. a dataset: its `attributes.json` has ``dimensions``;
2. a pyramid: datasets `s0`, `s1` and so on (N5 Viewer, OpenOrganelle, Paintera);
3. channels: folders `c0`, `c1` and so on that are 1 or 2 (N5 Viewer, Fiji);
4. time points: folders `timepoint0` and so on that are 1 or 2 (a setup of BigDataViewer and
   BigStitcher).

Of any other folder the images are those below it; ``series`` says which, if there are several. A
level that is named itself (`volume.n5/c0/s1`) is opened as that level of the pyramid.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from terapose.core.errors import InputError, pass_on
from terapose.core.levels import factor_between
from terapose.core.natural import natural_key
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import bdv_xml
from terapose.io.images.axes import Layout, Shape
from terapose.io.images.identity import Identity, State, folder_states
from terapose.io.images.joined import Index, Joined
from terapose.io.images.model import (
    Image,
    Source,
    check_level,
    is_cut_in_planes,
    layout_of,
    named_level,
    names_of,
)
from terapose.io.images.n5_attributes import (
    Calibration,
    axes_of,
    calibration_of,
    factors_of,
    read_attributes,
)
from terapose.io.images.n5_blocks import Dataset, dataset_of
from terapose.io.images.n5_checks import check_alike, check_counted, check_levels
from terapose.io.images.series import pick
from terapose.io.images.units import VoxelSize, voxel_size_of

_ROOT = "n5"
_DEEP = 6
_OUTER = {"c": "C", "timepoint": "T"}
_LEVEL = re.compile(r"s(\d+)")


@dataclass(frozen=True)
class Found:
    """An image of a container.

    Attributes
    ----------
    path
        Its folder.
    outer
        "C" or "T" where its members are channels or time points; else empty.
    members
        Folders of these, or its own.
    levels
        Names of the datasets of each level in a member; empty text: the member is one itself.
    """

    path: str
    outer: str
    members: tuple[str, ...]
    levels: tuple[str, ...]

    def datasets(self, level: int) -> list[str]:
        """Folders of the datasets of a level."""
        return [f"{member}/{self.levels[level]}".rstrip("/") for member in self.members]


def container_of(address: str) -> str | None:
    """The root of the container that a folder is or is in; None where there is none.

    Raises
    ------
    InputError
        If it is on a server.
    """
    if addresses.is_url(address):
        if re.search(r"(?i)\.n5(/|$)", address):
            raise addresses.local_only("N5", address, "the container")
        return None
    if not os.path.isdir(address):
        return None
    folder = os.path.abspath(address)
    while True:
        if folder.lower().endswith(".n5") or _is_root(folder):
            return folder
        if os.path.dirname(folder) == folder:
            break
        folder = os.path.dirname(folder)
    inside = (address, f"{address}/s0")
    return address if any("dimensions" in read_attributes(one) for one in inside) else None


def _is_root(folder: str) -> bool:
    try:
        return _ROOT in read_attributes(folder)
    except InputError:  # of something else that lies above
        return False


def open_bdv_xml(address: str, chosen: Selection) -> Image:
    """Open the image whose BigDataViewer XML the user gave (see `open_image`)."""
    xml_name = os.path.realpath(address)
    target = bdv_xml.pixels_of(xml_name)[1]
    container = os.path.realpath(os.path.join(os.path.dirname(xml_name), target))
    if not container.startswith(os.path.dirname(xml_name) + os.sep) or not os.path.isdir(container):
        raise InputError(
            "the N5 container that the XML names is not in its folder",
            where=address,
            got=target,
            remedy="copy it there, or name the container itself",
        )
    return open_n5(container, container, chosen, xml_name=xml_name, address=address)


def open_n5(
    place: str, container: str, chosen: Selection, *, xml_name: str = "", address: str = ""
) -> Image:
    """Open an image of a container.

    Parameters
    ----------
    place
        A folder.
    container
        The root that it is or is in.
    chosen
        What was chosen of it.
    xml_name
        BigDataViewer's XML for it; by default that of the container's name.
    address
        What the user gave; by default ``place``.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    address = address or place
    try:
        return _open(place, container, chosen, xml_name, address)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever damaged attributes lead to
        pass_on(error)
        raise InputError(
            "the attributes of the N5 container are damaged",
            where=address,
            got=f"{type(error).__name__}: {error}",
            remedy="write or copy it again",
        ) from error


def _open(place: str, container: str, chosen: Selection, xml_name: str, address: str) -> Image:
    place, level = _named(os.path.abspath(place), address, chosen)
    chosen = replace(chosen, level=level)
    names, number, found = _choose(address, place, chosen.series)
    check_level(address, level, len(found.levels))
    datasets = [_dataset(path) for path in found.datasets(level)]
    check_alike(address, datasets)
    front = (len(datasets),) if found.outer else ()
    finest, shapes = _layout(address, container, found, chosen)
    layout = finest.at(front + datasets[0].shape)
    setup = _setup(xml_name or bdv_xml.beside(container), found)
    size, translation, note = _placement(container, found, level, layout, shapes, setup)
    chunks = layout.spatial((1,) * len(front) + datasets[0].blocks)
    used = datasets if found.outer != "T" else datasets[layout.time : layout.time + 1]
    touched = {f"{one.path}/attributes.json" for one in used}
    datasets = [replace(one, touched=touched) for one in datasets]
    return Image(
        address=address,
        format="n5",
        layout=replace(layout, note="; ".join(filter(None, (layout.note, note)))),
        channel_names=names_of([setup.channel if setup else None], layout.length("C")),
        dtype=datasets[0].dtype,
        voxel_size=size,
        translation=translation,
        selection=chosen,
        levels_shape=shapes,
        chunks=chunks,
        is_lazy=not is_cut_in_planes(chunks, layout.shape, datasets[0].dtype),
        open_source=partial(_open_source, tuple(datasets), front),
        find_identity=partial(_identity, container, tuple(one.path for one in used), setup),
        series=(names, number),
        touched=touched,
    )


def _layout(
    address: str, container: str, found: Found, chosen: Selection
) -> tuple[Layout, tuple[Shape, ...]]:
    """Axes of the finest level, and the shapes of all."""
    pyramid = [_dataset(found.datasets(n)[0]) for n in range(len(found.levels))]
    front = (len(found.members),) if found.outer else ()
    own = read_attributes(pyramid[0].path)
    inherited = _inherited(container, pyramid[0].path)
    axes = found.outer + axes_of(own, inherited, pyramid[0].shape)
    check_levels(address, pyramid)
    finest = layout_of(address, axes, front + pyramid[0].shape, pyramid[0].dtype, chosen)
    return finest, tuple(finest.at(front + one.shape).shape for one in pyramid)


def _setup(xml_name: str, found: Found) -> bdv_xml.Setup | None:
    """What BigDataViewer's XML says of an image that is a setup."""
    number = re.search(r"/setup(\d+)(?:/|$)", found.path)
    if not xml_name or number is None:
        return None
    return bdv_xml.setups_in(xml_name).get(int(number[1]))


def _open_source(datasets: tuple[Dataset, ...], front: tuple[int, ...]) -> Source:
    return cast(Source, Joined(front, partial(_read, datasets)))


def _read(datasets: tuple[Dataset, ...], number: int, index: Index) -> Any:
    return datasets[number][index]


def _identity(container: str, paths: tuple[str, ...], setup: bdv_xml.Setup | None) -> Identity:
    """By the metadata and the blocks of all datasets, wherever the container is.

    Voxel sizes may be in the groups above a dataset, and in BigDataViewer's XML.
    """
    files: dict[str, State] = {}
    parts = []
    for path in paths:
        states, _ = folder_states(path)
        files |= states
        parts += [
            os.path.relpath(path, container),
            sorted(read_attributes(path).items()),
            sorted(_inherited(container, path).items()),
        ]
    return Identity(("n5", *parts, setup), files, container)


def _named(place: str, address: str, chosen: Selection) -> tuple[str, int]:
    """The pyramid of a level that the address names, and its number; else the place itself."""
    folder, name = os.path.split(place)
    found = _LEVEL.fullmatch(name)
    levels = _levels(folder) if found else None
    if not found or not levels or name not in levels:
        return place, chosen.level
    return folder, named_level(address, levels.index(name), chosen).level


def _choose(address: str, place: str, series: str) -> tuple[tuple[str, ...], int, Found]:
    """Names of all images, which of them is meant, and where it is."""
    found = _images(place, _DEEP)
    names = tuple(os.path.relpath(one.path, place) for one in found)
    if not found:
        raise InputError(
            "the N5 container holds no dataset here",
            where=address,
            remedy="name a folder with datasets in it",
        )
    if names == (".",):
        names = (os.path.basename(place),)
    number = pick(
        address,
        names,
        series.strip("/"),
        what="the N5 container",
        remedy=f"give series, or name one of them, as in {address}/{names[0]}",
    )
    return names, number, found[number]


def _images(place: str, deep: int) -> list[Found]:
    """All images in a folder, in natural order."""
    found = _image(place)
    if found is not None:
        return [found]
    folders = _folders(place) if deep else []
    return [one for name in folders for one in _images(f"{place}/{name}", deep - 1)]


def _image(place: str) -> Found | None:
    """A folder as an image; None where it is none."""
    levels = _levels(place)
    if levels:
        return Found(place, "", (place,), levels)
    for prefix, axis in _OUTER.items():
        members = [name for name in _folders(place) if re.fullmatch(rf"{prefix}\d+", name)]
        paths = tuple(f"{place}/{name}" for name in members)
        levels = _levels(paths[0]) if paths else None
        if levels and axis == "C" and len(paths) > 1:
            check_counted(place, prefix, members)
        if levels and (axis == "T" or len(paths) > 1):
            return Found(place, axis, paths, levels)
    return None


def _levels(place: str) -> tuple[str, ...] | None:
    """Names of the levels of a pyramid in order; of a dataset an empty one."""
    if "dimensions" in read_attributes(place):
        return ("",)
    names = [name for name in _folders(place) if _LEVEL.fullmatch(name)]
    levels = [name for name in names if "dimensions" in read_attributes(f"{place}/{name}")]
    return tuple(levels) if levels else None


def _folders(place: str) -> list[str]:
    """Names of the folders in a folder, numbers in their order."""
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(names, key=natural_key)


def _dataset(path: str) -> Dataset:
    return dataset_of(path, read_attributes(path))


def _inherited(container: str, path: str) -> dict[str, Any]:
    """Attributes of the groups above a dataset, the nearest first to count."""
    attributes: dict[str, Any] = {}
    while len(path) > len(container):
        path = os.path.dirname(path)
        attributes = {**read_attributes(path), **attributes}
    return attributes


def _is_of_level(container: str, found: Found, calibration: Calibration, axes: str) -> bool:
    """Whether a coarser level says its own sizes: others than the finest, which some repeat."""
    path = found.datasets(0)[0]
    finest = calibration_of(read_attributes(path), _inherited(container, path), axes)
    return bool(finest.sizes) and calibration.sizes != finest.sizes


def _placement(
    container: str,
    found: Found,
    level: int,
    layout: Layout,
    shapes: tuple[Shape, ...],
    setup: bdv_xml.Setup | None,
) -> tuple[VoxelSize | None, VoxelSize | None, str]:
    """Voxel size and translation of a level, and what was taken for granted."""
    path = found.datasets(level)[0]
    own, inherited = read_attributes(path), _inherited(container, path)
    axes = layout.read[1:] if found.outer else layout.read
    calibration = calibration_of(own, inherited, axes)
    is_own = calibration.is_own or (level and _is_of_level(container, found, calibration, axes))
    if setup is not None and setup.voxel_size is not None:
        calibration = Calibration(dict(zip("ZYX", setup.voxel_size, strict=True)))
        is_own = False
    factors: dict[str, float] = {}
    if not is_own:
        factors = {
            axis: factor_between(fine, coarse)
            for axis, fine, coarse in zip("ZYX", shapes[0], layout.shape, strict=True)
        }
        factors |= factors_of(own, inherited, int(found.levels[level][1:] or 0), axes)
    sizes = {
        axis: None if size is None else size * factors.get(axis, 1.0)
        for axis, size in calibration.sizes.items()
    }
    size = voxel_size_of(sizes.get("Z"), sizes.get("Y"), sizes.get("X"), layout.shape[0])
    if size is None:
        return None, None, ""
    place = calibration.translation
    shift = (place.get("Z", 0.0), place.get("Y", 0.0), place.get("X", 0.0)) if place else None
    return size, shift, calibration.note
