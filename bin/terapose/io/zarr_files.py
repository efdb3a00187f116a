"""The files of Zarr arrays, watched as they are read and written."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, StorePath, WrapperStore

from terapose.io.checksums import crc32c, framed, unframed
from terapose.io.drivers import asked
from terapose.io.files import point
from terapose.io.object_files import files_on
from terapose.io.own_files import confirm, discard, make_way

_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs")
Noted = dict[str, int | None]
"""CRC-32C of files that were written, by their keys; None of those that were removed."""


class ChunkMissingError(FileNotFoundError):
    """A chunk that should be there is not."""


class Watched(WrapperStore[ZarrStore]):
    """A Zarr store that names the points of writes, and says what is missing.

    Parameters
    ----------
    store
        Where the files are.
    noted
        Takes the checksums of what is written and removed.
    complete
        Whether each chunk has to be there when it is read.
    replaces
        Whether files of voxels are written as a whole and never read: Zarr reads a file of several
        chunks before it writes it, even all of it, and one that is damaged would end that.
    """

    def __init__(
        self,
        store: ZarrStore,
        noted: Noted | None = None,
        *,
        complete: bool = False,
        replaces: bool = False,
    ) -> None:
        super().__init__(store)
        self._noted, self._complete, self._replaces = noted, complete, replaces

    def _with_store(self, store: ZarrStore) -> Watched:
        return type(self)(store, self._noted, complete=self._complete, replaces=self._replaces)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file."""
        if self._replaces and not key.endswith(_DOCUMENTS):
            return None
        found = await self._store.get(key, prototype, byte_range)
        if found is None and self._complete and not key.endswith("zarr.json"):
            raise ChunkMissingError(key)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        point("chunk: before it is written")
        await self._store.set(key, value)
        point("chunk: after it is written")
        if self._noted is not None:
            self._noted[key] = crc32c(value.to_bytes())

    async def delete(self, key: str) -> None:
        """Remove a file."""
        await self._store.delete(key)
        if self._noted is not None:
            self._noted[key] = None


class Sealed(Watched):
    """The files of an array of `terapose.io.store`: each ends in a checksum (`framed`).

    Parameters
    ----------
    store
        Where the files are.
    name
        Of the array and its run, part of what the checksums are of.
    address
        Of the array, for messages.
    """

    def __init__(self, store: ZarrStore, name: str, address: str) -> None:
        super().__init__(store, complete=True)
        self._name, self._address = name, address

    def _with_store(self, store: ZarrStore) -> Sealed:
        return type(self)(store, self._name, self._address)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a chunk.

        Raises
        ------
        StoreError
            If it is not the one that was written here.
        """
        found = await super().get(key, prototype, byte_range)
        if found is None:
            return None
        content = unframed(found.to_bytes(), f"{self._name}/{key}", f"{self._address}/{key}")
        return prototype.buffer.from_bytes(content)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a chunk."""
        content = framed(value.to_bytes(), f"{self._name}/{key}")
        await super().set(key, type(value).from_bytes(content))


class Asked(WrapperStore[ZarrStore]):
    """A Zarr store on an object store, of which whatever a driver says is one sentence.

    Parameters
    ----------
    store
        Where the files are.
    address
        Of the array, for messages.
    """

    def __init__(self, store: ZarrStore, address: str) -> None:
        super().__init__(store)
        self._address = address

    def _with_store(self, store: ZarrStore) -> Asked:
        return type(self)(store, self._address)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file; None where there is none."""
        with asked(self._address):
            return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        with asked(self._address):
            await self._store.set(key, value)

    async def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with asked(self._address):
            await self._store.delete(key)


class OwnChunks(LocalStore):
    """The files of a Zarr array on a local disk, under the rules of `terapose.io.own_files`."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file; None where there is none."""
        try:
            await asyncio.to_thread(confirm, str(self.root), key)
        except FileNotFoundError:
            return None
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        await asyncio.to_thread(make_way, str(self.root), key)
        await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            await asyncio.to_thread(discard, str(self.root), key)


def zarr_store(address: str) -> ZarrStore:
    """The files at an address: a folder or a URL."""
    if "://" in address:
        return Asked(files_on(address), address)
    return OwnChunks(Path(address))


def array_of(document: dict[str, Any], address: str, name: str) -> zarr.Array[Any]:
    """An array whose metadata are known and whose chunks are all there, those of zeros too."""
    place = StorePath(Sealed(zarr_store(address), name, address))
    return zarr.Array.from_dict(place, document).with_config({"write_empty_chunks": True})


def open_sparse(
    address: str, noted: Noted | None = None, *, replaces: bool = False
) -> zarr.Array[Any]:
    """An array of which chunks of nothing but 0 are not written, and removed where they were.

    Parameters
    ----------
    address, noted, replaces
        As of `Watched`; where the array is.
    """
    store = Watched(zarr_store(address), noted, replaces=replaces)
    return zarr.open_array(store, mode="r+", config={"write_empty_chunks": False})
