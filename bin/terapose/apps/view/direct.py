"""OME-Zarr images that a viewer in a browser can read as they are, without being decoded here.

Everything else is served as a volume that is computed (`terapose.apps.view.pixels`): images in
other formats, in archives and on servers, compressed in ways that the viewer does not know, with
several time points, other names of axes, very large chunks, or another voxel size than the labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from terapose.apps.view.sources import Folder
from terapose.io.images import address as addresses
from terapose.io.images import zarr_groups, zips
from terapose.io.images import zarr_nodes as nodes
from terapose.io.images.model import Image

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
_PACKED_V2 = (None, "blosc", "zlib", "gzip", "zstd")
_PACKED_V3 = frozenset({"bytes", "transpose", "gzip", "zstd", "blosc", "crc32c"})
_SHARDS = "sharding_indexed"
_UNITS = frozenset({"angstrom", *(f"{p}meter" for p in ("pico", "nano", "micro", "milli", ""))})
_TYPES = {"t": "time", "c": "channel"}
_LARGEST = 1 << 24
"""Voxels of a chunk: a viewer holds many of them."""
_PATH = re.compile(r"[\w-][\w.-]*")
DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup")
"""What groups are described in."""


class Plain(NamedTuple):
    """A group that is served as it is.

    Attributes
    ----------
    files
        Its documents and arrays.
    version
        Of Zarr.
    axes
        One letter for each.
    """

    files: Folder
    version: int
    axes: str


def plain_group(image: Image, unit: bool, *, shards: bool) -> Plain | None:
    """The group of an image if a viewer can read it as it is.

    Parameters
    ----------
    image
        Level 0 as it opens by itself, without a voxel size that was given.
    unit
        Whether the labels are in micrometres.
    shards
        Whether whoever serves it serves parts of files.

    Returns
    -------
    Plain or None
    """
    address = addresses.localise(image.address).rstrip("/")
    if addresses.is_url(address) or image.format not in ("ome-zarr-0.4", "ome-zarr-0.5"):
        return None
    if image.selection.axes or image.selection.stack or image.times > 1 or zips.find_node(address):
        return None
    names, number = image.series
    if names:
        address = zarr_groups.inside(address, names[number])
    multiscales = nodes.metadata(address).get("multiscales")
    if not multiscales:
        return None
    multiscale = multiscales[0]
    axes = _axes(multiscale, unit)
    paths = [str(one["path"]) for one in multiscale["datasets"]]
    if axes is None or not all(map(_PATH.fullmatch, paths)):
        return None
    found = [nodes.documents(addresses.join(address, path)) for path in paths]
    version = 3 if image.format == "ome-zarr-0.5" else 2
    if not all(_is_known(address, one, version, shards) for one in found):
        return None
    return Plain(Folder(Path(address), frozenset((*DOCUMENTS, *paths))), version, axes)


def has_shards(address: str) -> bool:
    """Whether files of an array contain several chunks, of which a viewer asks for parts."""
    documents = nodes.documents(address)
    if "zarr.json" not in documents:
        return False
    codecs = nodes.parse(address, "zarr.json", documents["zarr.json"]).get("codecs") or []
    return any(isinstance(codec, dict) and codec.get("name") == _SHARDS for codec in codecs)


def _axes(multiscale: Mapping[str, Any], unit: bool) -> str | None:
    """Letters of the axes, if names, types and units are those that the viewer expects."""
    axes = [axis for axis in multiscale.get("axes") or () if isinstance(axis, dict)]
    letters = "".join(str(axis["name"]) for axis in axes)
    if letters not in ("tczyx", "czyx", "zyx", "cyx", "yx", "tcyx"):
        return None
    for axis in axes:
        kind, given = axis.get("type"), axis.get("unit")
        if kind != _TYPES.get(axis["name"], "space"):
            return None
        if kind == "space" and (given not in _UNITS if unit else given is not None):
            return None
        if kind == "time" and given not in (None, "second", "millisecond", "minute", "hour"):
            return None
    return letters


def _is_known(address: str, documents: dict[str, bytes], version: int, shards: bool) -> bool:
    """Whether the viewer can read an array."""
    name = "zarr.json" if version == 3 else ".zarray"
    if name not in documents:
        return False
    array = nodes.parse(address, name, documents[name])
    if version == 2:
        packed = array.get("compressor")
        known = (packed or {}).get("id") in _PACKED_V2 and not array.get("filters")
        dtype = str(array.get("dtype"))[1:]
        kinds = {"u": "uint", "i": "int", "f": "float"}
        named = f"{kinds.get(dtype[:1], '')}{8 * int(dtype[1:])}" if dtype[1:].isdigit() else ""
        chunk = array.get("chunks") or []
    else:
        chunk = (array.get("chunk_grid") or {}).get("configuration", {}).get("chunk_shape") or []
        known, chunk = _codecs(array.get("codecs") or [], chunk, shards)
        known = known and not array.get("storage_transformers")
        named = str(array.get("data_type"))
    return known and named in _DTYPES and 0 < math.prod(chunk) <= _LARGEST


def _codecs(
    codecs: Sequence[Any], chunk: Sequence[int], shards: bool
) -> tuple[bool, Sequence[int]]:
    """Whether codecs are known, and what is decoded at a time."""
    for codec in codecs:
        name = codec.get("name") if isinstance(codec, dict) else codec
        if name == _SHARDS:
            inner = codec.get("configuration") or {}
            known, _ = _codecs(inner.get("codecs") or [], (), shards=False)
            return shards and known and len(codecs) == 1, inner.get("chunk_shape") or []
        if name not in _PACKED_V3:
            return False, chunk
    return True, chunk
