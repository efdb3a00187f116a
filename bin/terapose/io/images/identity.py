"""What identifies the content of an image: its files, and what is known of each without reading it.

1. Of a local file its size, its time of change (in nanoseconds) and its inode; of a file on a
   server what that says: its size and its entity tag, or its time of change where it has none.
   Inodes are left out on file systems of FUSE and 9P, which number files anew for each machine.
2. The identity of an image is a digest of that of **every** file or chunk that can be read of it,
   and of the metadata. It is found when a run is planned, decides the plan's digest (so an image
   that was changed, or only touched, between two runs is another image), and is found again before
   the plan is written. Object stores list chunks, 1,000 a request. Web servers cannot: of a Zarr
   there only the metadata count.
3. A task does not list 10^5 chunks: it looks at those files alone that it has read, and compares
   them with the plan's table (`Table`). That is done when it has opened the image, and again after
   it has read what it reads and before its marker says so. A chunk that was not there when the run
   was planned must not be there now, and the other way round.

What is not noticed: a file changed in place that keeps its size and whose time of change is set
back, and one that is changed and put back, with its inode and time, while a task reads it.

Where content is asked for, a digest of each file's content takes the place of 1. (`by_content`): an
image that was touched or copied is the same one. Tasks still look at what 1. says, and read a file
only where that is not as it was; when all is done, all of it is read once more, which notices the
first of the two above.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError, few, pass_on
from terapose.io.images import address as addresses

State = tuple[object, ...]
"""What is known of a file; empty of one that is not there."""
Table = dict[str, NDArray[np.uint64]]
"""Digests of names and states of files, ordered by name, and whether these are all there are."""

_UNSTABLE = ("fuse", "9p", "virtiofs")
_TAGS = ("ETag", "etag", "md5Hash", "generation", "Content-MD5", "Digest")
_TIMES = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")
_TOGETHER = 16
_BUFFER = 2**22
_SHOWN = 3


class Identity(NamedTuple):
    """What identifies an image.

    Attributes
    ----------
    parts
        What counts beside the files: the format, metadata, places within a file.
    files
        States of all files, by address; or digests of their content (`by_content`).
    folder
        Names of files in it count, its own does not.
    in_parts
        Files whose content is among the parts already.
    is_whole
        Whether there are no other files of it; unknown on web servers.
    """

    parts: tuple[object, ...]
    files: Mapping[str, State]
    folder: str
    in_parts: Set[str] = frozenset()
    is_whole: bool = True

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all of it."""
        start = self.folder and self.folder.rstrip("/") + "/"
        files = sorted(
            (file.removeprefix(start), *state)
            for file, state in self.files.items()
            if file not in self.in_parts
        )
        return addresses.digest(*self.parts, *files)

    def by_content(self, *, afresh: bool = False) -> Identity:
        """The same, of what files hold: all of them are read.

        Parameters
        ----------
        afresh
            Read again what this process has read already, though it looks as it did.
        """
        return self._replace(files=contents_of(self.files, afresh=afresh))


def files_identity(address: str, *files: str) -> Identity:
    """Identify one or several files; their names count, the folder that holds them does not."""
    every = sorted(files or (address,))
    folders = {os.path.dirname(file) for file in every}
    folder = folders.pop() if len(folders) == 1 else os.path.commonpath(folders)
    return Identity(("files",), states_of(every), folder)


def folder_states(folder: str) -> tuple[dict[str, State], bool]:
    """States of all files in a folder and below, by address, and whether they could be listed."""
    if addresses.is_url(folder):
        return _listed(folder)
    found: dict[str, State] = {}
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    found[entry.path] = _of_entry(entry)
    return found, True


def _of_entry(entry: os.DirEntry[str]) -> State:
    try:
        return _local(entry.stat())
    except FileNotFoundError as error:
        if not entry.is_symlink():
            raise
        raise InputError(
            "a file of the image is a link to a file that is not there",
            where=entry.path,
            got=f"a link to {os.readlink(entry.path)}",
            remedy="copy or fetch the file",
        ) from error


def _listed(folder: str) -> tuple[dict[str, State], bool]:
    fs, path = addresses.filesystem(folder)
    if folder.startswith(("http://", "https://")):
        return {}, False
    fs.invalidate_cache()
    try:
        listed = fs.find(path, detail=True)
    except (FileNotFoundError, PermissionError, NotImplementedError):
        return {}, False
    except Exception as error:
        pass_on(error)
        raise addresses.refused(folder, error) from error
    return {folder + name[len(path) :]: _remote(info) for name, info in listed.items()}, True


