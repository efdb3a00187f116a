"""A store that keeps what some stages leave in memory, for a process that runs all stages.

What leads from flows to labels (`STAGES`) is needed by the next stages alone, and making it again
takes little beside the network. Where one process runs them all, writing it would be compression,
checksums and files for nothing. So their arrays, tables and markers are in memory, and end with the
process: a run that goes on from the same store finds no marker of theirs, and does them again. All
else is in the store, as in any run, and what another run has left there of these stages is used.

Flows are in the store, because another threshold starts from them, and in memory as well: three
stages read them. Of the sums of the passes and what is made of them, these are the last that were
written; what this process has not written is read from the store.

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
_FLOWS = ("gradients-", "combine-")
"""What names of arrays with flows begin with."""

_T = TypeVar("_T")


def bytes_held(voxels: int) -> int:
    """Bytes of what is held at the same time beside flows.

    Parameters
    ----------
    voxels
        Of the image: a displacement (three int16), a count (int32) and a label (uint32) each.
    """
    return (3 * 2 + 4 + 4) * voxels


class _Flows:
    """An array with flows, as far as it has been written here.

    Parameters
    ----------
    name, info
        Its name in the store and its metadata.
    """

    def __init__(self, name: str, info: ArrayInfo) -> None:
        self.name = name
        self._edges = info.chunks[-3:]
        self._values = np.zeros(info.shape, info.dtype)
        counts = [-(-n // edge) for n, edge in zip(info.shape[-3:], self._edges, strict=True)]
        self._written = np.zeros(counts, bool)

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Take whole chunks."""
        self._values[(Ellipsis, *box.slices)] = values
        self._written[self._chunks(box)] = True

    def read(self, box: Box) -> NDArray[Any] | None:
        """A box; None if not all of it was written."""
        if not self._written[self._chunks(box)].all():
            return None
        return self._values[(Ellipsis, *box.slices)].copy()

    def _chunks(self, box: Box) -> tuple[slice, ...]:
        return tuple(
            slice(a // edge, -(-b // edge))
            for a, b, edge in zip(box.start, box.stop, self._edges, strict=True)
        )


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
        self._flows: _Flows | None = None

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
        known = "" if self._flows is None else self._flows.name
        if f"{known}/".startswith(f"{name}/") or name.startswith(f"{known}/"):
            self._flows = None
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
            flows = self._flows
            found = flows.read(box) if flows is not None and flows.name == name else None
            return super()._read(name, info, box) if found is None else found
        return self._arrays[name][(Ellipsis, *box.slices)].copy()

    def missing(self, name: str, box: Box) -> list[Box]:
        """The boxes of the files of an array in a ZYX box that are not there."""
        return [] if name in self._arrays else super().missing(name, box)

    def write(self, name: str, box: Box, values: NDArray[Any]) -> int:
        """Write a ZYX box of an array; returns the CRC-32 of the bytes, as `Store.write`."""
        if name not in self._arrays:
            checksum = super().write(name, box, values)
            if name.startswith(_FLOWS):
                if self._flows is None or self._flows.name != name:
                    self._flows = _Flows(name, self.info(name))
                self._flows.write(box, values)
            return checksum
        self._arrays[name][(Ellipsis, *box.slices)] = values
        return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)
