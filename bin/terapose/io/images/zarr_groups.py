"""Groups of OME-Zarr: the image that an array is a level of, and collections of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from terapose.core.errors import InputError, few
from terapose.io.images import address as addresses
from terapose.io.images import zarr_nodes as nodes

_SHOWN = 12
_DEEP = 3


class Group(NamedTuple):
    """A group that holds an image.

    Attributes
    ----------
    address
        Of the group.
    documents, metadata
        Its documents, and what OME-Zarr says in them.
    multiscale
        The image: one of the ``multiscales``.
    named
        The level that an address named.
    """

    address: str
    documents: dict[str, bytes]
    metadata: dict[str, Any]
    multiscale: dict[str, Any]
    named: int = 0


def image_of(address: str) -> Group | None:
    """The group of which an array is a level; None for an array by itself."""
    for group, path in _above(address):
        try:
            metadata = nodes.metadata(group)
        except InputError:  # servers may refuse what lies above the image
            return None
        for multiscale in _dicts(metadata.get("multiscales")):
            paths = [path.strip("/") for path in _paths(multiscale, "datasets")]
            if path in paths:
                return Group(group, nodes.documents(group), metadata, multiscale, paths.index(path))
    return None


def _above(address: str) -> Iterator[tuple[str, str]]:
    """The groups above a node, nearest first, and the path of the node in each."""
    address = address.rstrip("/")
    group = address if addresses.is_url(address) else os.path.abspath(address)
    path = ""
    for _ in range(_DEEP):
        group, _, name = group.rpartition("/")
        path = f"{name}/{path}".rstrip("/")
        if not group or group.endswith("/"):  # of a URL only the scheme is left
            return
        yield group, path


def inside(address: str, path: str) -> str:
    """Address of a node that the metadata of a group names.

    Raises
    ------
    InputError
        If the name, or a link that it leads to, leaves the folder of the group or is that folder.
    """
    if "\0" in path or not set(path.split("/")) - {"", "."}:
        raise _outside(address, path)
    found = addresses.join(address, path)
    leaves = ".." in path.replace("\\", "/").split("/") or "://" in path or path.startswith("/")
    if not leaves and not addresses.is_url(address) and os.path.isdir(address):
        folder = os.path.realpath(address)
        place = os.path.realpath(found)
        leaves = os.path.commonpath([place, folder]) != folder or place == folder
    if leaves:
        raise _outside(address, path)
    return found


def _outside(address: str, path: str) -> InputError:
    return InputError(
        "the metadata lead to an array outside the image's own folder, which is not followed",
        where=address,
        got=path or "no name",
        allowed="paths in the folder or below it",
        remedy="put the array there, or give its own address",
    )


def refuse_collections(address: str, metadata: dict[str, Any]) -> None:
    """Raise InputError for a group that is no single image, and say what can be named in it."""
    kind = next((kind for kind in ("plate", "well", "labels") if kind in metadata), None)
    if kind and not metadata.get("multiscales"):
        names, said = _members(address, kind, metadata)
        raise InputError(
            f"this is a {kind} group, a collection of images",
            where=address,
            got=said or None,
            remedy=f"name one image inside it, as in {addresses.join(address, names[0])}",
        )
    if len(_dicts(metadata.get("multiscales"))) != 1:
        found = _dicts(metadata.get("multiscales"))
        several = ", ".join(str(one.get("name")) for one in found)
        paths = [path for one in found for path in _paths(one, "datasets")[:1]]
        raise InputError(
            "the group holds several multiscale images"
            if found
            else "this Zarr group has no image metadata (multiscales)",
            where=address,
            got=several or None,
            remedy=f"name one array inside it, as in {addresses.join(address, [*paths, '0'][0])}",
        )


def _members(address: str, kind: str, metadata: dict[str, Any]) -> tuple[list[str], str]:
    """Paths of images in a collection, and how to say what there is."""
    if kind == "labels":
        found = metadata["labels"]
        names = [str(name) for name in found] if isinstance(found, list) else []
        return names or ["cells"], few(names, _SHOWN)
    if kind == "well":
        fields = _paths(metadata["well"], "images")
        return fields or ["0"], f"fields {few(fields, _SHOWN)}" if fields else ""
    wells = _paths(metadata["plate"], "wells")
    if not wells:
        return ["A/1/0"], ""
    well = nodes.metadata(inside(address, wells[0])).get("well")
    fields = _paths(well, "images")
    said = f"wells {few(wells, _SHOWN)}, with fields {few(fields, _SHOWN)} in {wells[0]}"
    return [f"{wells[0]}/{[*fields, '0'][0]}"], said if fields else f"wells {few(wells, _SHOWN)}"


def _paths(holder: Any, key: str) -> list[str]:
    found = _dicts(holder.get(key)) if isinstance(holder, dict) else []
    return [str(one["path"]) for one in found if "path" in one]


def _dicts(values: Any) -> list[dict[str, Any]]:
    """The objects in a list of a document, which may be anything."""
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
