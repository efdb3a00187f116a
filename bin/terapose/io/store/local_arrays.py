"""Arrays of a store on a local disk: their chunks are read and written as files.

On object stores it is Zarr that does so, because it waits for many requests at once. A chunk on a
disk is there in less time than Zarr takes to arrange for it, and a small volume has thousands.

Threads share the work where there is enough of it: Blosc, checksums and the disk do not hold
Python's lock.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.io.checksums import framed, unframed
from terapose.io.files import written
from terapose.io.own_files import OwnFiles
from terapose.io.store.arrays import ArrayInfo
from terapose.io.store.chunks import chunks_of

_THREADS = min(4, os.cpu_count() or 1)
_SHARED = 2**21
"""Bytes of chunks from which threads share them: each takes a tenth of a millisecond to start."""


class LocalArray(NamedTuple):
    """An array in a folder.

    Attributes
    ----------
    files
        Those of the store.
    folder
        Of the array.
    place
        Its name and that of the run, part of what the checksums are of.
    address
        Of the array, for messages.
    info
        What its metadata say.
    """

    files: OwnFiles
    folder: str
    place: str
    address: str
    info: ArrayInfo

    def read(self, box: Box) -> NDArray[Any]:
        """Read a ZYX box, all components.

        Raises
        ------
        FileNotFoundError
            If a chunk is not there.
        StoreError
            If one is not as it was written.
        OSError, RuntimeError, ValueError
            If one cannot be read, or decoded.
        """
        values = np.empty((*self.info.shape[:-3], *box.shape), self.info.dtype)

        def take(key: str, chunk: Box) -> None:
            part = chunk.intersect(box)
            found = self._decoded(key)
            values[(Ellipsis, *part.within(box))] = found[(Ellipsis, *part.within(chunk))]

        self._each(take, box)
        return values

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Write a ZYX box that ends where chunks do, all components.

        Raises
        ------
        ValueError
            If the values have another shape.
        """
        values = np.broadcast_to(values, (*self.info.shape[:-3], *box.shape))

        def put(key: str, chunk: Box) -> None:
            part = values[(Ellipsis, *chunk.within(box))]
            if part.shape != self.info.chunks:
                whole = np.zeros(self.info.chunks, self.info.dtype)
                whole[tuple(map(slice, part.shape))] = part
                part = whole
            self._put(key, self.info.encode(part))

        self._each(put, box)

    def _each(self, work: Callable[[str, Box], None], box: Box) -> None:
        """Do something with each chunk of a box: with its key and its own box."""
        chunks = chunks_of(self.info, box)
        size = math.prod(self.info.chunks) * self.info.dtype.itemsize * len(chunks)
        if len(chunks) == 1 or size < _SHARED:
            for key, chunk in chunks:
                work(key, chunk)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            # consumed, because that is what raises the error of a chunk
            list(pool.map(lambda one: work(*one), chunks))

    def _decoded(self, key: str) -> NDArray[Any]:
        data = self.files.cat_file(f"{self.folder}/{key}")
        return self.info.decode(unframed(data, f"{self.place}/{key}", f"{self.address}/{key}"))

    def _put(self, key: str, content: bytes) -> None:
        path = f"{self.folder}/{key}"
        self.files.make_way(path)
        with written(Path(path), "chunk", anything=True) as place:
            place.write_bytes(framed(content, f"{self.place}/{key}"))
