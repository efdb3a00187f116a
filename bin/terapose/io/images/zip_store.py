"""The members of a ZIP archive as a store of zarr."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from terapose.io.documents import MOST_BYTES
from terapose.io.images.zips import Archive


class Members(Store):
    """The members of an archive as zarr reads them; ``most`` is what one may have, in bytes."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, archive: Archive) -> None:
        super().__init__(read_only=True)
        self._archive = archive
        self.most = MOST_BYTES

    def __eq__(self, other: object) -> bool:
        """Whether it is the same archive."""
        return isinstance(other, Members) and other._archive.address == self._archive.address

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a member or a part of it."""
        content = await asyncio.to_thread(self._get, key, byte_range)
        return None if content is None else prototype.buffer.from_bytes(content)

    def _get(self, key: str, part: ByteRequest | None) -> bytes | None:
        member = self._archive.members.get(key)
        if member is None or part is None:
            return self._archive.read(key, self.most)
        if isinstance(part, RangeByteRequest):
            return self._archive.read_part(key, part.start, part.end, self.most)
        if isinstance(part, OffsetByteRequest):
            return self._archive.read_part(key, part.offset, member.size, self.most)
        assert isinstance(part, SuffixByteRequest)
        start = max(0, member.size - part.suffix)
        return self._archive.read_part(key, start, member.size, self.most)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read parts of several members."""
        parts = (self.get(key, prototype, part) for key, part in key_ranges)
        return list(await asyncio.gather(*parts))

    async def exists(self, key: str) -> bool:
        """Whether there is such a member."""
        return key in self._archive.members

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise NotImplementedError

    async def list(self) -> AsyncIterator[str]:
        """Names of all members."""
        for name in self._archive.members:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Names of members that begin with a prefix."""
        for name in self._archive.members:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of members and folders in a folder."""
        start = f"{prefix.strip('/')}/".lstrip("/")
        inside = (n.removeprefix(start) for n in self._archive.members if n.startswith(start))
        for name in dict.fromkeys(name.split("/")[0] for name in inside):
            yield name
