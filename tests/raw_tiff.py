"""TIFF written byte by byte, for what tifffile cannot write: tags and places of one's own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
_HERE = -1


@dataclass(frozen=True)
class Tag:
    """A tag whose value is bytes, or a number."""

    code: int
    kind: int
    count: int
    value: int | bytes


class RawTiff:
    """A little-endian TIFF that grows page by page, each plane after its directory.

    Parameters
    ----------
    header
        Bytes between the head of the file (8 bytes; 16 in a BigTIFF) and its first page.
    big
        Whether it is a BigTIFF.
    """

    def __init__(self, header: bytes = b"", *, big: bool = False) -> None:
        self._count, self._offset = ("Q", "Q") if big else ("H", "I")
        head = b"II+\0" + struct.pack("<HH", 8, 0) if big else b"II*\0"
        self._previous = len(head)
        self.content = bytearray(head + self._packed(self._offset, 0) + header)

    def page(
        self,
        plane: np.ndarray,
        tags: Sequence[Tag] = (),
        *,
        repeated: int = 1,
        data_last: bool = False,
    ) -> tuple[int, int]:
        """Add a page.

        Parameters
        ----------
        plane
            (Y, X); (samples, Y, X) for samples one after the other; (planes, Y, X) for a page that
            describes the first of several planes.
        tags
            Tags beside those of every page, or in place of them.
        repeated
            How many planes the data holds, where the directory tells of one.
        data_last
            Whether pixels come after the values of tags, not before them.

        Returns
        -------
        tuple of int
            Where its directory and its data are.
        """
        if len(self.content) % 2:
            self.content += b"\0"
        start, data = len(self.content), plane.tobytes()
        struct.pack_into(f"<{self._offset}", self.content, self._previous, start)
        samples = plane.shape[0] if plane.ndim == 3 and repeated == 1 else 1
        every = [*_usual(plane, samples, len(data) // repeated // samples), *tags]
        own = {tag.code: tag for tag in every}
        slot = struct.calcsize(f"<{self._offset}")
        entry = 4 + 2 * slot
        place = start + struct.calcsize(f"<{self._count}") + entry * len(own) + slot
        values = b""
        before = sum(_size(tag, slot) for tag in own.values()) if data_last else 0
        after = 0 if data_last else len(data) + len(data) % 2
        entries = b""
        for code in sorted(own):
            tag, value = own[code], own[code].value
            if value == _HERE:
                starts = [place + before + n * len(data) // samples for n in range(samples)]
                value = _list(code, LONG, starts).value
            if isinstance(value, int):
                value = struct.pack("<I", value)
            if len(value) > slot:
                where = place + after + len(values)
                values += value + b"\0" * (len(value) % 2)
                value = self._packed(self._offset, where)
            entries += struct.pack(f"<HH{self._offset}", tag.code, tag.kind, tag.count)
            entries += value.ljust(slot, b"\0")
        self.content += self._packed(self._count, len(own)) + entries
        self._previous = len(self.content)
        self.content += self._packed(self._offset, 0)
        self.content += values + data if data_last else data + b"\0" * (len(data) % 2) + values
        return start, place + before

    @staticmethod
    def _packed(letter: str, value: int) -> bytes:
        return struct.pack(f"<{letter}", value)


def text(code: int, value: str | bytes) -> Tag:
    """A tag of characters."""
    content = (value.encode() if isinstance(value, str) else value) + b"\0"
    return Tag(code, ASCII, len(content), content)


def _usual(plane: np.ndarray, samples: int, size: int) -> list[Tag]:
    """Tags of every page; ``size`` is the bytes of a strip."""
    high, wide = plane.shape[-2:]
    return [
        Tag(254, LONG, 1, 0),
        Tag(256, SHORT, 1, wide),
        Tag(257, SHORT, 1, high),
        _list(258, SHORT, [8 * plane.itemsize] * samples),
        Tag(259, SHORT, 1, 1),
        Tag(262, SHORT, 1, 1),
        Tag(273, LONG, samples, _HERE),
        Tag(274, SHORT, 1, 1),
        Tag(277, SHORT, 1, samples),
        Tag(278, SHORT, 1, high),
        _list(279, LONG, [size] * samples),
        Tag(284, SHORT, 1, 1 if samples == 1 else 2),
    ]


def _size(tag: Tag, slot: int) -> int:
    """Bytes of a tag's value outside of its directory."""
    size = 4 * tag.count if tag.value == _HERE else 0
    if isinstance(tag.value, bytes):
        size = len(tag.value)
    return size + size % 2 if size > slot else 0


def _list(code: int, kind: int, values: Sequence[int]) -> Tag:
    letter = {SHORT: "H", LONG: "I"}[kind]
    return Tag(code, kind, len(values), struct.pack(f"<{len(values)}{letter}", *values))
