"""A folder or a prefix of an object store as a store of zarr that notes what is read of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from terapose.image import address as addresses
from terapose.image.local_store import Folder


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
        super().__init__(self._folder or FsspecStore.from_url(address, read_only=True))
        self._address, self._touched = address, touched

    def limit(self, most: int) -> None:
        """Read files of up to ``most`` bytes; a server sends what it has."""
        if self._folder is not None:
            self._folder.most = most

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file or a part of it."""
        self._touched.add(addresses.join(self._address, key))
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read parts of several files."""
        parts = list(key_ranges)
        self._touched.update(addresses.join(self._address, key) for key, _ in parts)
        return await super().get_partial_values(prototype, parts)
