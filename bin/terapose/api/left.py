"""What runs have left, and how much room it takes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Left:
    """Something that a run has left.

    Attributes
    ----------
    path
        A store, the results of a second network, or a work folder.
    size
        Bytes on the disk that removing it frees: files that have another name, too, are not
        counted.
    kept
        Why it stays; empty if it goes.
    tasks
        Of a work folder, the folders of tasks in it that go or stay.
    """

    path: Path
    size: int
    kept: str
    tasks: tuple[Path, ...] = ()


def below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files, links and folders, with all that is below them; no link is followed."""
    for path in paths:
        yield path
        for place, folders, inside in os.walk(path) if not path.is_symlink() else ():
            yield from (Path(place, name) for name in (*folders, *inside))


def status_of(path: Path) -> os.stat_result | None:
    """Of a file or a link itself; None where it is no more."""
    try:
        return path.lstat()
    except OSError:
        return None


def freed(status: os.stat_result) -> int:
    """Bytes that removing it frees: none if it is no file, or the file has another name."""
    alone = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return status.st_blocks * 512 if alone else 0


def size_of(paths: Iterable[Path]) -> int:
    """Bytes on the disk that removing files and folders frees."""
    found = (status_of(path) for path in below(paths))
    return sum(freed(status) for status in found if status is not None)
