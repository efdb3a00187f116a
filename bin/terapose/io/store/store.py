"""Where a run keeps its arrays and tables between tasks: a directory or an object store.

Invariants
----------
- Every write region belongs to one task and consists of whole files: none has two writers.
- A chunk, a table and a marker appear whole or not at all (`terapose.io.files`).
- Everything has a checksum, including its name and the run, which is compared whenever it is read
  (`terapose.io.checksums`): stores of other runs have the same names.
- On a local disk it consists of regular files in real folders (`terapose.io.own_files`).
- All chunks of an array are written, zeros too. A chunk that is missing when it is read is a
  fault (`StoreError`), never zeros.
- A task first writes its results, then its *marker*, and only then drops what nobody needs any
  more. Who reads and afterwards finds a marker for the same work (a twin was faster, for
  example an orphan of a killed run) throws away what it read: it may have been dropped under it.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.io import checksums
from terapose.io.drivers import Driver, RefusedError
from terapose.io.files import ASIDE, claim, written
from terapose.io.own_files import OddEntryError, OwnFiles
from terapose.io.store.arrays import FLOAT, TABLE, ArrayInfo, Codec, Packs, document_of
from terapose.io.store.chunks import files_of, is_aligned
from terapose.io.store.faults import gone, named, unreadable
from terapose.io.store.local_arrays import LocalArray

if TYPE_CHECKING:
    import zarr

_UNDECODABLE = (RuntimeError, ValueError, OSError, TypeError)
_ARRAY = "zarr.json"
_AGAIN = re.compile(r"\?again=\d+$")
_T = TypeVar("_T")


class Store:
    """Arrays, tables and markers under one address.

    Parameters
    ----------
    address
        Local directory or URL that fsspec knows (``s3://bucket/run``). A ``?again=N`` at its
        end is left out: the workflow adds it where a task has to run again
        (`terapose.pipeline.repair`).
    run
        The digest of a run's plan; empty for what belongs to no run.
    """

    def __init__(self, address: str, run: str = "") -> None:
        self.run = run
        self.address = _AGAIN.sub("", str(address)).rstrip("/")
        self.is_local = "://" not in self.address
        self._fs: OwnFiles | Driver
        if self.is_local:
            # not by fsspec, to which ``data:1`` and ``a::b`` are no folders
            self._root = os.path.abspath(self.address)
            self._fs = OwnFiles(self._root)
        else:
            self._fs = Driver(self.address)
            self._root = self._fs.root
        self._known: dict[str, ArrayInfo] = {}
        self._opened: dict[str, zarr.Array[Any]] = {}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def where(self, name: str) -> str:
        """The address of something in the store."""
        return f"{self.address}/{name}"

    def of(self, run: str) -> Store:
        """The same store, for what belongs to a run."""
        return Store(self.address, run)

    def _place(self, name: str) -> str:
        """What a checksum starts from."""
        return f"{self.run}/{name}" if self.run else name

    # -- blobs ---------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """Write a blob as a whole, with its checksum."""
        self._put(name, checksums.framed(data, self._place(name)))

    def _put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        if isinstance(self._fs, Driver):
            self._fs.pipe_file(path, data)
            return
        self._fs.make_way(path)
        target = Path(path)
        with written(target, _kind(name), anything=True) as place:
            place.write_bytes(data)

    def put_plain(self, name: str, data: bytes) -> None:
        """Write a file for others to read, unless it is there: its content is known."""
        try:
            there = self._fs.cat_file(self._path(name))
        except OSError:
            there = None
        if there != data:
            self._put(name, data)

    def get(self, name: str) -> bytes:
        """Read a blob.

        Raises
        ------
        StoreError
            If it is not there, or not as it was written.
        """
        return self._checked(
            name, lambda data, where: checksums.unframed(data, self._place(name), where)
        )

    def _document(self, name: str, within: str | None = None) -> dict[str, Any]:
        return self._checked(
            name, partial(checksums.unsealed, within=within, name=self._place(name))
        )

    def _checked(self, name: str, check: Callable[[bytes, str], _T]) -> _T:
        try:
            return check(self._fs.cat_file(self._path(name)), self.where(name))
        except FileNotFoundError:
            raise gone(self.where(name), name) from None
        except OSError as error:
            raise unreadable(self.where(name), error, name) from error
        except StoreError as error:
            raise named(error, name) from error.__cause__

    def checksum(self, name: str) -> int | None:
        """CRC-32C of a file as it is there; None where there is none."""
        try:
            return checksums.crc32c(self._fs.cat_file(self._path(name)))
        except (FileNotFoundError, OddEntryError):
            return None

    def fetch(self, folder: str, target: Path) -> None:
        """Copy a folder of an object store to a local disk."""
        assert isinstance(self._fs, Driver)
        self._fs.get(self._path(folder), str(target))

    def has(self, name: str) -> bool:
        """Whether a blob is there."""
        return bool(self._fs.exists(self._path(name)))

    def names(self, folder: str) -> list[str]:
        """Names of the complete blobs in a folder, itself in front of each; sorted."""
        try:
            found = self._fs.ls(self._path(folder))
        except FileNotFoundError:
            return []
        last = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
        return sorted(f"{folder}/{name}" for name in last if not name.endswith(ASIDE))

    def drop(self, name: str) -> None:
        """Remove a blob, an array or a folder; nothing happens if it is not there."""
        self._opened.pop(name, None)
        self._known.pop(name, None)
        try:
            self._fs.rm(self._path(name), recursive=True)
        except FileNotFoundError:
            return

    def remove(self) -> None:
        """Remove the store itself."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)

    def put_table(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write named columns."""
        buffer = io.BytesIO()
        np.savez(buffer, **cast(dict[str, Any], dict(columns)))
        self.put(name, TABLE.encode(buffer.getvalue()))

    def get_table(self, name: str) -> dict[str, NDArray[Any]]:
        """Read named columns."""
        content = self.get(name)
        try:
            with np.load(io.BytesIO(TABLE.decode(content))) as table:
                return dict(table)
        except (RuntimeError, ValueError, zipfile.BadZipFile) as error:  # another kind of blob
            raise unreadable(self.where(name), error, name) from error

    def put_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON document."""
        self._put(
            name,
            json.dumps(checksums.sealed(value, name=self._place(name)), sort_keys=True).encode(),
        )

    def claim_json(self, name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Write a JSON document unless it is there; returns what is there.

        On a local disk one of several that do so at the same time succeeds (`files.claim`). A
        damaged document counts as none.
        """
        if (there := self.find_json(name)) is not None:
            return there
        text = json.dumps(checksums.sealed(value, name=self._place(name)), sort_keys=True)
        if isinstance(self._fs, OwnFiles) and not self.has(name):
            self._fs.make_way(self._path(name))
            claim(Path(self._path(name)), text.encode(), _kind(name))
        if (there := self.find_json(name)) is None:
            self._put(name, text.encode())
        return there if there is not None else dict(value)

    def get_json(self, name: str) -> dict[str, Any]:
        """Read a JSON document."""
        return self._document(name)

    def find_json(self, name: str) -> dict[str, Any] | None:
        """Read a JSON document that may be missing, or damaged, which is as if it were."""
        try:
            return self.get_json(name)
        except StoreError:
            return None

    # -- arrays --------------------------------------------------------------

    def create(
        self,
        name: str,
        shape: Sequence[int],
        chunks: Sequence[int],
        dtype: str,
        codec: Codec = FLOAT,
        packs: Packs | None = None,
    ) -> None:
        """Make an array; where it is there, nothing is changed. A twin writes the same.

        Parameters
        ----------
        name, shape, chunks, dtype, codec
            As of `terapose.io.store.arrays.document_of`.
        packs
            Which chunks share a file, on a local disk.
        """
        document = document_of(shape, chunks, dtype, codec, packs if self.is_local else None)
        try:
            there = self._metadata(name)
        except StoreError:
            there = None
        if there != document:
            place = f"{name}/{_ARRAY}"
            text = json.dumps(
                checksums.sealed(document, "attributes", name=self._place(place)), indent=1
            )
            self._put(place, text.encode())

    def info(self, name: str) -> ArrayInfo:
        """What the metadata of an array say.

        Raises
        ------
        StoreError
            If it is not there, or its metadata are damaged.
        """
        if name not in self._known:
            try:
                self._known[name] = ArrayInfo.of(self._metadata(name))
            except StoreError as error:
                raise named(error, name) from error.__cause__
        return self._known[name]

    def open(self, name: str) -> zarr.Array[Any]:
        """Open an array by Zarr; errors are those of `info`."""
        from terapose.io.zarr_files import array_of

        if name not in self._opened:
            document = {**self.info(name).document, "attributes": {}}
            self._opened[name] = array_of(document, self.where(name), self._place(name))
        return self._opened[name]

    def _metadata(self, name: str) -> dict[str, Any]:
        return self._document(f"{name}/{_ARRAY}", "attributes")

    def _local(self, name: str, info: ArrayInfo) -> LocalArray | None:
        """An array that is on a local disk."""
        if not isinstance(self._fs, OwnFiles):
            return None
        return LocalArray(self._fs, self._path(name), self._place(name), self.where(name), info)

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Read a ZYX box of an array, all its components; every chunk has to be there.

        Raises
        ------
        StoreError
            If the array or one of the box's chunks is missing or damaged.
        """
        try:
            info = self.info(name)
        except StoreError as error:
            raise named(error, name, box) from error.__cause__
        try:
            return self._read(name, info, box)
        except RefusedError:
            raise
        except (StoreError, *_UNDECODABLE):
            for file in files_of(info, box):
                for _, chunk in file.chunks:
                    if chunk.intersect(box).size:
                        self._try(name, info, file.key, chunk)
            raise

    def _read(self, name: str, info: ArrayInfo, box: Box) -> NDArray[Any]:
        if (local := self._local(name, info)) is not None:
            return local.read(box)
        return np.asarray(self.open(name)[(Ellipsis, *box.slices)])

    def boxes(self, name: str, box: Box) -> list[Box]:
        """The boxes of the files of an array that hold a ZYX box; none if its metadata are lost."""
        try:
            return [file.box for file in files_of(self.info(name), box)]
        except StoreError:
            return []

    def missing(self, name: str, box: Box) -> list[Box]:
        """The boxes of the files of an array in a ZYX box that are not there."""
        files = files_of(self.info(name), box)
        return [file.box for file in files if not self.has(f"{name}/{file.key}")]

    def _try(self, name: str, info: ArrayInfo, key: str, chunk: Box) -> None:
        """Read a chunk, to find the one that cannot be."""
        try:
            self._read(name, info, chunk)
        except FileNotFoundError:
            raise named(gone(self.where(f"{name}/{key}"), f"{name}/{key}"), name, chunk) from None
        except StoreError as error:
            raise named(error, name, chunk) from None
        except RefusedError:
            raise
        except _UNDECODABLE as error:
            raise unreadable(self.where(f"{name}/{key}"), error, name, chunk) from error

    def write(self, name: str, box: Box, values: NDArray[Any]) -> int:
        """Write a ZYX box of an array, whole files; returns the CRC-32 of the bytes.

        Raises
        ------
        ValueError
            If the box cuts a file: two tasks could lose each other's voxels.
        """
        info = self.info(name)
        if not is_aligned(info, box):
            raise ValueError(f"{name}: {box} is not aligned to chunks {info.packs or info.chunks}")
        if (local := self._local(name, info)) is not None:
            local.write(box, values)
        else:
            self.open(name)[(Ellipsis, *box.slices)] = values
        return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)

    def drop_box(self, name: str, box: Box) -> None:
        """Remove the files in a ZYX box; those that hold more than it stay.

        Of an array whose metadata are missing or damaged it is not known which these are, so they
        stay: who drops has no need of the array, and whoever reads it says that it is damaged.
        """
        try:
            info = self.info(name)
        except StoreError:
            return
        for file in files_of(info, box):
            path = f"{name}/{file.key}"
            if file.box.intersect(box) != file.box:
                continue
            if self.is_local:
                self.drop(path)
            else:
                # one request; `drop` looks first whether it is a folder
                with suppress(FileNotFoundError):
                    self._fs.rm(self._path(path), recursive=False)


def _kind(name: str) -> str:
    """What a blob is, as its points are named."""
    if name.startswith("done/"):
        return "marker"
    return "table" if name.endswith(".npz") else "metadata" if name.endswith(_ARRAY) else "blob"
