"""Arrays of a store on a local disk: their chunks are read and written as files.

On object stores it is Zarr that does so, because it waits for many requests at once. A chunk on a
disk is there in less time than Zarr takes to arrange for it, and a small volume has thousands.

A pack of several chunks (`terapose.io.store.chunks`) is their contents one after the other, each
with its checksum, as if it were a file by itself; then, for each of them, the byte after its last
one (unsigned, eight bytes, little-endian), and the checksum of these numbers. A chunk is read
without the others.

Threads share the work where there is enough of it: Blosc, checksums and the disk do not hold
Python's lock.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.io.checksums import damaged, framed, unframed
from terapose.io.files import written
from terapose.io.own_files import OwnFiles
from terapose.io.store.arrays import ArrayInfo
from terapose.io.store.chunks import File, files_of

_THREADS = min(4, os.cpu_count() or 1)
_SHARED = 2**21
"""Bytes of chunks from which threads share them: each takes a tenth of a millisecond to start."""
_OPEN = 64
"""Files that are open at the same time: a process may have a few hundred."""
_PLACE = np.dtype("<u8")
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


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

        def take(part: tuple[Box, Callable[[], bytes]]) -> None:
            chunk, content = part
            found = self.info.decode(content())
            shared = chunk.intersect(box)
            values[(Ellipsis, *shared.within(box))] = found[(Ellipsis, *shared.within(chunk))]

        files = files_of(self.info, box)
        for first in range(0, len(files), _OPEN):
            with ExitStack() as opened:
                together = files[first : first + _OPEN]
                parts = [part for file in together for part in self._open(file, opened)]
                self._each(take, [part for part in parts if part[0].intersect(box).size])
        return values

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Write a ZYX box that ends where files do, all components.

        Raises
        ------
        ValueError
            If the values have another shape.
        """
        values = np.broadcast_to(values, (*self.info.shape[:-3], *box.shape))

        def encode(one: tuple[str, Box]) -> bytes:
            key, chunk = one
            part = values[(Ellipsis, *chunk.within(box))]
            if part.shape != self.info.chunks:
                whole = np.zeros(self.info.chunks, self.info.dtype)
                whole[tuple(map(slice, part.shape))] = part
                part = whole
            return framed(self.info.encode(part), f"{self.place}/{key}")

        files = files_of(self.info, box)
        if len(files) < _THREADS:
            for file in files:
                self._put(file, self._each(encode, file.chunks))
        else:
            self._each(lambda file: self._put(file, map(encode, file.chunks)), files)

    def _each(self, work: Callable[[_Item], _Made], items: Sequence[_Item]) -> list[_Made]:
        """Do something with each chunk, or each file."""
        size = math.prod(self.info.chunks) * self.info.dtype.itemsize * len(items)
        if len(items) == 1 or size < _SHARED:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_THREADS) as pool:
            # consumed, because that is what raises the error of a chunk
            return list(pool.map(work, items))

    def _open(self, file: File, opened: ExitStack) -> list[tuple[Box, Callable[[], bytes]]]:
        """The chunks of a file: the box of each, and what reads its content."""
        path = f"{self.folder}/{file.key}"
        if self.info.packs is None:
            ((key, chunk),) = file.chunks
            return [(chunk, lambda: self._content(self.files.cat_file(path), key, file))]
        raw = opened.enter_context(self.files.open(path)).fileno()
        starts = self._starts(file, raw)

        def reads(number: int, key: str) -> Callable[[], bytes]:
            first, stop = starts[number : number + 2]
            return lambda: self._content(os.pread(raw, stop - first, first), key, file)

        return [(chunk, reads(n, key)) for n, (key, chunk) in enumerate(file.chunks)]

    def _content(self, data: bytes, key: str, file: File) -> bytes:
        """Of a chunk, without its checksum."""
        return unframed(data, f"{self.place}/{key}", f"{self.address}/{file.key}")

    def _starts(self, file: File, raw: int) -> list[int]:
        """Where chunks begin in a pack, and where the last one ends."""
        length = _PLACE.itemsize * len(file.chunks) + len(framed(b"", ""))
        size = os.fstat(raw).st_size
        where = f"{self.address}/{file.key}"
        if size < length:
            raise damaged(where, f"{size} bytes")
        content = os.pread(raw, length, size - length)
        ends = np.frombuffer(unframed(content, f"{self.place}/{file.key}#", where), _PLACE)
        if int(ends[-1]) != size - length:
            raise damaged(where, "a different size from the one recorded")
        return [0, *ends.tolist()]

    def _put(self, file: File, contents: Iterable[bytes]) -> None:
        """Write a file: its chunks, and of a pack where they are."""
        path = f"{self.folder}/{file.key}"
        self.files.make_way(path)
        with written(Path(path), "chunk", anything=True) as place, place.open("wb") as target:
            ends = []
            for content in contents:
                target.write(content)
                ends.append(target.tell())
            if self.info.packs is not None:
                places = np.array(ends, _PLACE).tobytes()
                target.write(framed(places, f"{self.place}/{file.key}#"))
