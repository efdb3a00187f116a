"""The label image as one OME-TIFF, for tools that read nothing else (`cell.ome.tif`).

BigTIFF, tiled, deflate with a horizontal predictor, physical sizes where they are known. A single
plane has a pyramid in SubIFDs (nearest, the levels of ``labels.zarr``); a volume has its planes one
after another. It is streamed from the label image: memory does not depend on its size.

Chunks of a volume are many planes deep, and whole ones are decoded whatever is read of them, but in
the file one plane follows the other. So the same tile of several planes is read at a time, and
packed tiles wait in a file beside until it is their plane's turn.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from terapose.core.geometry import ZYX
from terapose.io import files
from terapose.io.labels.ome_zarr import NAME, level_shape, open_level, pyramid_factors

TILE = 1024
TOGETHER = 2**25
"""Voxels of a volume that are read at once: 134 MB of 4 bytes each."""
EDGE = 4096
"""Pixels of a plane along an axis that are read at once where they are placed in a larger image:
67 MB of 4 bytes each. Whole chunks of `FLAT_CHUNKS`."""


def write_mask(
    address: str,
    path: Path,
    *,
    name: str = NAME,
    levels: int,
    voxel_size: tuple[float, float, float] | None,
    identity: str,
    description: str = "",
    place: tuple[ZYX, ZYX] | None = None,
) -> None:
    """Write a label image as OME-TIFF.

    Parameters
    ----------
    address
        Path or URL of the labels group.
    path
        File to write; it is there whole or not at all.
    name
        Name of the label image in the group.
    levels
        Number of levels of the label image.
    voxel_size
        (z, y, x) in micrometres of the finest level, if known.
    identity
        What distinguishes this result from others; OME wants a UUID, which is made of it.
    description
        Of the image, in OME's metadata.
    place
        Of a region, (Z, Y, X) of the whole image and where the region begins in it: the mask is as
        large as the image, with 0 outside of the region.
    """
    arrays: list[Source] = [open_level(address, level, name=name) for level in range(levels)]
    labels = open_level(address, 0, name=name)
    if place is not None:
        factors = pyramid_factors(place[0], voxel_size)
        arrays = [Placed(labels, *place, factor) for factor in factors]
    if labels.ndim > 2:
        arrays = arrays[:1]
    # not a random one: equal results are equal files
    unique = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name + identity)}"
    axes = "ZYX"[-labels.ndim :]
    metadata: dict[str, Any] = {"axes": axes, "Name": path.name, "UUID": unique}
    if description:
        metadata["Description"] = description
    metadata |= _sizes(axes, voxel_size)
    # more cells than 32 bits can number: neither OME nor the predictor has a type for them
    is_long = labels.dtype.itemsize > 4
    with (
        files.written(path, "mask") as aside,
        tifffile.TiffWriter(aside, bigtiff=True, ome=not is_long) as file,
    ):
        for level, array in enumerate(arrays):
            # TIFF wants tiles of multiples of 16
            edge = min(TILE, -(-max(array.shape[-2:]) // 16) * 16)
            content: Any = (
                _packed_tiles(array, edge, aside.parent) if array.ndim > 2 else _tiles(array, edge)
            )
            file.write(
                content,
                shape=array.shape,
                dtype=array.dtype,
                tile=(edge, edge),
                compression="zlib",
                predictor=not is_long,
                photometric="minisblack",
                subifds=len(arrays) - 1 if level == 0 else None,
                subfiletype=1 if level else 0,
                metadata=None if level else metadata,
            )


def _sizes(axes: str, voxel_size: tuple[float, float, float] | None) -> dict[str, Any]:
    """The voxel size, where it is known, in OME's metadata."""
    sizes = dict[str, Any]()
    for axis, size in zip("ZYX", voxel_size or (), strict=False):
        if axis in axes:
            sizes |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    return sizes