def state_of(file: str) -> State:
    """What is known of a file; empty if there is none."""
    try:
        if not addresses.is_url(file):
            return _local(os.stat(file))
        fs, path = addresses.filesystem(file)
        fs.invalidate_cache()
        return _remote(fs.info(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except Exception as error:  # every driver has kinds of its own
        pass_on(error)
        raise addresses.refused(file, error) from error


def states_of(files: Iterable[str]) -> dict[str, State]:
    """States of files by address; of those on servers several are asked for at a time."""
    every = sorted(files)
    if not any(map(addresses.is_url, every)):
        return {file: state_of(file) for file in every}
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return dict(zip(every, pool.map(state_of, every), strict=True))


_CONTENT: dict[tuple[str, State], State] = {}
"""What this process has read of files, by their addresses and states."""


def contents_of(files: Mapping[str, State], *, afresh: bool = False) -> dict[str, State]:
    """Digests of the content of files, by address; empty of those that are not there.

    Parameters
    ----------
    files
        States by address. A file is read once for a state.
    afresh
        Read them all.
    """
    there = {file: state for file, state in files.items() if state}
    missing = sorted(f for f, state in there.items() if afresh or (f, state) not in _CONTENT)
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for file, content in zip(missing, pool.map(_content, missing), strict=True):
            _CONTENT[file, there[file]] = content
    return {file: _CONTENT[file, state] if state else () for file, state in files.items()}


def _content(file: str) -> State:
    digest = hashlib.blake2b(digest_size=32)
    try:
        with _stream(file) as stream:
            while data := stream.read(_BUFFER):
                digest.update(data)
    except Exception as error:  # every driver has kinds of its own
        pass_on(error)
        raise addresses.refused(file, error) from error
    return (digest.hexdigest(),)


def _stream(file: str) -> IO[bytes]:
    if not addresses.is_url(file):
        return open(file, "rb")
    fs, path = addresses.filesystem(file)
    return cast(IO[bytes], fs.open(path, "rb"))


def _local(status: os.stat_result) -> State:
    inode = status.st_ino if _has_inodes(status.st_dev) else 0
    return (status.st_size, status.st_mtime_ns, inode)


@cache
def _has_inodes(device: int) -> bool:
    """Whether files of a device have the same inodes on every machine and after a new mount."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = (
            Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return True
    kinds = (line.partition(" - ")[2].split(" ") for line in mounts if line.split()[2] == number)
    return not any(kind[0].startswith(_UNSTABLE) for kind in kinds)


def _remote(info: Mapping[str, Any]) -> State:
    """Size, and the first that there is: an entity tag does not depend on how it is asked for."""
    known = [info[name] for name in (*_TAGS, *_TIMES) if info.get(name)]
    return (info.get("size"), *map(_text, known[:1]))


def _text(value: object) -> str:
    """A tag or a time; a listing may give a time in another type than a single file's."""
    if isinstance(value, datetime):
        value = value.timestamp()
    return f"{value:.3f}" if isinstance(value, float) else str(value).strip('"')


def table_of(known: Identity, content: Identity | None = None) -> Table:
    """The files of an image in 16 bytes each, as the store keeps them; with their content in 24."""
    names = [(_short(name), name) for name in known.files]
    names.sort()
    table = {
        "name": np.array([short for short, _ in names], np.uint64),
        "state": np.array([_short(name, *known.files[name]) for _, name in names], np.uint64),
        "whole": np.array([known.is_whole], np.uint64),
    }
    if content is not None:
        shorts = [_short(name, *content.files[name]) for _, name in names]
        table["content"] = np.array(shorts, np.uint64)
    return table


def compare(
    address: str, files: Mapping[str, State], table: Table, since: str = "the run was planned"
) -> None:
    """Refuse files that are not as the table has them.

    Parameters
    ----------
    address
        Of the image, for the message.
    files
        States of the files that were read, by address; empty of those that are not there.
    table
        From `table_of`.
    since
        When that was, for the message.

    Raises
    ------
    InputError
        If one has changed, was removed, or is new.
    """
    names, states = table["name"], table["state"]
    changed = []
    for name, state in files.items():
        at = int(np.searchsorted(names, np.uint64(_short(name))))
        is_known = at < len(names) and int(names[at]) == _short(name)
        if is_known:
            fits = int(states[at]) == _short(name, *state)
            if not fits and state and "content" in table:
                content = contents_of({name: state})[name]
                fits = int(table["content"][at]) == _short(name, *content)
        else:
            fits = not state or not table["whole"][0]
        if not fits:
            changed.append(addresses.masked(name))
    if changed:
        raise changed_image(address, few(changed, _SHOWN), since)


def changed_image(
    address: str, files: str | None = None, since: str = "the run was planned"
) -> InputError:
    """What is said of an image that is another one than before."""
    return InputError(
        f"the image has changed since {since}",
        where=address,
        got=files and f"files that differ: {files}",
        remedy="run again, with the image as it is now",
    )


def _short(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())
