"""A folder as a store of zarr that waits for no pipe, reads no device and no endless file."""

from __future__ import annotations

from pathlib import Path

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from terapose.io.documents import MOST_BYTES, refuse_large, refuse_special


class Folder(LocalStore):
    """A folder on a local disk, of which files of up to ``most`` bytes are read, and nothing else.

    A file with holes takes no room on the disk and has any length.
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self.most = MOST_BYTES

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file or a part of it."""
        path = self.root / key
        refuse_special(path)
        refuse_large(path, self.most)
        return await super().get(key, prototype, byte_range)
