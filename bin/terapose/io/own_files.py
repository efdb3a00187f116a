"""What a store on a local disk consists of: regular files in real folders, and nothing else.

Whatever else has a name there was not written by this program. A folder in place of a file, a file
in place of a folder, a pipe, a device, a socket, a link in place of a file: each is damage
(`OddEntryError`), found before it is opened, so that nothing waits for a pipe. Whoever writes under
the name again removes what is there first (of a link the link, never what it leads to).

A link in place of a *folder* is refused (`InputError`) by readers and writers alike: files behind
it may belong to somebody else. The top of the store is the exception, because whoever runs the
program chose that path; for the same reason nothing that is there in its place is removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from terapose.core.errors import InputError
from terapose.io.documents import kind_of
from terapose.io.files import aside, move, remove


class OddEntryError(OSError):
    """Something that a store does not consist of has the name of something in it."""


def confirm(root: str, name: str) -> None:
    """Refuse to open what is not a regular file in real folders.

    Parameters
    ----------
    root
        Top of the store; it may be a link.
    name
        Of a file in it, with slashes.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    OddEntryError
        If something else is there, or in place of one of the folders.
    InputError
        If one of the folders is a link.
    """
    _confirm_folders(root, name)
    mode = os.lstat(f"{root}/{name}").st_mode
    if not stat.S_ISREG(mode):
        raise OddEntryError(f"{kind_of(mode)} in place of a file")


def make_way(root: str, name: str) -> None:
    """Make the folders of a file that will be written, and remove what has the place of one.

    Nothing is removed behind a link. Twins of a task may do this at the same time.

    Raises
    ------
    InputError
        If one of the folders is a link, or the top of the store is there and is no folder.
    """
    top, *inside = _folders(root, name)
    if not os.path.isdir(top):
        # a twin may have made it between the two looks
        if os.path.lexists(top) and not os.path.isdir(top):
            raise _no_folder(top)
        os.makedirs(top, exist_ok=True)
    for folder in inside:
        mode = _mode(folder)
        if stat.S_ISDIR(mode):
            continue
        if stat.S_ISLNK(mode):
            raise _linked(folder)
        with suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(folder)
        os.makedirs(folder, exist_ok=True)
    place = f"{root}/{name}"
    if stat.S_ISDIR(_mode(place)):
        old = aside(Path(place))
        with suppress(FileNotFoundError):
            move(Path(place), old, "folder in place of a file")
            remove(old)


def discard(root: str, name: str) -> None:
    """Remove a file or a folder, or whatever has its name.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    InputError
        If one of the folders is a link.
    """
    try:
        _confirm_folders(root, name)
    except OddEntryError:
        raise FileNotFoundError(f"{root}/{name}") from None
    remove(Path(f"{root}/{name}"))


def _folders(root: str, name: str) -> Iterator[str]:
    """The folders that lead to a file, from the top of the store."""
    yield root
    for end, letter in enumerate(name):
        if letter == "/":
            yield f"{root}/{name[:end]}"


def _confirm_folders(root: str, name: str) -> None:
    for folder in _folders(root, name):
        mode = (os.stat if folder == root else os.lstat)(folder).st_mode
        if stat.S_ISLNK(mode):
            raise _linked(folder)
        if not stat.S_ISDIR(mode):
            raise OddEntryError(f"{kind_of(mode)} in place of the folder {folder}")


def _mode(path: str) -> int:
    """Mode of what has a path; 0 where nothing has."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _no_folder(top: str) -> InputError:
    return InputError(
        "cannot be a store: it is not a folder",
        where=top,
        got=kind_of(os.lstat(top).st_mode),
        remedy="remove it, or choose another folder",
    )


def _linked(folder: str) -> InputError:
    return InputError(
        "is a symbolic link, which is not followed within a store",
        where=folder,
        got=f"a link to {os.readlink(folder)}",
        allowed="a folder",
        remedy="remove the link and run again: what is missing is computed again",
    )


class OwnFiles:
    """The files of a store on a local disk, with those methods of fsspec that a store needs.

    Parameters
    ----------
    root
        Top of the store. Paths below start with it.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def _name(self, path: str) -> str:
        return path.removeprefix(self._root).strip("/")

    def cat_file(self, path: str) -> bytes:
        """Read a file; errors are those of `confirm`."""
        confirm(self._root, self._name(path))
        return Path(path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        """Open a file to read parts of it; errors are those of `confirm`."""
        confirm(self._root, self._name(path))
        return cast(BinaryIO, Path(path).open("rb", buffering=0))

    def exists(self, path: str) -> bool:
        """Whether a regular file is there; anything else has to be written again."""
        try:
            confirm(self._root, self._name(path))
        except (FileNotFoundError, OddEntryError):
            return False
        return True

    def ls(self, path: str) -> list[str]:
        """Names of what a folder contains; nothing of what is no folder.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        InputError
            If it, or one of the folders above it, is a link.
        """
        try:
            _confirm_folders(self._root, f"{self._name(path)}/")
        except OddEntryError:
            return []
        return os.listdir(path)

    def rm(self, path: str, recursive: bool = True) -> None:
        """Remove a file or a folder; errors are those of `discard`."""
        assert recursive
        discard(self._root, self._name(path))

    def make_way(self, path: str) -> None:
        """Prepare to write a file (`make_way`)."""
        make_way(self._root, self._name(path))
