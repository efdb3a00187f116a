"""What the metadata of a store's array say, and its chunks as bytes.

Chunks are those of Zarr, version 3, but for the checksums at their ends: one grid of chunks,
little-endian numbers, Blosc. A chunk at the end of an axis is a whole one, padded with zeros. On an
object store each is a file, and Zarr reads and writes them. On a local disk several can be one
file, which Zarr does not know (`terapose.io.store.chunks`): the key ``packs`` of the metadata says
so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numcodecs import blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

# of many threads that decode chunks each would start its own
blosc.use_threads = False

_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")


class Codec(NamedTuple):
    """How chunks are compressed within Blosc."""

    name: str
    level: int
    shuffle: str


FLOAT = Codec("lz4", 1, "shuffle")
"""Of flows, which are nearly noise: no larger than by Zstandard, and three times as fast."""
INTEGER = Codec("zstd", 3, "shuffle")
"""Of labels, counts and displacements: long runs."""
TABLE = Zstd(1)
"""Of tables: ten times as fast as NumPy's own, and no larger."""


Packs = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Where packs of chunks end, along each axis: at all multiples of these numbers of voxels, which
are themselves multiples of the chunk's edge."""


def document_of(
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: str,
    codec: Codec,
    packs: Packs | None = None,
) -> dict[str, Any]:
    """Zarr's metadata of an array, without attributes.

    Parameters
    ----------
    shape, chunks, dtype
        As of `zarr.create_array`; a chunk is no larger than the array.
    codec
        How chunks are compressed.
    packs
        Which chunks share a file; None: none.
    """
    edges = [min(c, s) for c, s in zip(chunks, shape, strict=True)]
    number = np.dtype(dtype)
    packed = {
        "typesize": number.itemsize,
        "cname": codec.name,
        "clevel": codec.level,
        "shuffle": codec.shuffle,
        "blocksize": 0,
    }
    order = {} if number.itemsize == 1 else {"configuration": {"endian": "little"}}
    return {
        "shape": list(shape),
        "data_type": number.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": edges}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if number.kind == "f" else 0,
        "codecs": [{"name": "bytes", **order}, {"name": "blosc", "configuration": packed}],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
        **({} if packs is None else {"packs": [list(numbers) for numbers in packs]}),
    }


@dataclass(frozen=True)
class ArrayInfo:
    """An array of a store, as its metadata, ``document``, describe it."""

    document: dict[str, Any]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: blosc.Blosc
    packs: tuple[tuple[int, ...], ...] | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> ArrayInfo:
        """Read metadata that `document_of` has made."""
        packed = document["codecs"][-1]["configuration"]
        codec = blosc.Blosc(
            packed["cname"],
            packed["clevel"],
            _SHUFFLES.index(packed["shuffle"]),
            packed["blocksize"],
            typesize=packed["typesize"],
        )
        chunks = document["chunk_grid"]["configuration"]["chunk_shape"]
        dtype = np.dtype(document["data_type"]).newbyteorder("<")
        packs = document.get("packs")
        shared = None if packs is None else tuple(map(tuple, packs))
        return cls(document, tuple(document["shape"]), tuple(chunks), dtype, codec, shared)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def decode(self, data: bytes) -> NDArray[Any]:
        """A whole chunk, from what its file contains.

        Raises
        ------
        RuntimeError, ValueError
            If it cannot be decoded, or is not of a chunk's size.
        """
        return np.frombuffer(self.codec.decode(data), self.dtype).reshape(self.chunks)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """The content of the file of a whole chunk."""
        flat = np.ascontiguousarray(chunk, self.dtype).reshape(-1)
        return bytes(self.codec.encode(flat.view(np.uint8)))
