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
        counted. None where it is not known what would go.
    kept
        Why it stays; empty if it goes.
    tasks
        Of a work folder, the folders of tasks in it that go or stay.
    """

    path: Path
    size: int | None
    kept: str
    tasks: tuple[Path, ...] = ()


def below(paths: Iterable[Path], but: Path | None = None) -> Iterator[Path]:
    """Files, links and folders, with all that is below them but for one; no link is followed."""
    for path in paths:
        yield path
        for place, folders, inside in os.walk(path) if not path.is_symlink() else ():
            folders[:] = [name for name in folders if Path(place, name) != but]
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
    """Bytes on the disk that removing files and folders frees: those with no other names."""
    seen: dict[tuple[int, int], list[os.stat_result]] = {}
    for path in below(paths):
        status = status_of(path)
        if status is not None and stat.S_ISREG(status.st_mode):
            seen.setdefault((status.st_dev, status.st_ino), []).append(status)
    return sum(
        names[0].st_blocks * 512 for names in seen.values() if len(names) >= names[0].st_nlink
    )
