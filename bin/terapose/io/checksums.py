"""Checksums (CRC-32C) of what is kept between tasks, and of what is handed to the user.

Whatever is read again is compared with its checksum, so damage is an error and never a result:

- a JSON document carries its content's under the key ``crc32c``: of the canonical text, so
  it may be indented or not;
- any other blob of the store, a chunk of an array too, ends in it, four bytes, little-endian;
- chunks of label images have Zstandard's frame checksum, which every reader of OME-Zarr knows.

In the store a checksum starts from the run and the file's name: whole files that took the
place of others are damage as well. So only `terapose.io.store.store.Store` can read these chunks.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c

from terapose.core.errors import StoreError
from terapose.io.documents import kind_of

KEY = "crc32c"
_SIZE = 4
_START = 0x7E8A
"""Before the name of a blob: the checksum of nothing is not 0 then, so zeros are damage."""
_BUFFER = 2**22


def crc32c(data: bytes, before: int = 0) -> int:
    """CRC-32C of bytes, going on from that of the bytes before them."""
    return int(google_crc32c.extend(before, data))


def of_file(path: Path) -> int:
    """CRC-32C of a file."""
    found = 0
    with path.open("rb") as file:
        while data := file.read(_BUFFER):
            found = crc32c(data, found)
    return found


def sealed(
    document: Mapping[str, Any], within: str | None = None, *, name: str = ""
) -> dict[str, Any]:
    """A JSON document with its checksum.

    Parameters
    ----------
    document
        The content.
    within
        Key of a part, not in the document yet, to put the checksum into: Zarr's metadata have no
        room for keys of others but in their attributes.
    name
        Of the file, where no other file may take its place.
    """
    seal = {KEY: f"{_of_document(document, name):08x}"}
    return {**document, **({within: seal} if within else seal)}


def unsealed(
    text: bytes | str,
    where: object,
    within: str | None = None,
    *,
    name: str = "",
    remedy: str | None = None,
) -> dict[str, Any]:
    """The document in a text, without its checksum.

    Parameters
    ----------
    text
        Of `sealed`.
    where
        For the message.
    within, name
        As in `sealed`.
    remedy
        What helps, if it is not to run again and nothing more.

    Raises
    ------
    StoreError
        If it is no JSON document, or not the one that was written.
    """
    try:
        document = json.loads(text)
        seal = document.pop(within)[KEY] if within else document.pop(KEY)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise damaged(where, f"not what was written ({type(error).__name__})", remedy) from error
    if seal != f"{_of_document(document, name):08x}":
        raise damaged(where, "a different checksum from the one recorded", remedy)
    content: dict[str, Any] = document
    return content


def read_sealed(path: Path, *, remedy: str | None = None) -> dict[str, Any]:
    """The document in a file that a task has left, without its checksum.

    Parameters
    ----------
    path
        The file; a link to one is followed, as Nextflow makes them.
    remedy
        As of `unsealed`.

    Raises
    ------
    StoreError
        As `unsealed`; or if something else is there, such as a pipe: reading it would wait for
        ever.
    OSError
        If it is not there, or cannot be read.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise damaged(path, kind_of(mode), remedy)
    return unsealed(path.read_bytes(), path, remedy=remedy)


def framed(data: bytes, name: str) -> bytes:
    """Bytes and their checksum, of a file with this name."""
    return data + _seal(data, name)


def unframed(data: bytes, name: str, where: object) -> bytes:
    """Bytes without their checksum.

    Raises
    ------
    StoreError
        If they are not those that were written under this name.
    """
    content, seal = data[:-_SIZE], data[-_SIZE:]
    if _seal(content, name) != seal:
        raise damaged(where, "a different checksum from the one recorded")
    return content


def _seal(data: bytes, name: str) -> bytes:
    return crc32c(data, crc32c(name.encode(), _START)).to_bytes(_SIZE, "little")


def damaged(where: object, got: str, remedy: str | None = None) -> StoreError:
    """What to say of something that is not as it was written."""
    return StoreError("is damaged", where=where, got=got, remedy=remedy or AGAIN)


AGAIN = "run again (the workflow with -resume) to compute what is damaged again"


def _of_document(document: Mapping[str, Any], name: str) -> int:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return crc32c(text.encode(), crc32c(name.encode()))
