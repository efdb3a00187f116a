"""Volumes that are computed when they are looked at, served as OME-Zarr 0.5.

A chunk is read, or made from others, when it is asked for; one of nothing but the fill value is not
there, as in a Zarr array on disk. So memory is bounded by the chunks that are made at a time.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Box, zyx

CHUNK: ZYX = (32, 128, 128)
FLAT_CHUNK: ZYX = (1, 512, 512)
"""(Z, Y, X) of a chunk of a volume, and of planes: half a megabyte of 16 bits, whatever is read."""
_AT_ONCE = threading.BoundedSemaphore(4)
_CODEC = Zstd(level=1)
_PLACE = re.compile(r"(\d{1,3})/(zarr\.json|c/\d{1,9}(?:/\d{1,9}){1,2})")


@dataclass(frozen=True)
class Level:
    """A level of a pyramid and where it is.

    Attributes
    ----------
    shape
        (Z, Y, X).
    scale, origin
        (z, y, x) of a voxel, and of the centre of the first one.
    """

    shape: ZYX
    scale: tuple[float, float, float]
    origin: tuple[float, float, float]


class Volume(Protocol):
    """A volume with a pyramid, read box by box.

    Attributes
    ----------
    levels
        The finest first.
    dtype
        One that OME-Zarr and the viewer know, in native byte order.
    fill
        Value of what is not there.
    unit
        Whether scales are in micrometres.
    dimensions
        3, or 2 for a plane without a Z axis.
    """

    levels: Sequence[Level]
    dtype: np.dtype[Any]
    fill: float
    unit: bool
    dimensions: int

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """Voxels of a box of a level: (Z, Y, X)."""
        ...


class Served:
    """A volume as the files of an OME-Zarr image.

    Parameters
    ----------
    volume
        What is served.
    name
        Of the image.
    """

    def __init__(self, volume: Volume, name: str) -> None:
        self._volume = volume
        self._name = name

    def get(self, key: str) -> bytes | None:
        """A document or a chunk."""
        if key == "zarr.json":
            return _json(self._group())
        place = _PLACE.fullmatch(key)
        if place is None or int(place[1]) >= len(self._volume.levels):
            return None
        level = int(place[1])
        if str(level) != place[1]:
            return None
        if place[2] == "zarr.json":
            return _json(self._array(level))
        index = [int(n) for n in place[2].split("/")[1:]]
        if key != f"{level}/c/{'/'.join(map(str, index))}":
            return None
        return self._chunk(level, index)

    def all_keys(self) -> Iterator[str]:
        """Keys of the documents, then those of all chunks."""
        yield "zarr.json"
        for level in range(len(self._volume.levels)):
            yield f"{level}/zarr.json"
        for level in range(len(self._volume.levels)):
            runs = [range(n) for n in self._counts(level)[-self._volume.dimensions :]]
            for index in itertools.product(*runs):
                yield f"{level}/c/{'/'.join(map(str, index))}"

    def _counts(self, level: int) -> ZYX:
        shape, edges = self._volume.levels[level].shape, self._edges(level)
        return zyx(-(-n // edge) for n, edge in zip(shape, edges, strict=True))

    def _edges(self, level: int) -> ZYX:
        shape = self._volume.levels[level].shape
        edges = FLAT_CHUNK if shape[0] == 1 else CHUNK
        return zyx(map(min, edges, shape))

    def _chunk(self, level: int, index: Sequence[int]) -> bytes | None:
        volume, edges = self._volume, self._edges(level)
        place = (0,) * (3 - volume.dimensions) + tuple(index)
        counts = self._counts(level)
        if len(place) != 3 or not all(i < n for i, n in zip(place, counts, strict=True)):
            return None
        start = zyx(i * edge for i, edge in zip(place, edges, strict=True))
        box = Box(start, zyx(a + edge for a, edge in zip(start, edges, strict=True)))
        box = box.clip(volume.levels[level].shape)
        with _AT_ONCE:
            found = volume.read(level, box)
            if (found == volume.fill).all():
                return None
            block = np.full(edges, volume.fill, volume.dtype.newbyteorder("<"))
            block[tuple(slice(0, n) for n in found.shape)] = found
            return bytes(_CODEC.encode(block.tobytes()))

    def _group(self) -> dict[str, Any]:
        volume = self._volume
        unit = {"unit": "micrometer"} if volume.unit else {}
        axes = [{"name": a, "type": "space", **unit} for a in "zyx"[-volume.dimensions :]]
        datasets = [
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(level.scale[-volume.dimensions :])},
                    {
                        "type": "translation",
                        "translation": list(level.origin[-volume.dimensions :]),
                    },
                ],
            }
            for number, level in enumerate(volume.levels)
        ]
        multiscale = {"name": self._name, "axes": axes, "datasets": datasets}
        ome = {"version": "0.5", "multiscales": [multiscale]}
        return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}

    def _array(self, level: int) -> dict[str, Any]:
        volume = self._volume
        whole = volume.dtype.kind in "iu"
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(volume.levels[level].shape[-volume.dimensions :]),
            "data_type": volume.dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(self._edges(level)[-volume.dimensions :])},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": int(volume.fill) if whole else float(volume.fill),
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
            ],
            "attributes": {},
            "dimension_names": list("zyx"[-volume.dimensions :]),
        }


def chunk_voxels(shape: ZYX) -> int:
    """Voxels of a chunk of a volume of a shape."""
    return math.prod(FLAT_CHUNK if shape[0] == 1 else CHUNK)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
