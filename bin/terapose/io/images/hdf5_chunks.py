"""Looks at chunks of an HDF5 dataset before HDF5 unpacks them.

HDF5 takes as much memory as a chunk unpacks to, whatever the dataset's chunks should have; and
where a chunk unpacks to less, it reads on in whatever its memory contains behind it. So a chunk is
looked at first: what it has on the disk, what the header of the compression says, and where that
has no header (gzip, bzip2, LZF) what it unpacks to, up to the size that it may have. Those are
unpacked twice then.
"""

from __future__ import annotations

import bz2
import math
import struct
import zlib
from collections.abc import Callable
from itertools import product
from typing import Any

from terapose.io.images.hdf5_filters import CHECKSUM, NBIT, SCALE, SHUFFLE, pipeline
from terapose.io.images.joined import Index
from terapose.io.images.unpack import most_of

_GZIP, _SZIP, _LZF = 1, 4, 32000
_BZIP2, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD, _BLOSC2 = 307, 32001, 32004, 32008, 32015, 32026
_CHECKSUM_BYTES = 4
_SCALE_HEADER = 21


def check_chunks(dataset: Any, region: Index, whole: set[tuple[str, str]]) -> None:
    """Look at the chunks of a region.

    Parameters
    ----------
    dataset
        A dataset of one filter that compresses, at most.
    region
        Slices of step 1, or numbers, one for each axis.
    whole
        Takes files and names of datasets without filters all of whose chunks were looked at.

    Raises
    ------
    ValueError
        If a chunk is, or unpacks to, more than it may, or less than it should.
    """
    codes = pipeline(dataset)
    if not dataset.chunks or dataset.is_virtual:
        return
    if not codes:
        # to find one chunk HDF5 looks at all of them
        name = (dataset.file.filename, dataset.name)
        if name not in whole:
            _check_plain(dataset)
            whole.add(name)
        return
    spans = []
    for part, edge in zip(region, dataset.chunks, strict=True):
        start, stop = (part, part + 1) if isinstance(part, int) else (part.start, part.stop)
        spans.append(range(start // edge * edge, stop, edge))
    for place in product(*spans):
        stored = dataset.id.get_chunk_info_by_coord(place)
        if stored.byte_offset is not None:
            _check(dataset, codes, place, stored)


def _check_plain(dataset: Any) -> None:
    """Look at all chunks of a dataset without filters."""
    least = math.prod(dataset.chunks) * dataset.id.get_type().get_size()

    def look(stored: Any) -> None:
        _refuse_less(stored.chunk_offset, stored.size, least)

    if dataset.id.get_num_chunks():
        dataset.id.chunk_iter(look)


def _check(dataset: Any, codes: list[int], place: tuple[int, ...], stored: Any) -> None:
    """Look at one chunk, from what is on the disk to the voxels, filter by filter."""
    voxels, itemsize = math.prod(dataset.chunks), dataset.id.get_type().get_size()
    most, least = most_of(voxels, itemsize), voxels * itemsize
    _refuse_more(place, stored.size, most)
    content = _Content(stored.size, lambda: dataset.id.read_direct_chunk(place)[1])
    # what a filter would have made longer is stored without it
    applied = [code for n, code in enumerate(codes) if not stored.filter_mask >> n & 1]
    for code in reversed(applied):
        if code == CHECKSUM:
            content = content.without_checksum()
        elif code == NBIT:
            least = -(-voxels * dataset.id.get_type().get_precision() // 8)
        elif code == SCALE:
            is_shuffled = SHUFFLE in applied[applied.index(SCALE) :]
            bits = content.scale_bits(itemsize if is_shuffled else 1)
            least = _SCALE_HEADER + -(-voxels * bits // 8)
        elif code in _UNPACKED:
            try:
                content = _UNPACKED[code](content, most)
            except Exception:
                if stored.size == least and _is_at_the_end(dataset, place):
                    return  # writers may leave these as they are: HDF5 knows
                raise
            _refuse_more(place, content.size, most)
        elif code != SHUFFLE:
            return  # nobody here knows what it becomes
        if code in (NBIT, SCALE):
            break
    _refuse_less(place, content.size, least)


def _refuse_more(place: tuple[int, ...], size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"the chunk at {place} has more than the {most} bytes that it may")


def _refuse_less(place: tuple[int, ...], size: int, least: int) -> None:
    if size < least:
        raise ValueError(f"the chunk at {place} has {size} bytes, where it should have {least}")


def _is_at_the_end(dataset: Any, place: tuple[int, ...]) -> bool:
    """Whether a chunk reaches beyond the dataset."""
    ends = zip(place, dataset.chunks, dataset.shape, strict=True)
    return any(start + edge > length for start, edge, length in ends)


class _Content:
    """What a chunk has between two filters.

    Parameters
    ----------
    size
        Bytes that it has.
    read
        Gives them, or the first of them; none where only a header was read.
    """

    def __init__(self, size: int, read: Callable[[], bytes]) -> None:
        self.size, self._read = size, read

    def bytes(self) -> bytes:
        """What is in it, as far as it is known."""
        return self._read()[: max(self.size, 0)]

    def without_checksum(self) -> _Content:
        """The same, without the checksum at the end, which HDF5 compares."""
        return _Content(self.size - _CHECKSUM_BYTES, self._read)

    def scale_bits(self, itemsize: int) -> int:
        """Bits that scale-offset says a voxel has; 0 where that is not known.

        Parameters
        ----------
        itemsize
            Of the numbers whose bytes were shuffled; 1 where none were.
        """
        content = self.bytes()
        if len(content) < _SCALE_HEADER:
            return 0
        # first come the first bytes of all numbers, then the second ones
        count = len(content) // itemsize
        places = [n % itemsize * count + n // itemsize for n in range(4)]
        return int.from_bytes(bytes(content[place] for place in places), "little")


def _known(unpacked: bytes) -> _Content:
    return _Content(len(unpacked), lambda: unpacked)


def _of_gzip(packed: _Content, most: int) -> _Content:
    return _known(zlib.decompressobj().decompress(packed.bytes(), most + 1))


def _of_bzip2(packed: _Content, most: int) -> _Content:
    return _known(bz2.BZ2Decompressor().decompress(packed.bytes(), most + 1))


def _of_lzf(packed: _Content, most: int) -> _Content:
    import imagecodecs

    try:
        return _known(bytes(imagecodecs.lzf_decode(packed.bytes(), out=most)))
    except imagecodecs.LzfError as error:
        if "not large enough" in str(error):
            return _Content(most + 1, bytes)
        raise


def _of_header(form: str, place: int = 0) -> Callable[[_Content, int], _Content]:
    def read(packed: _Content, most: int) -> _Content:
        return _Content(int(struct.unpack_from(form, packed.bytes(), place)[0]), bytes)

    return read


def _of_zstd(packed: _Content, most: int) -> _Content:
    """What the header of the frame says; the filter needs it."""
    head = packed.bytes()[:18]
    flags = head[4]
    width = (1 if flags & 32 else 0, 2, 4, 8)[flags >> 6]
    start = 5 + (not flags & 32) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(head[start : start + width], "little")
    return _Content(size + 256 if width == 2 else size, bytes)


_UNPACKED: dict[int, Callable[[_Content, int], _Content]] = {
    _GZIP: _of_gzip,
    _LZF: _of_lzf,
    _SZIP: _of_header("<I"),
    _BZIP2: _of_bzip2,
    _BLOSC: _of_header("<I", 4),
    _LZ4: _of_header(">Q"),
    _BITSHUFFLE: _of_header(">Q"),
    _ZSTD: _of_zstd,
    _BLOSC2: _of_header(">Q", 30),  # of its frame
}
"""By the filter, what a chunk becomes (of `most` bytes and one, if it is more)."""
