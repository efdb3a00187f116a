"""Where a run keeps its arrays and tables between tasks: a directory or an object store.

Invariants
----------
- Every write region belongs to one task and is aligned to chunks: no chunk has two writers.
- A chunk, a table and a marker appear whole or not at all (written aside, then renamed).
- All chunks of an array are written, zeros too. A chunk that is missing when it is read is a
  fault (`StoreError`), never zeros.
- A task first writes its results, then its *marker*, and only then drops what nobody needs any
  more. Who reads and afterwards finds a marker of its own kind in place (a twin was faster, for
  example an orphan of a killed run) throws away what it read: it may have been dropped under it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.errors import ContainsArrayError

from terapose.errors import StoreError
from terapose.geometry import Box

FLOAT = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
"""Compression of flows: one pass over noise, cheap."""
INTEGER = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
"""Compression of labels, counts and displacements: long runs."""


class Store:
    """Arrays, tables and markers under one address.

    Parameters
    ----------
    address
        Local directory or URL that fsspec knows (``s3://bucket/run``).
    """

    def __init__(self, address: str) -> None:
        self.address = str(address).rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.address)
        self.is_local = "://" not in self.address

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    # -- blobs ---------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """Write a blob as a whole."""
        path = self._path(name)
        if not self.is_local:
            self._fs.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        aside.write_bytes(data)
        aside.replace(target)

    def get(self, name: str) -> bytes:
        """Read a blob.

        Raises
        ------
        StoreError
            If it is not there.
        """
        try:
            return cast(bytes, self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            raise self._gone(name) from None

    def has(self, name: str) -> bool:
        """Whether a blob is there."""
        return bool(self._fs.exists(self._path(name)))

    def drop(self, name: str) -> None:
        """Remove a blob, an array or a folder; nothing happens if it is not there."""
        try:
            self._fs.rm(self._path(name), recursive=True)
        except FileNotFoundError:
            return

    def put_table(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write named columns."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **cast(dict[str, Any], dict(columns)))
        self.put(name, buffer.getvalue())

    def get_table(self, name: str) -> dict[str, NDArray[Any]]:
        """Read named columns."""
        with np.load(io.BytesIO(self.get(name))) as table:
            return dict(table)

    def put_json(self, name: str, value: object) -> None:
        """Write a JSON document."""
        self.put(name, json.dumps(value, sort_keys=True).encode())

    def get_json(self, name: str) -> Any:
        """Read a JSON document."""
        return json.loads(self.get(name))

    # -- arrays --------------------------------------------------------------

    def create(
        self,
        name: str,
        shape: Sequence[int],
        chunks: Sequence[int],
        dtype: str,
        codec: BloscCodec = FLOAT,
    ) -> None:
        """Make an array if it is not there yet; the same call twice changes nothing."""
        if self.has(f"{name}/zarr.json"):
            return
        # a twin may make it at the same moment: its metadata are the same
        with contextlib.suppress(ContainsArrayError):
            zarr.create_array(
                f"{self.address}/{name}",
                shape=tuple(shape),
                chunks=tuple(min(c, s) for c, s in zip(chunks, shape, strict=True)),
                dtype=dtype,
                compressors=[codec],
                fill_value=0,
            )

    def open(self, name: str) -> zarr.Array[Any]:
        """Open an array.

        Raises
        ------
        StoreError
            If it is not there.
        """
        if not self.has(f"{name}/zarr.json"):
            raise self._gone(name)
        array = zarr.open_array(f"{self.address}/{name}", mode="r+")
        return array.with_config({"write_empty_chunks": True})

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Read a ZYX box of an array, all its components; every chunk has to be there.

        Raises
        ------
        StoreError
            If the array or one of the box's chunks is missing or cannot be decoded.
        """
        array = self.open(name)
        for chunk in self.chunk_names(array, name, box):
            if not self.has(chunk):
                raise self._gone(chunk)
        try:
            return np.asarray(array[(Ellipsis, *box.slices)])
        except (RuntimeError, ValueError, OSError) as error:
            raise StoreError(
                f"cannot be decoded ({error})",
                where=f"{self.address}/{name}",
                remedy="the store is damaged: remove it and run again",
            ) from error

    def write(self, name: str, box: Box, values: NDArray[Any]) -> int:
        """Write a chunk-aligned ZYX box of an array; returns the CRC-32 of the bytes.

        Raises
        ------
        ValueError
            If the box cuts a chunk: two tasks could lose each other's voxels.
        """
        array = self.open(name)
        for a, b, c, n in zip(
            box.start, box.stop, array.chunks[-3:], array.shape[-3:], strict=True
        ):
            if a % c or (b % c and b != n):
                raise ValueError(f"{name}: {box} is not aligned to chunks {array.chunks}")
        array[(Ellipsis, *box.slices)] = values
        return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)

    @staticmethod
    def chunk_names(array: zarr.Array[Any], name: str, box: Box) -> list[str]:
        """Names of the chunks that hold a ZYX box (the leading axis is one chunk)."""
        runs = [
            range(a // c, -(-b // c))
            for a, b, c in zip(box.start, box.stop, array.chunks[-3:], strict=True)
        ]
        lead = "0/" * (array.ndim - 3)
        return [f"{name}/c/{lead}{z}/{y}/{x}" for z, y, x in itertools.product(*runs)]

    def drop_box(self, name: str, box: Box) -> None:
        """Remove the chunks that lie in a ZYX box."""
        if self.has(f"{name}/zarr.json"):
            for chunk in self.chunk_names(self.open(name), name, box):
                self.drop(chunk)

    def _gone(self, name: str) -> StoreError:
        return StoreError(
            "is not in the store any more, though an earlier task wrote it",
            where=f"{self.address}/{name}",
            remedy=(
                "it was removed by hand, or dropped after use (keep_intermediates); "
                "run again without -resume (terapose segment: first remove .terapose in its "
                "output); keep_intermediates 'all' drops nothing"
            ),
        )
