"""OME-Zarr in one file: a Zarr hierarchy in a ZIP archive (`.zarr.zip`, or `.ozx` of RFC-9).

1. The directory at the end of the archive is read once: where each member is.
2. A member is read by its bytes in the archive, of a member that is not compressed only the bytes
   that are requested (an inner chunk of a shard). Nothing is unpacked to the disk.
3. What is read whole is compared with its checksum in the directory.

No file stays open, so threads and forked processes read at the same time. The root of the
hierarchy is the root of the archive, or its only folder that is a Zarr node. An address goes on
inside the archive: `plate.zarr.zip/A/1/0`. Archives at URLs are recognised by their suffix.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from terapose.core.errors import InputError, pass_on
from terapose.io.documents import MOST_BYTES
from terapose.io.images import address as addresses
from terapose.io.images import unpack
from terapose.io.images.identity import State, state_of

V3 = ("zarr.json",)
V2 = (".zgroup", ".zattrs", ".zarray")
MARKS = (*V3, *V2)
"""Documents of which a Zarr node has at least one."""

_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_URL = re.compile(r"(?i)(.+?\.(?:zip|ozx))(?:/(.*))?")
_DAMAGED = "the archive is damaged or incomplete, write or copy it again"
_HEADER = 30
# what members may have between their name and their bytes: more of it costs a second read
_EXTRA = 64
_SHOWN = 12
_AHEAD = 2**16
_ENCRYPTED = 1


_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: unpack.stored,
    zipfile.ZIP_DEFLATED: unpack.from_deflate,
    zipfile.ZIP_BZIP2: unpack.from_bzip2,
    93: unpack.from_zstd,
}


def _parents(path: str) -> set[str]:
    """All folders above a path, the root of the archive too."""
    parents = PurePosixPath(path).parents
    return {"" if str(parent) == "." else str(parent) for parent in parents}


class Member(NamedTuple):
    """Where a member is in the archive, and how it is stored."""

    header: int
    name_length: int
    packed: int
    size: int
    method: int
    checksum: int
    is_encrypted: bool


class Archive:
    """The members of a ZIP archive, by their names.

    Parameters
    ----------
    address
        Path or URL.

    Raises
    ------
    InputError
        If it cannot be read or is no whole archive.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._fs, self._path = addresses.filesystem(address)
        self._starts: dict[str, int] = {}
        try:
            with (
                self._fs.open(self._path, "rb", block_size=_AHEAD) as file,
                zipfile.ZipFile(file) as archive,
            ):
                entries = [one for one in archive.infolist() if one.orig_filename]
                end = file.seek(0, os.SEEK_END)
                if any(not 0 <= one.header_offset < end for one in entries):
                    raise ValueError(f"members that start after byte {end}, its end")
        except FileNotFoundError as error:
            raise InputError(
                "there is no such file", where=address, remedy="check the address"
            ) from error
        except Exception as error:  # of zipfile and of every driver
            pass_on(error)
            raise self._damaged(f"{type(error).__name__}: {error}") from error
        self.members = {
            entry.filename.replace("\\", "/").lstrip("/"): Member(
                entry.header_offset,
                len(entry.orig_filename.encode()),
                entry.compress_size,
                entry.file_size,
                entry.compress_type,
                entry.CRC,
                bool(entry.flag_bits & _ENCRYPTED),
            )
            for entry in entries
            if not entry.is_dir()
        }

    @cached_property
    def nodes(self) -> set[str]:
        """Paths of all Zarr nodes."""
        found = (name.rpartition("/") for name in self.members)
        return {folder for folder, _, name in found if name in MARKS}

    @cached_property
    def roots(self) -> list[str]:
        """Paths of the Zarr nodes that are in no other."""
        return sorted(node for node in self.nodes if not _parents(node) & self.nodes)

    def read(self, name: str, most: int = MOST_BYTES) -> bytes | None:
        """Read a member of up to ``most`` bytes; None where there is none.

        Raises
        ------
        InputError
            If it is damaged or larger, or packed in a way that cannot be read.
        """
        member = self.members.get(name)
        if member is None:
            return None
        size = max(member.size, member.packed)
        if size > most:
            raise self._damaged(f"{name} has {size} bytes, where it may have {most}")
        unpacked = _UNPACK.get(member.method)
        if member.is_encrypted or unpacked is None:
            how = zipfile.compressor_names.get(member.method, str(member.method))  # type: ignore[attr-defined]
            raise InputError(
                "a member of the archive cannot be unpacked",
                where=f"{self.address}/{name}",
                got="encryption" if member.is_encrypted else f"compression {how}",
                allowed="members that are stored (as RFC-9 asks), deflated, bzip2 or zstd",
                remedy="pack it again, for example with zip -0",
            )
        end = member.header + _HEADER + member.name_length + _EXTRA + member.packed
        content = self._bytes(member.header, end)
        start = self._start(name, content)
        if start + member.packed > end:
            packed = self._bytes(start, start + member.packed)
        else:
            packed = content[start - member.header :][: member.packed]
        try:
            content = unpacked(packed, member.size)
        except Exception as error:  # each codec has kinds of its own
            pass_on(error)
            raise self._damaged(f"{name}: {type(error).__name__}: {error}") from error
        if len(content) != member.size or zlib.crc32(content) != member.checksum:
            raise self._damaged(f"{name} does not have the checksum of the directory")
        return content

    def read_part(self, name: str, first: int, stop: int, most: int) -> bytes | None:
        """Read bytes of a member; of one that is compressed all of it has to be unpacked."""
        member = self.members.get(name)
        if member is None or member.method != zipfile.ZIP_STORED or member.is_encrypted:
            content = self.read(name, most)
            return None if content is None else content[first:stop]
        if name not in self._starts:
            self._start(name, self._bytes(member.header, member.header + _HEADER))
        start = self._starts[name]
        return self._bytes(start + first, start + min(stop, member.size))

    def _start(self, name: str, header: bytes) -> int:
        """Where the bytes of a member begin, from its header."""
        member = self.members[name]
        if header[:4] != _STARTS[0] or len(header) < _HEADER:
            raise self._damaged(f"no header of {name} at byte {member.header}")
        lengths = struct.unpack_from("<HH", header, 26)
        self._starts[name] = member.header + _HEADER + sum(lengths)
        return self._starts[name]

    def _bytes(self, start: int, end: int) -> bytes:
        return bytes(self._fs.cat_file(self._path, start=start, end=end))

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            "the ZIP archive cannot be read", where=self.address, got=reason, remedy=_DAMAGED
        )


