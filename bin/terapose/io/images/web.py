"""Reads from web servers no more than was asked for, whatever they send.

A server may send more than it said, without an end, or compressed so that it unpacks to gigabytes;
one that does not know ranges sends the whole file. fsspec takes all of it into memory. So the
answers to its client end where the range ends that was asked for.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp

from terapose.io.documents import MOST_BYTES

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _Answer(aiohttp.ClientResponse):
    """An answer of which no more is read than was asked for."""

    async def read(self) -> bytes:
        """Read it, up to the end of the range, or of the largest document where there is none.

        Raises
        ------
        ValueError
            If the server sends another part of the file than was asked for, or an answer without
            a range is too long.
        """
        if self._body is None:
            self._body = await self._bounded()
        return self._body

    async def _bounded(self) -> bytes:
        start, most = _asked(self.request_info.headers.get("Range", ""))
        if start and self.status == 200:
            self.close()
            raise ValueError("the server cannot send parts of files")
        parts, size = [], 0
        async for part in self.content.iter_chunked(2**16):
            parts.append(part)
            size += len(part)
            if most is None and size > MOST_BYTES:
                self.close()
                raise ValueError(f"the server sends more than {MOST_BYTES} bytes")
            if most is not None and size > most:
                self.close()
                break
        return b"".join(parts)[:most]


def _asked(header: str) -> tuple[int, int | None]:
    """Where the range that was asked for starts, and its length; None if it has no end."""
    found = _RANGE.fullmatch(header)
    if found is None:
        return 0, None
    start, stop = found.groups()
    if not start:  # the last bytes: not 0, so that the whole file is not taken for them
        return 1, int(stop)
    return int(start), int(stop) - int(start) + 1 if stop else None


async def client(**options: Any) -> aiohttp.ClientSession:
    """A client for fsspec (``get_client``)."""
    return aiohttp.ClientSession(response_class=_Answer, **options)
