"""A node of a Zarr hierarchy: its metadata documents, its array, what identifies its content.

A hierarchy is a folder, a prefix of an object store, or is in a ZIP archive.
"""

from __future__ import annotations

import os
import re
from typing import Any

from terapose.core.errors import InputError, pass_on
from terapose.io.documents import parse_json
from terapose.io.images import address as addresses
from terapose.io.images import zips
from terapose.io.images.identity import Identity, files_identity, folder_states, states_of

_CHUNK = re.compile(r"\d+(\.\d+)*")
DAMAGED = "the metadata is damaged, write or copy the image again"


def documents(address: str) -> dict[str, bytes]:
    """Read the metadata documents of one node, by name; empty where it is no Zarr node."""
    packed = zips.find_node(address)
    for names in (zips.V3, zips.V2):
        if packed is not None:
            found = {name: packed.read(name) for name in names}
        else:
            found = {name: addresses.read_bytes(addresses.join(address, name)) for name in names}
        read = {name: content for name, content in found.items() if content is not None}
        if read:
            return read
    return {}


def parse(address: str, name: str, content: bytes) -> dict[str, Any]:
    """A metadata document of a node as a JSON object."""
    try:
        parsed = parse_json(content)
    except ValueError as error:
        raise InputError(
            f"its {name} is not valid JSON", where=address, got=str(error), remedy=DAMAGED
        ) from error
    if not isinstance(parsed, dict):
        raise InputError(
            f"its {name} is not a JSON object", where=address, got=parsed, remedy=DAMAGED
        )
    return parsed


def open_array(address: str, touched: set[str] | None = None) -> Any:
    """Open an array for reading; ``touched`` takes the files that are read of it.

    Raises
    ------
    InputError
        If there is none, or its metadata cannot be understood.
    """
    packed = zips.find_node(address)
    try:
        return _open_bounded(address, packed, touched)
    except FileNotFoundError as error:
        raise InputError(
            "the array that the metadata names is not there", where=address, remedy=DAMAGED
        ) from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zarr has many kinds, and every driver its own
        pass_on(error)
        raise InputError(
            "the array cannot be opened",
            where=address,
            got=f"{type(error).__name__}: {error}",
            remedy=addresses.remedy_of(address, DAMAGED),
        ) from error


def _open_bounded(address: str, packed: zips.Node | None, touched: set[str] | None) -> Any:
    """An array that reads and unpacks no more than its chunks may have."""
    import zarr

    from terapose.io.images import zarr_codecs
    from terapose.io.images.local_store import Folder
    from terapose.io.images.noted_store import Noted
    from terapose.io.images.zip_store import Members

    store: Members | Folder | Noted
    if packed is not None:
        store = Members(packed.archive)
    elif touched is None and not addresses.is_url(address):
        store = Folder(address)
    else:
        store = Noted(address, set() if touched is None else touched)
    array = zarr.open_array(store, path="" if packed is None else packed.path, mode="r")
    store.most = zarr_codecs.bound(address, array)
    if isinstance(store, Folder) and array.metadata.zarr_format == 2:
        _check_separator(address, array)
    return array


def _check_separator(address: str, array: Any) -> None:
    """Refuse chunks of version 2 that have other names than the metadata says: none would be found.

    Programs have written chunks in folders, and left out the ``dimension_separator`` that says so.
    """
    if array.ndim < 2 or not os.path.isdir(address):
        return
    with os.scandir(address) as entries:
        first = next((entry for entry in entries if _CHUNK.fullmatch(entry.name)), None)
    are_nested = array.metadata.dimension_separator == "/"
    if first is None or (first.is_dir() if are_nested else "." in first.name):
        return
    raise InputError(
        "chunks of the array are not named as its metadata says",
        where=address,
        got=f"{first.name}{'/' if first.is_dir() else ''}",
        allowed="0/0/0 and so on" if are_nested else "0.0.0 and so on",
        remedy=f'write "dimension_separator": "{"." if are_nested else "/"}" into its .zarray',
    )


def identity(address: str, found: dict[str, bytes], level_path: str) -> Identity:
    """Identify an image by its metadata and all files of the level.

    Parameters
    ----------
    address
        Of the image.
    found
        Its documents.
    level_path
        Path of the array in it; empty where the image is an array itself.
    """
    level = addresses.join(address, level_path) if level_path else address
    parts: list[object] = [sorted(found.items()), sorted(documents(level).items())]
    packed = zips.find_node(level)
    if packed is not None:
        known = files_identity(packed.archive.address)
        return known._replace(parts=("zarr", *parts, packed.path))
    level = level.rstrip("/")
    files, is_whole = folder_states(level)
    # of the group above the level: the level's own are among its files
    above = {addresses.join(address, name) for name in found} - files.keys()
    return Identity(("zarr", *parts), {**states_of(above), **files}, level, above, is_whole)


def files_of(address: str, found: dict[str, bytes]) -> set[str] | None:
    """Files of a node's documents; None in an archive, which is one file."""
    if zips.find_node(address) is not None:
        return None
    return {addresses.join(address, name) for name in found}


def metadata(address: str) -> dict[str, Any]:
    """What OME-Zarr says of a group; empty where it is none."""
    parsed = {name: parse(address, name, text) for name, text in documents(address).items()}
    attributes = attributes_in(parsed)
    found = attributes.get("ome", attributes) if isinstance(attributes, dict) else {}
    return found if isinstance(found, dict) else {}


def attributes_in(parsed: dict[str, dict[str, Any]]) -> Any:
    """Attributes of a node in its documents: a JSON object, unless they are damaged."""
    node = parsed.get("zarr.json", {})
    return (node.get("attributes") if node else parsed.get(".zattrs")) or {}