class Placed:
    """A label image in a larger image, at one level of that image's pyramid: 0 around it.

    Parameters
    ----------
    labels
        (Z, Y, X) or (Y, X) of the finest level.
    whole, offset
        (Z, Y, X) of the image, and where the labels begin in it.
    factor
        (Z, Y, X): of every so many voxels the first is kept.
    """

    def __init__(self, labels: zarr.Array[Any], whole: ZYX, offset: ZYX, factor: ZYX) -> None:
        self._labels = labels
        self.ndim = labels.ndim
        self.dtype = labels.dtype
        self.chunks = labels.chunks
        self._offset, self._factor = offset[-self.ndim :], factor[-self.ndim :]
        self.shape = level_shape(whole[-self.ndim :], factor)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a region; a number in place of a slice drops its axis."""
        given = index if isinstance(index, tuple) else (index,)
        given += (slice(None),) * (self.ndim - len(given))
        places = [
            (i, i + 1) if isinstance(i, int) else i.indices(n)[:2]
            for i, n in zip(given, self.shape, strict=True)
        ]
        result = np.zeros([b - a for a, b in places], self.dtype)
        # of the coarsest level one tile may be all of the labels.
        parts = [[*self._parts(axis, *place)] for axis, place in enumerate(places)]
        kept = tuple(slice(None, None, f) for f in self._factor)
        for spans in itertools.product(*parts):
            inner, source = zip(*spans, strict=True)
            # without a name: one part would stay while the next is read.
            result[inner] = np.asarray(self._labels[source])[kept]
        return result[tuple(0 if isinstance(i, int) else slice(None) for i in given)]

    def _parts(self, axis: int, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Where parts of a region are in it, and in the labels; no chunk is in two parts."""
        first, step = self._offset[axis], self._factor[axis]
        for begin in range(0, self._labels.shape[axis], EDGE):
            end = min(begin + EDGE, self._labels.shape[axis])
            low = max(start, -(-(first + begin) // step))
            high = min(stop, -(-(first + end) // step))
            if low < high:
                source = slice(low * step - first, (high - 1) * step - first + 1)
                yield slice(low - start, high - start), source


Source = zarr.Array[Any] | Placed


def _tiles(plane: Source, edge: int) -> Iterator[NDArray[Any]]:
    """Tiles of a plane; those at the far edges are padded with zeros."""
    for place in _places(plane.shape, edge):
        yield _padded(np.asarray(plane[place]), edge)


def _packed_tiles(array: Source, edge: int, folder: Path) -> Iterator[bytes]:
    """Tiles of all planes of a volume in the file's order, as tifffile packs them."""
    with TemporaryFile(dir=folder) as spool, ThreadPoolExecutor(tifffile.TIFF.MAXWORKERS) as pool:
        for first, last in _layers(array, max(1, TOGETHER // edge**2)):
            spool.seek(0)
            spool.truncate()
            spans = list[list[tuple[int, int]]]()
            for place in _places(array.shape, edge):
                block = np.asarray(array[(slice(first, last), *place)])
                tiles = pool.map(_packed, (_padded(part, edge) for part in block))
                spans.append([(spool.tell(), spool.write(tile)) for tile in tiles])
            for plane in zip(*spans, strict=True):
                for start, length in plane:
                    spool.seek(start)
                    yield spool.read(length)


def _layers(array: Source, most: int) -> Iterator[tuple[int, int]]:
    """First planes, and the ones after the last, of parts of layers of chunks."""
    depth, layer = array.shape[0], array.chunks[0]
    for top in range(0, depth, layer):
        bottom = min(top + layer, depth)
        for first in range(top, bottom, most):
            yield first, min(first + most, bottom)


def _places(shape: tuple[int, ...], edge: int) -> Iterator[tuple[slice, slice]]:
    """Where the tiles of a plane are."""
    for y in range(0, shape[-2], edge):
        for x in range(0, shape[-1], edge):
            yield slice(y, y + edge), slice(x, x + edge)


def _padded(part: NDArray[Any], edge: int) -> NDArray[Any]:
    """A tile, with zeros where it is beyond the plane."""
    tile = np.zeros((edge, edge), part.dtype)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def _packed(tile: NDArray[Any]) -> bytes:
    """A tile as tifffile packs it: differences along rows, deflated."""
    values: Any = imagecodecs.delta_encode(tile, axis=-1) if tile.itemsize <= 4 else tile
    return bytes(imagecodecs.deflate_encode(values))
