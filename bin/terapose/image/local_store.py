"""A folder as a store of zarr that waits for no pipe and reads no device."""

from __future__ import annotations

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from terapose.documents import refuse_special


class Folder(LocalStore):
    """A folder on a local disk, of which files are read and nothing else."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file or a part of it."""
        refuse_special(self.root / key)
        return await super().get(key, prototype, byte_range)
