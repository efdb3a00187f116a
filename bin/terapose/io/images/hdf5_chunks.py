"""Looks at chunks of an HDF5 dataset before HDF5 unpacks them.

HDF5 takes as much memory as a chunk unpacks to, whatever the dataset's chunks should have. So a
chunk is looked at first: what it has on the disk, what the header of the compression says, and
where that has no header (gzip, bzip2, LZF) what it unpacks to, up to the size that it may have.
That is done twice then, and for gzip and LZF only where a chunk is large enough to become more than
`_HARMLESS`.
"""

from __future__ import annotations

import bz2
import math
import struct
import zlib
from collections.abc import Callable
from itertools import product
from typing import Any

from terapose.io.images.hdf5_filters import filters_of, pipeline
from terapose.io.images.joined import Index
from terapose.io.images.unpack import most_of

_HARMLESS = 2**28
_GZIP, _SZIP, _LZF = 1, 4, 32000
_BZIP2, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD = 307, 32001, 32004, 32008, 32015
_RATIO = {_GZIP: 1032, _LZF: 88}
"""Bytes that one byte can become."""


def check_chunks(dataset: Any, region: Index) -> None:
    """Look at the chunks of a region.

    Parameters
    ----------
    dataset
        A dataset of one filter that compresses, at most.
    region
        Slices of step 1, or numbers, one for each axis.

    Raises
    ------
    ValueError
        If a chunk is, or unpacks to, more than it may.
    """
    filters = filters_of(dataset)
    if not filters or not dataset.chunks or dataset.is_virtual:
        return
    code, place_of = filters[0], pipeline(dataset).index(filters[0])
    most = most_of(math.prod(dataset.chunks), dataset.dtype.itemsize)
    spans = []
    for part, edge in zip(region, dataset.chunks, strict=True):
        start, stop = (part, part + 1) if isinstance(part, int) else (part.start, part.stop)
        spans.append(range(start // edge * edge, stop, edge))
    for place in product(*spans):
        stored = dataset.id.get_chunk_info_by_coord(place)
        if stored.byte_offset is None:
            continue
        size = stored.size
        is_small = size * _RATIO.get(code, _HARMLESS + 1) <= _HARMLESS
        # what a filter would have made longer is stored without it
        is_packed = not stored.filter_mask >> place_of & 1
        if size <= most and is_packed and not is_small and code in _UNPACKED:
            size = _UNPACKED[code](dataset.id.read_direct_chunk(place)[1], most)
        if size > most:
            raise ValueError(f"the chunk at {place} has more than the {most} bytes that it may")


def _of_gzip(packed: bytes, most: int) -> int:
    return len(zlib.decompressobj().decompress(packed, most + 1))


def _of_bzip2(packed: bytes, most: int) -> int:
    return len(bz2.BZ2Decompressor().decompress(packed, most + 1))


def _of_lzf(packed: bytes, most: int) -> int:
    import imagecodecs

    try:
        return len(imagecodecs.lzf_decode(packed, out=most))
    except imagecodecs.LzfError as error:
        if "not large enough" in str(error):
            return most + 1
        raise


def _of_header(form: str, place: int = 0) -> Callable[[bytes, int], int]:
    def read(packed: bytes, most: int) -> int:
        return int(struct.unpack_from(form, packed, place)[0])

    return read


def _of_zstd(packed: bytes, most: int) -> int:
    """What the header of the frame says; 0 where it does not: the filter needs it."""
    flags = packed[4]
    width = (1 if flags & 32 else 0, 2, 4, 8)[flags >> 6]
    start = 5 + (not flags & 32) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(packed[start : start + width], "little")
    return size + 256 if width == 2 else size


_UNPACKED: dict[int, Callable[[bytes, int], int]] = {
    _GZIP: _of_gzip,
    _LZF: _of_lzf,
    _SZIP: _of_header("<I"),
    _BZIP2: _of_bzip2,
    _BLOSC: _of_header("<I", 4),
    _LZ4: _of_header(">Q"),
    _BITSHUFFLE: _of_header(">Q"),
    _ZSTD: _of_zstd,
}
"""By the filter, how many bytes a chunk becomes (`most` and one, if it is more)."""
