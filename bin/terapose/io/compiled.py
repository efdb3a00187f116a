"""`njit`: compile a kernel, and keep what was compiled where it can be kept.

1. numba keeps it in NUMBA_CACHE_DIR, or where that is not set beside the package, or in the user's
   own folder.
2. Where NUMBA_CACHE_DIR cannot be written, or none of the other two can (a container that is
   read-only, a user without a home), a folder in the system's temporary one takes its place, with
   a warning. It belongs to the user alone, because code is loaded from it, and is found again by
   the next process. What NUMBA_CACHE_DIR holds already, such as code that was compiled when a
   container was built, is copied there. Processes that are started later inherit it, and say no
   more.
3. Where there is no temporary folder either, nothing is kept: each process compiles for itself.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba

from terapose.io import files

log = logging.getLogger(__name__)

_VARIABLE = "NUMBA_CACHE_DIR"
_OURS = ("algorithms_", "flows_", "objects_", "networks_", "simulate_")
"""What numba's folders for the folders of this package begin with."""


def njit(function: Any = None, **options: Any) -> Any:
    """Decorate a kernel, with or without options of ``numba.njit``.

    It lets other threads run, and its code is kept for the next process.
    """
    decorate = numba.njit(**{"nogil": True, "cache": _is_kept(), **options})
    return decorate if function is None else decorate(function)


@cache
def _is_kept() -> bool:
    """Whether compiled code is kept; finds another place for it if need be."""
    wanted = os.environ.get(_VARIABLE)
    if _can_write(Path(wanted)) if wanted else _has_place():
        return True
    instead = _private_folder(Path(wanted) if wanted else None)
    where = f"{_VARIABLE} ({wanted})" if wanted else "any of the usual folders"
    log.warning(
        "compiled code cannot be kept in %s: %s; set %s to a folder that you may write to",
        where,
        f"it goes to {instead}" if instead else "each process compiles for itself",
        _VARIABLE,
    )
    if instead is None:
        return False
    os.environ[_VARIABLE] = str(instead)
    numba.config.CACHE_DIR = str(instead)  # type: ignore[attr-defined]
    return True


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _has_place() -> bool:
    """Whether numba finds a place by itself, for functions of this package."""
    try:
        numba.njit(cache=True)(_can_write)
    except RuntimeError:
        return False
    return True


def _private_folder(old: Path | None) -> Path | None:
    """A folder for this user alone, filled with what an old one holds; None where there is none."""
    try:
        place = Path(tempfile.gettempdir()) / f"terapose-numba-{os.getuid()}"
        if not place.exists():
            _make(place, old)
        if _is_own(place) and _can_write(place):
            return place
        return Path(tempfile.mkdtemp(prefix="terapose-numba-"))
    except OSError:
        return None


def _make(place: Path, old: Path | None) -> None:
    """Make the folder, whole or not at all: others may be about it at the same time."""
    with suppress(OSError), files.made(place) as draft:
        draft.mkdir(0o700)
        for part in old.iterdir() if old is not None and old.is_dir() else ():
            if part.name.startswith(_OURS):
                shutil.copytree(part, draft / part.name, copy_function=shutil.copyfile)


def _is_own(place: Path) -> bool:
    """Whether nobody else can have put anything there."""
    status = place.lstat()
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not others
