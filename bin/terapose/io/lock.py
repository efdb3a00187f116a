"""One run at a time in a folder of results.

Who works in a folder keeps a file there (`NAME`), which says who it is. The file is made with
``O_EXCL``, which is one step on local file systems, NFS (from version 3) and Lustre; nothing relies
on flock. Its holder touches it every `BEAT` seconds.

A run that was killed leaves its file behind. It counts for nothing once its process is gone, on the
same machine, or has not touched it for `PATIENCE` seconds, by the clock of the file system: that of
a file made for the comparison.

A folder, a link, a pipe or a device of that name was made by no run, so it is refused: nothing is
read from it, and it is not removed.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.io.documents import kind_of
from terapose.io.files import aside, point

Held = Callable[[], None]
"""Refuses to go on if the folder is no longer held."""

NAME = ".terapose.lock"
BEAT = 20.0
PATIENCE = 180.0
_LONGEST = 10_000
"""Characters of a lock."""
_TRIES = 20


@contextmanager
def held(folder: Path, *, to_free: bool = False) -> Iterator[Held]:
    """Hold a folder that exists while a block runs.

    Parameters
    ----------
    folder
        The folder.
    to_free
        Whether the block frees room: where there is none an empty file has to do, which keeps
        others away for `PATIENCE` seconds.

    Yields
    ------
    Held
        Raises InputError if another run has the folder by now: one that was stopped for longer than
        `PATIENCE` (a laptop that sleeps, a server that does not answer) loses it.

    Raises
    ------
    InputError
        If another run holds it, or something else than a file has the name of the lock.
    """
    path = folder / NAME
    me = _take(path, to_free=to_free)
    over = threading.Event()
    beat = threading.Thread(target=_touch, args=(path, me, over), daemon=True)
    beat.start()

    def confirm() -> None:
        # one that cannot be read for a moment says nothing of another run
        if (holder := _holder(path)) and holder != me:
            raise in_use(folder, holder)

    try:
        yield confirm
    finally:
        over.set()
        beat.join()
        if _holder(path) == me:
            path.unlink(missing_ok=True)


def holder_of(folder: Path) -> str:
    """Who holds a folder, in words; empty if nobody else than this process does."""
    path = folder / NAME
    try:
        holder = _holder(path)
    except InputError as error:
        return f"{path} {error.what}"
    mine = socket.gethostname(), os.getpid()
    if not holder or (holder.get("host"), holder.get("process")) == mine:
        return ""
    if is_gone(holder, lambda: _age(path)):
        return ""
    return f"a run is writing to {folder} (process {holder.get('process')} on {holder.get('host')})"


def _take(path: Path, *, to_free: bool) -> dict[str, Any]:
    """Make the file; what it says."""
    me = myself()
    for _ in range(_TRIES):
        point("lock: before it is made")
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _clear(path)
            continue
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(me, file)
        except OSError as error:
            if to_free and error.errno in (errno.ENOSPC, errno.EDQUOT):
                return {}
            # an empty one would keep everybody away for a while
            path.unlink(missing_ok=True)
            raise
        point("lock: after it is made")
        return me
    raise in_use(path.parent, _holder(path))


def myself() -> dict[str, Any]:
    """What a lock of this process says."""
    return {
        "host": socket.gethostname(),
        "system": _system(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _clear(path: Path) -> None:
    """Remove the file of a run that is gone.

    Raises
    ------
    InputError
        If the run is not gone.
    """
    holder = _holder(path)
    if holder is None:
        return
    if not is_gone(holder, lambda: _age(path)):
        raise in_use(path.parent, holder)
    # only one at a time looks and removes: another run may have the file by now
    only = path.with_name(f"{path.name}.old")
    try:
        os.close(os.open(only, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        _refuse_odd(only)
        if _age(only) > PATIENCE:
            only.unlink(missing_ok=True)
        time.sleep(0.1)
        return
    try:
        holder = _holder(path)
        if holder is not None and is_gone(holder, lambda: _age(path)):
            path.unlink(missing_ok=True)
    finally:
        only.unlink(missing_ok=True)


def _holder(path: Path) -> dict[str, Any] | None:
    """What a file says; None where there is none, empty where it is being written."""
    _refuse_odd(path)
    try:
        return parsed(_beginning(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return {}


def parsed(text: str | bytes) -> dict[str, Any]:
    """What the text of a lock says; empty where it says nothing that can be read."""
    try:
        holder = json.loads(text[:_LONGEST])
    except (ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _beginning(path: Path) -> str:
    """The text of a lock; of a file of another kind no more than that."""
    with path.open(encoding="utf-8") as file:
        return file.read(_LONGEST)


def _refuse_odd(path: Path) -> None:
    """Refuse what has the name of a file of ours and is none."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise InputError(
            "was not made by a run, and no run can use the folder while it is there",
            where=path,
            got=kind_of(mode),
            allowed="a file",
            remedy="remove it, or choose another folder",
        )


def _system() -> str | None:
    """What distinguishes systems, and containers in them, that have the same host name.

    In another one a process may be alive that has no such number here.
    """
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{booted} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def is_gone(holder: dict[str, Any], age: Callable[[], float]) -> bool:
    """Whether the run that made a lock has ended.

    Parameters
    ----------
    holder
        What the lock says.
    age
        Gives the seconds since it was touched.
    """
    here = holder.get("host") == socket.gethostname() and holder.get("system") in (None, _system())
    if here and isinstance(holder.get("process"), int):
        started = _started(holder["process"])
        return started is None or started != holder.get("started")
    return age() > PATIENCE


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the file system's clock."""
    probe = aside(path)
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _started(process: int) -> str | None:
    """When a process of this machine started, which identifies it if its number is reused."""
    try:
        # the name, in parentheses, may hold blanks
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"


def _touch(path: Path, me: dict[str, Any], over: threading.Event) -> None:
    while not over.wait(BEAT):
        # that of another run is not kept alive
        with suppress(OSError, InputError):
            if _holder(path) == me:
                os.utime(path)


def in_use(folder: object, holder: dict[str, Any] | None) -> InputError:
    """What to say of a folder that another run holds."""
    known = holder or {}
    return InputError(
        "another run is writing here",
        where=folder,
        got=f"process {known.get('process', '?')} on {known.get('host', '?')}, "
        f"since {known.get('since', '?')}",
        remedy="wait for it, or choose another folder (if that process no longer exists, remove "
        f"{NAME})",
    )
