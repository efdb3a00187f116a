"""Shards of Zarr arrays whose index is looked at before chunks are read by it.

Zarr takes whatever the index says: a chunk that begins behind the end of the shard is taken for one
that is missing and filled with the fill value, and so are all chunks of a shard of no bytes. Chunks
are written one after another, says the specification of sharding, with or without room between
them: an index in which two share bytes was made by no writer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from zarr.abc.store import ByteGetter, ByteRequest, RangeByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, BufferPrototype, NDBuffer

_MISSING = np.uint64(2**64 - 1)


class Shards(ShardingCodec):
    """The codec, with an index that is looked at, and chunks that are read as a whole."""

    async def _decode_shard_index(
        self, index_bytes: Buffer, chunks_per_shard: tuple[int, ...]
    ) -> Any:
        index = await super()._decode_shard_index(index_bytes, chunks_per_shard)
        _check(np.asarray(index.offsets_and_lengths).reshape(-1, 2))
        return index

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: Any, shard_spec: ArraySpec
    ) -> NDBuffer | None:
        return await super()._decode_partial_single(_Whole(byte_getter), selection, shard_spec)


def _check(index: np.ndarray[Any, Any]) -> None:
    """Raise ValueError if an index, shape (chunks, 2), has offsets and lengths of no writer."""
    missing = index == _MISSING
    there = index[~missing.any(axis=1)]
    if (missing[:, 0] != missing[:, 1]).any() or (there[:, 1] == 0).any():
        raise ValueError("the index of the shard has a chunk of no bytes, or without a place")
    starts, lengths = there[there[:, 0].argsort(kind="stable")].T
    ends = starts + lengths
    if (ends < starts).any() or (starts[1:] < ends[:-1]).any():
        raise ValueError("the index of the shard has chunks that share bytes with others")


@dataclass(frozen=True)
class _Whole:
    """Bytes of a shard, which are there as many as were asked for."""

    own: ByteGetter

    async def get(
        self, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read the shard, or a part of it; None if there is none."""
        found = await self.own.get(prototype, byte_range)
        least = 1
        if isinstance(byte_range, RangeByteRequest):
            least = byte_range.end - byte_range.start
        if found is not None and len(found) < least:
            raise ValueError(f"the shard ends too soon: {len(found)} bytes in place of {least}")
        return found
