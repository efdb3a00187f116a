"""Arrays of thumbnails on disk, filled in any order and written once.

An array is cut along its cells into *units*: whole chunks or shards, about 32 MiB. A unit is filled
part by part and written when its last part is there. Units that are not yet full stay in memory as
far as there is room, and in files of the scratch folder beyond; a unit stays where it was begun. So
memory is bounded, however large the array and whatever the order of the cells, and nothing is ever
read back from the compressed array.

Bytes depend on the content alone: every unit is written once, whole, and Blosc compresses on one
thread (on several it orders its blocks by who finishes first).
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from terapose.core.errors import InputError

MEBI = 2**20
_UNIT = 32 * MEBI
MOST_BYTES = 2**31 - 2**16
"""Bytes that Blosc can compress as one."""
_LEVEL = 2


@dataclass(frozen=True)
class Layout:
    """How thumbnails are laid out on disk.

    Attributes
    ----------
    zarr_format
        2, which cellcutter and its readers have, or 3.
    chunk_bytes
        Uncompressed size of a chunk, from which the cells of one follow; at least one.
    cells_per_chunk
        Cells of a chunk, in place of that.
    shard_bytes
        Uncompressed size of a shard, a file with many chunks of which each is read by itself; None
        for a file a chunk. Zarr 3 only.
    zipped
        One zip file in place of a folder.
    """

    zarr_format: Literal[2, 3] = 2
    chunk_bytes: int = _UNIT
    cells_per_chunk: int | None = None
    shard_bytes: int | None = None
    zipped: bool = False

    def __post_init__(self) -> None:
        for name in ("chunk_bytes", "cells_per_chunk", "shard_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError("is below 1", where=name, got=value, allowed="1 or more")
        if self.zarr_format not in (2, 3):
            raise InputError(
                "there is no such version", where="zarr_version", got=self.zarr_format,
                allowed="2 or 3",
            )  # fmt: skip
        if self.shard_bytes is not None and self.zarr_format == 2:
            raise InputError(
                "Zarr 2 has no shards", where="shard-size", remedy="give also --zarr-version 3"
            )

    def chunk(self, cell_bytes: int) -> int:
        """Cells of a chunk, where a cell has so many bytes.

        Raises
        ------
        InputError
            If a chunk would be larger than can be compressed.
        """
        cells = self.cells_per_chunk or max(1, self.chunk_bytes // cell_bytes)
        if cells * cell_bytes > MOST_BYTES:
            raise InputError(
                "a chunk is too large",
                where="thumbnails",
                got=f"{cells} cells of {cell_bytes} bytes",
                allowed="2 GiB",
                remedy="give a smaller --window-size, fewer --channels or fewer --cells-per-chunk",
            )
        return cells

    def shard(self, cell_bytes: int) -> int | None:
        """Cells of a shard."""
        if self.shard_bytes is None:
            return None
        chunk = self.chunk(cell_bytes)
        return chunk * max(1, self.shard_bytes // (chunk * cell_bytes))

    def unit(self, cell_bytes: int) -> int:
        """Cells that are written at once."""
        chunk = self.chunk(cell_bytes)
        return self.shard(cell_bytes) or chunk * max(1, _UNIT // (chunk * cell_bytes))


def create_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    axis: int,
    chunk: int,
    shard: int | None,
    zarr_format: Literal[2, 3],
    attributes: dict[str, Any],
) -> zarr.Array[Any]:
    """Create an array that is cut along one axis alone: Blosc, Zstandard at level 2, byte shuffle.

    Parameters
    ----------
    axis
        Which axis counts the cells.
    chunk, shard
        Cells of each.
    """

    def cut(cells: int) -> tuple[int, ...]:
        return (*shape[:axis], cells, *shape[axis + 1 :])

    codec: Any
    if zarr_format == 2:
        codec = {"id": "blosc", "cname": "zstd", "clevel": _LEVEL, "shuffle": 1, "blocksize": 0}
    else:
        from zarr.codecs import BloscCodec

        typesize = np.dtype(dtype).itemsize
        codec = BloscCodec(cname="zstd", clevel=_LEVEL, shuffle="shuffle", typesize=typesize)
    names = ("channel", "cell", "z", "y", "x") if axis else ("cell", "z", "y", "x")
    flat = len(shape) < len(names)
    return zarr.create_array(
        path,  # not a text, of which ``::`` would make an address
        shape=shape,
        dtype=np.dtype(dtype),
        chunks=cut(chunk),
        shards=None if shard is None else cut(shard),
        compressors=codec,
        fill_value=0,
        zarr_format=zarr_format,
        attributes=attributes,
        dimension_names=[n for n in names if not (flat and n == "z")] if zarr_format == 3 else None,
        # zeros are written, too: a missing chunk is a damaged copy
        config={"write_empty_chunks": True},
    )


class Units:
    """Units of the thumbnails and of their masks that are being filled.

    Parameters
    ----------
    images, masks
        Arrays to write, [C, N, (D,) W, W] and, if requested, [N, (D,) W, W]; with masks, voxels
        outside of a cell become 0 when its unit is written.
    window
        (D, H, W).
    size
        Cells of a unit.
    scratch
        Folder for units that find no room in memory.
    most_bytes
        Room in memory.
    pool, ahead
        Who writes, and how many units may wait for it.
    """

    def __init__(
        self,
        images: zarr.Array[Any],
        masks: zarr.Array[Any] | None,
        window: tuple[int, int, int],
        size: int,
        *,
        scratch: Path,
        most_bytes: int,
        pool: Executor,
        ahead: int,
    ) -> None:
        self.size = size
        self.in_scratch = 0
        self._arrays = (images, masks)
        self._window = window
        self._cells = images.shape[1]
        self._scratch = scratch
        self._room = most_bytes
        self._pool, self._ahead = pool, ahead
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._spilled: set[int] = set()
        self._writing: list[Future[int]] = []

    def parts(self, unit: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Thumbnails [C, n, D, H, W] and masks [n, D, H, W] of a unit, to be filled in.

        They are to be let go of before another unit's are asked for.
        """
        return self._views(unit, self._buffer(unit))

    def finish(self, unit: int) -> None:
        """Write a unit, of which every part is there."""
        while len(self._writing) > self._ahead:
            self._room += self._writing.pop(0).result()
        self._writing.append(self._pool.submit(self._write, unit, self._buffer(unit)))
        self._kept.pop(unit, None)

    def close(self) -> None:
        """Wait until all is written."""
        while self._writing:
            self._room += self._writing.pop(0).result()

    def _span(self, unit: int) -> tuple[int, int]:
        return unit * self.size, min((unit + 1) * self.size, self._cells)

    def _bytes(self, unit: int) -> tuple[int, int]:
        """Size of a unit's thumbnails and masks."""
        first, stop = self._span(unit)
        voxels = (stop - first) * int(np.prod(self._window))
        images, masks = self._arrays
        return voxels * images.shape[0] * images.dtype.itemsize, voxels * (masks is not None)

    def _buffer(self, unit: int) -> NDArray[np.uint8]:
        if unit in self._kept:
            return self._kept[unit]
        wanted = sum(self._bytes(unit))
        path = self._scratch / str(unit)
        if unit not in self._spilled:
            while wanted > self._room and self._writing:
                self._room += self._writing.pop(0).result()
            if wanted <= self._room:
                self._room -= wanted
                self._kept[unit] = np.zeros(wanted, np.uint8)
                return self._kept[unit]
            self._spilled.add(unit)
            self.in_scratch += 1
            self._scratch.mkdir(exist_ok=True)
            # really written, so that a full disk is an error here and no crash of the mapping
            path.write_bytes(bytes(wanted))
        # mapped anew each time, so that what was touched does not count as this process's memory
        return np.asarray(np.memmap(path, np.uint8, mode="r+", shape=(wanted,)))

    def _views(
        self, unit: int, buffer: NDArray[np.uint8]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        images, masks = self._arrays
        first, stop = self._span(unit)
        edge = self._bytes(unit)[0]
        shape = (stop - first, *self._window)
        pixels = buffer[:edge].view(images.dtype).reshape(images.shape[0], *shape)
        return pixels, None if masks is None else buffer[edge:].view(np.bool_).reshape(shape)

    def _write(self, unit: int, buffer: NDArray[np.uint8]) -> int:
        """Write a unit; returns the memory that is free again."""
        images, masks = self._arrays
        pixels, own = self._views(unit, buffer)
        span = slice(*self._span(unit))
        if masks is not None and own is not None:
            np.copyto(pixels, 0, where=~own)
            masks[span] = own.reshape(own.shape[0], *masks.shape[1:])
        images[:, span] = pixels.reshape(*pixels.shape[:2], *images.shape[2:])
        if unit in self._spilled:
            (self._scratch / str(unit)).unlink()
            return 0
        return sum(self._bytes(unit))
