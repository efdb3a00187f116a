"""OME-Zarr (0.1 to 0.5, Zarr v2 and v3) and plain Zarr arrays.

Axes of a plain array: its dimension names where it has them (Zarr v3, or xarray's attribute in
v2) and one of them says anything. Without names two axes are Y and X, and a third in front of them
is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

from terapose.core.errors import InputError
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import zarr_groups
from terapose.io.images import zarr_nodes as nodes
from terapose.io.images.axes import Layout, letter_of, named, unnamed
from terapose.io.images.model import (
    Image,
    Source,
    check_level,
    is_cut_in_planes,
    layout_of,
    named_level,
    names_of,
)
from terapose.io.images.series import pick
from terapose.io.images.units import VoxelSize, micrometres, signed_micrometres, voxel_size_of

_DAMAGED = nodes.DAMAGED
_MOST_NUMBERED = 1000
"""Images that a server is asked for, one by one."""
_NOBODYS = "a-name-that-no-image-has"


def open_zarr(address: str, documents: dict[str, bytes], chosen: Selection) -> Image:
    """Open a Zarr node whose metadata documents have been read (see `open_image`)."""
    parsed = {name: nodes.parse(address, name, content) for name, content in documents.items()}
    node = parsed.get("zarr.json", {})
    attributes = _object(address, nodes.attributes_in(parsed))
    if ".zarray" in parsed or node.get("node_type") == "array":
        found = zarr_groups.image_of(address)
        if found is None:
            return _open_plain(address, documents, attributes, chosen)
        return _open_multiscale(address, found, named_level(address, found.named, chosen))
    metadata = _object(address, attributes.get("ome", attributes))
    if "bioformats2raw.layout" in metadata and "plate" not in metadata:
        return _open_series(address, metadata, chosen)
    zarr_groups.refuse_collections(address, metadata)
    group = zarr_groups.Group(address, documents, metadata, metadata["multiscales"][0])
    return _open_multiscale(address, group, chosen)


def _open_source(address: str, touched: set[str] | None) -> Source:
    return cast(Source, nodes.open_array(address, touched))


def _open_series(address: str, metadata: dict[str, Any], chosen: Selection) -> Image:
    """Open one image of a group as bioformats2raw writes it: the only one, or the one chosen."""
    with _understood(address, "series"):
        names = [str(name) for name in metadata.get("series") or ()]
    names = names or _numbered(address)
    number = pick(
        address,
        names,
        chosen.series,
        what="the group",
        remedy=f"give series, or name one of them, for example {addresses.join(address, '0')}",
    )
    inner = zarr_groups.inside(address, names[number])
    image = open_zarr(inner, nodes.documents(inner), replace(chosen, series=""))
    return replace(image, address=address, selection=chosen, series=(tuple(names), number))


def _numbered(address: str) -> list[str]:
    """Groups 0, 1, 2 and so on, where nothing lists the images.

    There are servers that answer to any name, with a page or with the same document.
    """
    names: list[str] = []
    is_endless = addresses.is_url(address) and bool(
        nodes.documents(addresses.join(address, _NOBODYS))
    )
    while not is_endless and nodes.documents(addresses.join(address, str(len(names)))):
        names.append(str(len(names)))
        is_endless = addresses.is_url(address) and len(names) > _MOST_NUMBERED
    if is_endless:
        raise InputError(
            "the group does not list its images, and the server answers to any name",
            where=address,
            remedy=f"name one of them, for example {addresses.join(address, '0')}",
        )
    return names


def _open_multiscale(address: str, group: zarr_groups.Group, chosen: Selection) -> Image:
    multiscale, level = group.multiscale, chosen.level
    with _understood(address, "multiscales"):
        axes, units = _axes(multiscale)
        paths = [str(dataset["path"]) for dataset in multiscale["datasets"]]
    if not paths:
        raise InputError("the multiscales metadata names no array", where=address, remedy=_DAMAGED)
    check_level(address, level, len(paths))
    arrays = [nodes.open_array(zarr_groups.inside(group.address, path)) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.ndim != len(axes):
            raise InputError(
                f"the array {path} does not have the axes that the metadata gives",
                where=address,
                got=f"shape {array.shape}",
                allowed=f"axes {axes}",
                remedy=_DAMAGED,
            )
    finest = layout_of(address, axes, arrays[0].shape, arrays[0].dtype, chosen)
    shapes = tuple(finest.at(array.shape).shape for array in arrays)
    version = group.metadata.get("version") or multiscale.get("version") or "0.4"
    place = addresses.join(group.address, paths[level])
    read = _reading(place, arrays[level], finest, nodes.files_of(group.address, group.documents))
    planes = shapes[level][0]
    with _understood(address, "multiscales"):
        voxel_size, translation = _placement(multiscale, finest.read, units, level, planes)
    with _understood(address, "omero"):
        names = _channel_names(group.metadata)
    return Image(
        address=address,
        format=f"ome-zarr-{version}",
        channel_names=names_of(names, read["layout"].length("C")),
        voxel_size=voxel_size,
        translation=translation,
        selection=chosen,
        levels_shape=shapes,
        find_identity=partial(nodes.identity, group.address, group.documents, paths[level]),
        **read,
    )


def _object(address: str, attributes: Any) -> dict[str, Any]:
    if not isinstance(attributes, dict):
        raise InputError(
            "its attributes are not a JSON object",
            where=address,
            got=repr(attributes),
            remedy=_DAMAGED,
        )
    return attributes


@contextmanager
def _understood(address: str, what: str) -> Iterator[None]:
    """Refuse metadata that is of another form than OME-Zarr has."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the {what} metadata cannot be understood",
            where=address,
            got=f"{type(error).__name__}: {error}",
            remedy=_DAMAGED,
        ) from error


