"""A folder or a prefix of an object store as a store of zarr that notes what is read of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from terapose.io.documents import MOST_BYTES, too_large
from terapose.io.images import address as addresses
from terapose.io.images.local_store import Folder
from terapose.io.object_files import files_on


class Noted(WrapperStore[Any]):
    """The files of an array; every file that is asked for is noted, also one that is not there.

    Parameters
    ----------
    address
        Of the array: a path or a URL.
    touched
        Takes the addresses of the files.
    """

    def __init__(self, address: str, touched: set[str]) -> None:
        self._folder = None if addresses.is_url(address) else Folder(address)
        super().__init__(self._folder or _on_server(address))
        self._address, self._touched, self._most = address, touched, MOST_BYTES
        self._is_signed = bool(addresses.signed(address)[1])

    @property
    def most(self) -> int:
        """Bytes that a file may have."""
        return self._most

    @most.setter
    def most(self, most: int) -> None:
        self._most = most
        if self._folder is not None:
            self._folder.most = most

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file or a part of it."""
        place = addresses.join(self._address, key)
        self._touched.add(place)
        if self._folder is not None:
            return await super().get(key, prototype, byte_range)
        # a server is asked for a byte more than there may be, not for all that it has
        asked = place if self._is_signed else key
        content = await super().get(asked, prototype, _ending(byte_range, self._most + 1))
        if content is not None and len(content) > self._most:
            raise too_large(place, len(content), self._most)
        return content

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read parts of several files."""
        parts = (self.get(key, prototype, part) for key, part in key_ranges)
        return list(await asyncio.gather(*parts))


def _ending(wanted: ByteRequest | None, most: int) -> ByteRequest:
    """What is requested, but no more than so many bytes of it."""
    if isinstance(wanted, RangeByteRequest):
        return RangeByteRequest(wanted.start, min(wanted.end, wanted.start + most))
    if isinstance(wanted, SuffixByteRequest):
        return SuffixByteRequest(min(wanted.suffix, most))
    start = wanted.offset if isinstance(wanted, OffsetByteRequest) else 0
    return RangeByteRequest(start, start + most)


def _on_server(address: str) -> FsspecStore:
    if not address.startswith(("http://", "https://")):
        return files_on(address, read_only=True)
    place, query = addresses.signed(address)
    options = addresses.options_of(address)
    store = FsspecStore.from_url(place, storage_options=options, read_only=True)
    # what signs a URL comes after the key: such a store is asked for whole addresses
    return FsspecStore(store.fs, path="", read_only=True) if query else store
