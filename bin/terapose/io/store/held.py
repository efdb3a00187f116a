"""A store that keeps what some stages leave in memory, for a process that runs all stages.

What leads from flows to labels (`STAGES`) is needed by the next stages alone, and making it again
takes little beside the network. Where one process runs them all, writing it would be compression,
checksums and files for nothing. So their arrays, tables and markers are in memory, and end with the
process: a run that goes on from the same store finds no marker of theirs, and does them again. All
else is in the store, as in any run, and what another run has left there of these stages is used.

Arrays are not compressed: `bytes_held` says how large they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.io.store.arrays import FLOAT, ArrayInfo, Codec, Packs, document_of
from terapose.io.store.store import Store

STAGES = ("follow", "peaks", "masks")
"""The stages whose results are held."""
_OURS = tuple(f"{folder}{stage}-" for stage in STAGES for folder in ("", "done/"))

_T = TypeVar("_T")


def bytes_held(voxels: int) -> int:
    """Bytes of what is held at the same time.

    Parameters
    ----------
    voxels
        Of the image: a displacement (three int16), a count (int32) and a label (uint32) each.
    """
    return (3 * 2 + 4 + 4) * voxels


class HeldStore(Store):
    """A store of which some folders are in memory.

    Chunks that nobody has written are zeros here: whoever uses it has one process, in which each
    stage ends before the next one begins.

    Parameters
    ----------
    address, run
        As of `Store`.
    """

    def __init__(self, address: str, run: str = "") -> None:
        super().__init__(address, run)
        self._blobs: dict[str, bytes] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def _put(self, name: str, data: bytes) -> None:
        if name.startswith(_OURS):
            self._blobs[name] = data
        else:
            super()._put(name, data)

    def _checked(self, name: str, check: Callable[[bytes, str], _T]) -> _T:
        if name in self._blobs:
            return check(self._blobs[name], self.where(name))
        return super()._checked(name, check)

    def has(self, name: str) -> bool:
        """Whether a blob is there."""
        return name in self._blobs or super().has(name)

    def names(self, folder: str) -> list[str]:
        """Names of the complete blobs in a folder, itself in front of each; sorted."""
        start = f"{folder}/"
        inside = (n.removeprefix(start) for n in self._blobs if n.startswith(start))
        held = {start + name.partition("/")[0] for name in inside}
        return sorted({*held, *super().names(folder)})

    def drop(self, name: str) -> None:
        """Remove a blob, an array or a folder; nothing happens if it is not there."""
        super().drop(name)
        for held in (self._blobs, self._arrays):
            for key in [key for key in held if key == name or key.startswith(f"{name}/")]:
                del held[key]

    def create(
        self,
        name: str,
        shape: Sequence[int],
        chunks: Sequence[int],
        dtype: str,
        codec: Codec = FLOAT,
        packs: Packs | None = None,
    ) -> None:
        """Make an array, as `Store.create`; where it is there, nothing is changed."""
        if not name.startswith(_OURS):
            super().create(name, shape, chunks, dtype, codec, packs)
        elif name not in self._arrays:
            self._known[name] = ArrayInfo.of(document_of(shape, chunks, dtype, codec))
            self._arrays[name] = np.zeros(shape, dtype)

    def _read(self, name: str, info: ArrayInfo, box: Box) -> NDArray[Any]:
        if name not in self._arrays:
            return super()._read(name, info, box)
        return self._arrays[name][(Ellipsis, *box.slices)].copy()

    def missing(self, name: str, box: Box) -> list[Box]:
        """The boxes of the files of an array in a ZYX box that are not there."""
        return [] if name in self._arrays else super().missing(name, box)

    def write(self, name: str, box: Box, values: NDArray[Any]) -> int:
        """Write a ZYX box of an array; returns the CRC-32 of the bytes, as `Store.write`."""
        if name not in self._arrays:
            return super().write(name, box, values)
        self._arrays[name][(Ellipsis, *box.slices)] = values
        return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)
