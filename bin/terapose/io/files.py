"""Files and folders that are there as a whole or not at all; all writing aside and renaming.

What is written goes to a new name beside the final one, and is renamed when it is complete. Names
aside are unique, so two processes never write into one file; they end in `ASIDE`, and whoever lists
a folder passes over them. A process that is killed leaves one behind.

What is assumed of a file system holds for local ones, NFS and Lustre alike: a rename within a
folder replaces a file of that name in one step, and a file that was closed before it was renamed is
seen whole by whoever opens the new name. A folder that has the name is exchanged in one step where
the system can (Linux, on local file systems). Elsewhere two renames leave nothing under the name in
between, and a process that is killed there leaves the old folder under a name aside. Nothing is
locked (flock) and nothing is synchronised: after a loss of power a file may be empty or old, which
checksums detect (`terapose.io.checksums`).

Each write and each rename is a *point* with a name. Tests end the process there (`at_point`).
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io.documents import kind_of

ASIDE = ".partial"
"""End of the names of what is not complete."""
ASIDE_NAME = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(ASIDE)}")
"""Names that `aside` gives."""

at_point: Callable[[str], None] = lambda name: None  # noqa: E731
"""Called before and after each write and rename; replaced by tests that kill."""


def point(name: str) -> None:
    """Say that something is about to be written or renamed, or has been."""
    at_point(name)


def aside(path: Path) -> Path:
    """A name beside a path that nothing else has."""
    if path.name in ("", ".."):  # of the working folder, the one above it, or all of the disk
        path = Path(os.path.realpath(path))
    return path.parent / f".{uuid.uuid4().hex}{ASIDE}"


def try_to_write(path: Path) -> None:
    """Write a file beside a path, and remove it.

    Raises
    ------
    OSError
        If it cannot be written: rights alone say nothing of a full disk, or of ``/proc``. Or if the
        path has a name that is too long.
    """
    with suppress(FileNotFoundError):
        path.lstat()
    probe = aside(path)
    try:
        # a new file of its own name: nothing that is there is opened, nor a link followed
        with probe.open("xb") as file:
            file.write(b"\0" * 4096)
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def clear_aside(folder: Path) -> None:
    """Remove what processes that were killed have left aside, directly in a folder.

    Only files and folders go, no links, and only those with names that `aside` gives.

    Parameters
    ----------
    folder
        To which nobody else writes.
    """
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if ASIDE_NAME.fullmatch(entry.name)]
    for entry in found:
        if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
            # the file of another run that looks at the lock may go meanwhile by itself
            with suppress(FileNotFoundError):
                remove(Path(entry.path))


@contextmanager
def written(path: Path, what: str = "file", *, anything: bool = False) -> Iterator[Path]:
    """Write a file aside; it gets its name when the block ends, and is removed where it fails.

    Parameters
    ----------
    path
        The file; its folder exists.
    what
        Kind of the file, as its points are named.
    anything
        Whether a pipe or a device in its place is replaced, too.

    Yields
    ------
    pathlib.Path
        Where to write.

    Raises
    ------
    InputError
        If a pipe or a device is in its place.
    """
    if not anything:
        _refuse_special(path)
    place = aside(path)
    try:
        with naming(path):
            point(f"{what}: before it is written")
            yield place
            point(f"{what}: before it is renamed")
            place.replace(path)
            point(f"{what}: after it is renamed")
    finally:
        place.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say what is being written where an error does not, such as that of a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _refuse_special(path: Path) -> None:
    """Refuse to replace a pipe or a device: whoever names one wants it written to."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # what cannot be looked at cannot be replaced, either
    if path.parent.resolve() == Path("/dev") or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(
            "cannot be replaced with a file",
            where=path,
            got=kind_of(mode),
            remedy="give the name of a regular file",
        )


def refuse_present(path: Path, *, overwrite: bool, groups: Sequence[str] = ()) -> None:
    """Refuse to replace what is there, unless that was asked for.

    Parameters
    ----------
    path
        What will be written.
    overwrite
        Whether it may be replaced.
    groups
        Where a Zarr group will be written: files of one, without which nothing is replaced.

    Raises
    ------
    InputError
        If something has the name.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(
            "already exists", where=path, remedy="choose another name, or give --overwrite"
        )
    if groups and not any((path / name).is_file() for name in groups):
        raise InputError(
            "is not replaced",
            where=path,
            got="something other than a Zarr group",
            remedy="choose another name",
        )


def claim(path: Path, data: bytes, what: str = "file") -> None:
    """Write a file unless it is there: of several who do so at the same time one succeeds.

    That is so where the file system has hard links. Elsewhere the last of those who do so at the
    same time succeeds.

    Parameters
    ----------
    path
        The file; its folder exists.
    data
        Its content.
    what
        Kind of the file, as its points are named.
    """
    place = aside(path)
    try:
        point(f"{what}: before it is written")
        place.write_bytes(data)
        point(f"{what}: before it is renamed")
        try:
            os.link(place, path)
        except FileExistsError:
            return
        except OSError:
            if not os.path.lexists(path):
                place.replace(path)
        point(f"{what}: after it is renamed")
    finally:
        place.unlink(missing_ok=True)


def write_text(path: Path, text: str, what: str = "file") -> None:
    """Write a file as `written` does: its folder exists, and it is there whole or not at all."""
    with written(path, what) as place:
        place.write_text(text, encoding="utf-8")


@contextmanager
def made(path: Path, what: str = "folder") -> Iterator[Path]:
    """Make a folder aside (or what else is to be there); it replaces what has the name.

    Parameters
    ----------
    path
        The folder, file or link that is replaced.
    what
        Kind of the folder, as its points are named.

    Yields
    ------
    pathlib.Path
        Where to make it; nothing is there yet.
    """
    place = aside(path)
    try:
        with naming(path):
            point(f"{what}: before it is made")
            yield place
            point(f"{what}: before it is renamed")
            put_in_place(place, path)
            point(f"{what}: after it is renamed")
    finally:
        remove(place)


def put_in_place(place: Path, path: Path) -> None:
    """Rename a file or folder to a name that may be taken, and remove what has it."""
    if os.path.lexists(path) and (place.is_dir() or path.is_dir()):
        if _exchanged(place, path):
            remove(place)
            return
        # without that step, as on NFS and macOS, the name is free for a moment
        old = aside(path)
        path.rename(old)
        try:
            place.rename(path)
        except OSError:
            old.rename(path)
            raise
        remove(old)
    else:
        place.replace(path)


def move(source: Path, path: Path, what: str) -> None:
    """Rename a file or folder to another name beside it, as `put_in_place` does, with points.

    Parameters
    ----------
    source, path
        The name that it has, and the one that it gets.
    what
        Kind of the file, as its points are named.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    point(f"{what}: before it is renamed")
    put_in_place(source, path)
    point(f"{what}: after it is renamed")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file; where the file system can, both share their blocks until one is changed."""
    with source.open("rb") as read, target.open("wb") as write:
        left = os.fstat(read.fileno()).st_size
        with suppress(OSError, AttributeError):
            while left > 0 and (done := os.copy_file_range(read.fileno(), write.fileno(), left)):
                left -= done
        shutil.copyfileobj(read, write, 2**20)


def link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


_EXCHANGE = 2
_HERE = -100


def _exchanged(one: Path, other: Path) -> bool:
    """Let two names change places in one step; whether this system and file system can."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
