"""Codecs of Zarr arrays that unpack no more than a chunk may have.

Zarr hands a compressed chunk to its codec and looks at the size of what comes out when it is there.
Here each codec that compresses is replaced, in an array that has been opened, by one that stops at
what a chunk may have (`terapose.io.images.unpack.most_of`), inside of shards, too, whose index is
looked at (`terapose.io.images.zarr_shards`). Codecs that are
not known are refused: what they would make of a chunk cannot be said (and one of version 2 is
Python's pickle, which runs what it reads).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.registry import get_pipeline_class

from terapose.core.errors import InputError
from terapose.io.images import unpack
from terapose.io.images.zarr_shards import Shards

Unpack = Callable[[bytes, int], bytes]

_UNPACK: dict[str, Unpack] = {
    "gzip": unpack.from_gzip,
    "zlib": unpack.from_gzip,
    "bz2": unpack.from_bzip2,
    "zstd": unpack.from_zstd,
    "blosc": unpack.from_blosc,
    "lz4": unpack.from_lz4,
}
_SAME_SIZE = (
    "adler32",
    "astype",
    "bitround",
    "bytes",
    "crc32",
    "crc32c",
    "delta",
    "fixedscaleoffset",
    "fletcher32",
    "jenkins_lookup3",
    "packbits",
    "quantize",
    "shuffle",
    "transpose",
)
"""Codecs that make no more of a chunk than eight times what is stored."""
_WIDEST = 8


def bound(address: str, array: Any) -> int:
    """Let the codecs of an opened array unpack no more than its chunks may have.

    Parameters
    ----------
    address
        For messages.
    array
        A `zarr.Array`, which is changed.

    Returns
    -------
    int
        The most bytes that a chunk, or a shard, may have on the disk.

    Raises
    ------
    InputError
        If one of the codecs is not known.
    """
    itemsize = array.dtype.itemsize
    metadata = array.metadata
    pipeline = array.async_array.codec_pipeline
    if metadata.zarr_format == 2:
        most = unpack.most_of(math.prod(array.chunks), _WIDEST if metadata.filters else itemsize)
        (codec,) = pipeline
        filters = metadata.filters or ()
        codecs: Sequence[Codec] = [
            replace(
                codec,
                filters=tuple(_of_version_2(address, one, most) for one in filters) or None,
                compressor=metadata.compressor
                and _of_version_2(address, metadata.compressor, most),
            )
        ]
    else:
        most = unpack.most_of(math.prod(array.shards or array.chunks), itemsize)
        codecs = _of_version_3(address, tuple(pipeline), most, itemsize)
    bounded = get_pipeline_class().from_codecs(codecs)
    # the array is frozen, and makes its pipeline of its metadata, which know no such codecs
    object.__setattr__(array.async_array, "codec_pipeline", bounded)
    return most


def _of_version_3(
    address: str, codecs: Sequence[Codec], most: int, itemsize: int
) -> tuple[Codec, ...]:
    found: list[Codec] = []
    for codec in codecs:
        name, settings = _named(codec.to_dict())
        if isinstance(codec, ShardingCodec):
            inner = unpack.most_of(math.prod(codec.chunk_shape), itemsize)
            index = unpack.most_of(1, 16 * (most // math.prod(codec.chunk_shape) + 1))
            codec = Shards(
                chunk_shape=codec.chunk_shape,
                codecs=_of_version_3(address, codec.codecs, inner, itemsize),
                index_codecs=_of_version_3(address, codec.index_codecs, index, 1),
                index_location=codec.index_location,
            )
        elif name in _UNPACK or name == "lzma":
            codec = Bounded(codec, _unpacker(name, settings), most)
        elif name not in _SAME_SIZE:
            raise _unknown(address, name)
        found.append(codec)
    return tuple(found)


def _of_version_2(address: str, codec: Any, most: int) -> Any:
    name, settings = codec.codec_id, codec.get_config()
    if name in _UNPACK or name == "lzma":
        return _BoundedOld(_unpacker(name, settings), most)
    if name not in _SAME_SIZE:
        raise _unknown(address, name)
    return codec


def _named(stored: Any) -> tuple[str, dict[str, Any]]:
    """Name of a codec of version 3, without the prefix of numcodecs', and its settings."""
    return str(stored["name"]).removeprefix("numcodecs."), stored.get("configuration") or {}


def _unpacker(name: str, settings: dict[str, Any]) -> Unpack:
    if name != "lzma":
        return _UNPACK[name]
    form = int(settings.get("format", 1))
    return partial(unpack.from_xz, format=form, filters=settings.get("filters"))


def _unknown(address: str, name: str) -> InputError:
    return InputError(
        "the Zarr array is encoded in a way that cannot be read",
        where=address,
        got=name,
        allowed=", ".join([*_UNPACK, "lzma", *_SAME_SIZE, "sharding"]),
        remedy="write it again, for example with zstd",
    )


@dataclass(frozen=True)
class Bounded(BytesBytesCodec):
    """A codec of version 3 that unpacks up to ``most`` bytes in place of another one."""

    own: Any
    unpack: Unpack
    most: int

    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        """As the codec whose place it takes."""
        stored: dict[str, Any] = self.own.to_dict()
        return stored

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Not known before it is encoded."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        content = await asyncio.to_thread(self.unpack, chunk_data.to_bytes(), self.most)
        return chunk_spec.prototype.buffer.from_bytes(content)


class _BoundedOld:
    """A codec of version 2 that unpacks up to ``most`` bytes in place of another one."""

    def __init__(self, unpacker: Unpack, most: int) -> None:
        self._unpack, self._most = unpacker, most

    def decode(self, buf: Any) -> bytes:
        """Unpack a chunk."""
        return self._unpack(bytes(buf), self._most)
