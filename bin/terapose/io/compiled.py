"""`njit`: compile a kernel, and keep what was compiled where it can be kept.

1. numba keeps it in NUMBA_CACHE_DIR, or where that is not set beside the package, or in the user's
   own folder.
2. Where NUMBA_CACHE_DIR cannot be written, or none of the other two can (a container that is
   read-only, a user without a home), a folder in the system's temporary one takes its place, with
   a warning. It belongs to the user alone, because code is loaded from it, and is found again by
   the next process. Processes that are started later inherit it, and say no more.
3. What NUMBA_CACHE_DIR holds already, code that was compiled when a container was built, is copied
   there, without a warning: numba reads from no folder that it may not write to. The
   name of such a folder depends on what it was filled with: another container may have left one.
4. Where there is no temporary folder either, nothing is kept: each process compiles for itself.
5. What is kept is of one state of the source. numba compares the file of a kernel, but not those
   whose kernels and constants it was compiled with. So the modules of this package that a kernel's
   module imports, directly or not, are compared as well (`_sources`).
"""

from __future__ import annotations

import hashlib
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

from terapose.core.imports import imported, path_of
from terapose.io import files

log = logging.getLogger(__name__)

_VARIABLE = "NUMBA_CACHE_DIR"
_OURS = ("algorithms_", "flows_", "objects_", "networks_", "simulate_")
"""What numba's folders for the folders of this package begin with."""
_PACKAGE = Path(__file__).parents[1]
_PREFIX = "terapose."


def njit(function: Any = None, **options: Any) -> Any:
    """Decorate a kernel, with or without options of ``numba.njit``.

    It lets other threads run, and its code is kept for the next process.
    """
    options = {"nogil": True, "cache": _is_kept(), **options}

    def decorate(function: Any) -> Any:
        kernel = numba.njit(**options)(function)
        # where NUMBA_DISABLE_JIT is set it is the function as it was
        if options["cache"] and kernel is not function:
            file = kernel._cache._cache_file
            file._source_stamp = file._source_stamp, _sources(function.__module__)
        return kernel

    return decorate if function is None else decorate(function)


@cache
def _sources(module: str) -> str:
    """SHA-256 of a module of this package and of all that it imports of it."""
    # of this module itself only the options above count
    seen, digest = {__name__.removeprefix(_PREFIX)}, hashlib.sha256(Path(__file__).read_bytes())
    waiting = [module.removeprefix(_PREFIX)]
    while waiting:
        name = waiting.pop()
        path = path_of(name, _PACKAGE)
        if name not in seen and path.is_file():
            seen.add(name)
            source = path.read_bytes()
            digest.update(hashlib.sha256(source).digest())
            waiting += sorted(imported(source.decode(), _PACKAGE))
    return digest.hexdigest()


@cache
def _is_kept() -> bool:
    """Whether compiled code is kept; finds another place for it if need be."""
    wanted = os.environ.get(_VARIABLE)
    if _can_write(Path(wanted)) if wanted else _has_place():
        return True
    ready = _ready(Path(wanted)) if wanted else []
    instead = _private_folder(ready)
    where = f"{_VARIABLE} ({wanted})" if wanted else "any of the usual folders"
    if not (ready and instead and _ready(instead)):
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


def _ready(folder: Path) -> list[Path]:
    """Files of compiled code of this package."""
    return sorted(path for name in _OURS for path in folder.glob(f"{name}*/*") if path.is_file())


def _private_folder(ready: list[Path]) -> Path | None:
    """A folder for this user alone, filled with files of another; None where there is none."""
    try:
        place = Path(tempfile.gettempdir()) / f"terapose-numba-{os.getuid()}{_suffix(ready)}"
        if not place.exists():
            _make(place, ready)
        if _is_own(place) and _can_write(place):
            return place
        return Path(tempfile.mkdtemp(prefix="terapose-numba-"))
    except OSError:
        return None


def _suffix(ready: list[Path]) -> str:
    """What ends the name of a folder that was filled with these files."""
    if not ready:
        return ""
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in ready]
    return f"-{hashlib.sha256(repr(states).encode()).hexdigest()[:16]}"


def _make(place: Path, ready: list[Path]) -> None:
    """Make the folder, whole or not at all: others may be about it at the same time."""
    with suppress(OSError), files.made(place) as draft:
        draft.mkdir(0o700)
        for path in ready:
            (draft / path.parent.name).mkdir(exist_ok=True)
            shutil.copyfile(path, draft / path.parent.name / path.name)


def _is_own(place: Path) -> bool:
    """Whether nobody else can have put anything there."""
    status = place.lstat()
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not others