class Node(NamedTuple):
    """A Zarr node in an archive: its path, empty for the root of the archive."""

    archive: Archive
    path: str

    def read(self, name: str) -> bytes | None:
        """Read a document of the node; None where there is none."""
        return self.archive.read(f"{self.path}/{name}".lstrip("/"))


def split(address: str) -> tuple[str, str] | None:
    """Split an address into that of an archive and what it names inside; None if there is none."""
    if addresses.is_url(address):
        place, query = addresses.signed(address)
        found = _URL.fullmatch(place)
        return (found[1] + query, (found[2] or "").strip("/")) if found else None
    head = address
    while not os.path.lexists(head) and os.path.dirname(head) not in ("", head):
        head = os.path.dirname(head)
    if not os.path.isfile(head) or addresses.read_bytes(head, 0, 4) not in _STARTS:
        return None
    return head, address[len(head) :].strip("/")


def find_node(address: str) -> Node | None:
    """The Zarr node in an archive that an address names; None if it names none in an archive.

    Where nothing has the name, it is the node that would have it.
    """
    parts = split(address)
    if parts is None:
        return None
    archive = open_archive(parts[0])
    paths = [parts[1]]
    if len(archive.roots) == 1:
        paths.append(f"{archive.roots[0]}/{parts[1]}".strip("/"))
    node = next((path for path in paths if path in archive.nodes), parts[1])
    return Node(archive, node)


def open_archive(address: str) -> Archive:
    """Read the directory of an archive, or take it as it was read before."""
    if addresses.is_url(address):
        return _read_directory(address, ())
    return _read_directory(address, state_of(address))


@lru_cache(maxsize=4)
def _read_directory(address: str, _state: State) -> Archive:
    return Archive(address)


def no_node(address: str) -> InputError:
    """What to say of an archive, or a place in it, where there is no Zarr node."""
    parts = split(address)
    assert parts is not None
    archive = open_archive(parts[0])
    names = archive.roots or sorted({name.split("/")[0] for name in archive.members})
    what = "holds no Zarr"
    if archive.roots:
        what = "holds nothing of this name" if parts[1] else "holds several Zarr hierarchies"
    return InputError(
        f"the ZIP archive {what}",
        where=address,
        got=", ".join(name or "one at its root" for name in names[:_SHOWN]) or "nothing",
        allowed="one Zarr hierarchy, or one that is named",
        remedy=f"name an image in it, as in {parts[0]}/{archive.roots[0] or '0'}"
        if archive.roots
        else "unpack archives of other files first",
    )