def _open_plain(
    address: str, documents: dict[str, bytes], attributes: dict[str, Any], chosen: Selection
) -> Image:
    array = nodes.open_array(address)
    check_level(address, chosen.level, 1)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    with _understood(address, "dimension names"):
        words = [str(name or "") for name in names or ()]
    axes = unnamed(array.ndim) if chosen.axes else named(words, array.ndim)
    if len(axes) != array.ndim:
        raise InputError(
            "the names of axes do not fit the array",
            where=address,
            got=f"{', '.join(words)} for an array of {array.ndim} axes",
            remedy="give the axes with the parameter axes, for example ZYX",
        )
    layout = layout_of(address, axes, array.shape, array.dtype, chosen)
    read = _reading(address, array, layout, nodes.files_of(address, documents))
    return Image(
        address=address,
        format="zarr",
        channel_names=names_of((), read["layout"].length("C")),
        voxel_size=None,
        selection=chosen,
        levels_shape=(read["layout"].shape,),
        find_identity=partial(nodes.identity, address, documents, ""),
        **read,
    )


def _reading(address: str, array: Any, layout: Layout, touched: set[str] | None) -> dict[str, Any]:
    """How the voxels of an array are read: fields of `Image`."""
    layout = layout.at(array.shape)
    chunks = layout.spatial(array.chunks)
    return {
        "layout": layout,
        "dtype": array.dtype.newbyteorder("="),
        "chunks": chunks,
        "is_lazy": not is_cut_in_planes(chunks, layout.shape, array.dtype),
        "open_source": partial(_open_source, address, touched),
        "touched": touched,
    }


def _axes(multiscale: dict[str, Any]) -> tuple[str, list[str | None]]:
    """Axes and their units; version 0.3 has plain names, 0.1 and 0.2 have always TCZYX."""
    entries = multiscale.get("axes") or list("tczyx")
    named = [entry if isinstance(entry, dict) else {"name": entry} for entry in entries]
    axes = "".join(_letter(entry) for entry in named)
    return axes, [entry.get("unit") for entry in named]


def _letter(axis: dict[str, Any]) -> str:
    kinds = {"time": "T", "channel": "C"}
    return kinds.get(axis.get("type") or "") or letter_of(str(axis["name"]))


def _placement(
    multiscale: dict[str, Any], axes: str, units: list[str | None], level: int, planes: int
) -> tuple[VoxelSize | None, VoxelSize | None]:
    """Voxel size and translation of a level: the dataset's transformations, then the multiscale's.

    Without units, scales other than 1 at the finest level are taken for micrometres, as nearly
    all writers mean them; scales of 1 without units say nothing, nor does an image without any
    scale. Translations are in micrometres, or where the voxel size is not known in voxels of level
    0.
    """
    shared = _transformation(multiscale, len(axes))
    finest = _transformation(multiscale["datasets"][0], len(axes))
    own = _transformation(multiscale["datasets"][level], len(axes))
    if shared is None or finest is None or own is None:
        return None, None
    space = {axis: index for index, axis in enumerate(axes) if axis in "ZYX"}
    step = {a: finest[0][i] * shared[0][i] for a, i in space.items()}
    place = {a: own[1][i] * shared[0][i] + shared[1][i] for a, i in space.items()}
    size = None
    if not any(map(_has_scale, (multiscale, multiscale["datasets"][level]))):
        units = [None] * len(axes)
    elif not any(units[i] for i in space.values()):
        units = [None if set(step.values()) == {1.0} else "micrometer"] * len(axes)
    if any(units[i] for i in space.values()):
        lengths = {a: micrometres(own[0][i] * shared[0][i], units[i]) for a, i in space.items()}
        size = voxel_size_of(lengths.get("Z"), lengths.get("Y"), lengths.get("X"), planes)
    if size is None:
        shifts = {a: place[a] / step[a] if step[a] else 0.0 for a in space}
    else:
        shifts = {a: signed_micrometres(place[a], units[i]) for a, i in space.items()}
    return size, (shifts.get("Z", 0.0), shifts.get("Y", 0.0), shifts.get("X", 0.0))


def _transformation(
    holder: dict[str, Any], dimensions: int
) -> tuple[list[float], list[float]] | None:
    """Scale and translation that a level's transformations, one after another, come to.

    None where they are kept in a file or malformed, or are not of these kinds (rotations, say, or
    sequences), or a number is none.
    """
    scale, translation = [1.0] * dimensions, [0.0] * dimensions
    for one in holder.get("coordinateTransformations") or []:
        kind = one.get("type")
        if kind == "identity":
            continue
        if kind not in ("scale", "translation"):
            return None
        values = one.get(kind)
        if not isinstance(values, list) or len(values) != dimensions:
            return None
        numbers = [float(value) for value in values]
        if kind == "scale":
            scale = [a * b for a, b in zip(scale, numbers, strict=True)]
            translation = [a * b for a, b in zip(translation, numbers, strict=True)]
        else:
            translation = [a + b for a, b in zip(translation, numbers, strict=True)]
    return (scale, translation) if all(map(math.isfinite, scale + translation)) else None


def _has_scale(holder: dict[str, Any]) -> bool:
    transformations = holder.get("coordinateTransformations") or []
    return any(one.get("type") == "scale" for one in transformations)


def _channel_names(metadata: dict[str, Any]) -> list[str | None]:
    channels = (metadata.get("omero") or {}).get("channels") or []
    labels = [channel.get("label") for channel in channels]
    return [None if label is None else str(label) for label in labels]
