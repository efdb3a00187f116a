"""One run at a time in a folder of results on an object store.

The rules are those of `terapose.io.lock`, with what an object store has in the place of ``O_EXCL``:
an object that is made only where there is none (`Remote.create`). Its holder writes it again every
`BEAT` seconds; it counts for nothing once its process is gone, on the same machine, or it is older
than `PATIENCE`, by the clock of the store: that of an object made for the comparison.

An object that is taken for one of a run that is gone may be replaced between two looks, and there
are servers that write over an object where they were asked not to. So who holds a folder looks
again before it changes results (`Held`), and who has made the object tries to make it again: a
server that lets it is named in a warning.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from terapose.core.errors import InputError
from terapose.io.files import ASIDE, point
from terapose.io.lock import BEAT, NAME, PATIENCE, Held, in_use, is_gone, myself, parsed
from terapose.io.remote import Remote

_TRIES = 20
_OLD = f"{NAME}.old"

log = logging.getLogger(__name__)


@contextmanager
def held(folder: Remote) -> Iterator[Held]:
    """Hold a folder while a block runs.

    Yields
    ------
    Held
        To be called before anything is changed.

    Raises
    ------
    InputError
        If another run holds it, or nothing can be written there.
    """
    me = json.dumps({**myself(), "id": uuid.uuid4().hex}).encode()
    _take(folder, me)
    over = threading.Event()
    beat = threading.Thread(target=_touch, args=(folder, me, over), daemon=True)
    beat.start()

    def confirm() -> None:
        there = folder.read(NAME)
        if there is None:
            _age(folder, NAME)  # if the bucket has gone, that is what it says
            raise InputError(
                "the lock of this run was removed, so another run may have started writing here",
                where=folder,
                got=f"no {NAME}",
                remedy="make sure that no other run writes here, and run again",
            )
        if there != me:
            raise in_use(folder, parsed(there))

    try:
        yield confirm
    finally:
        over.set()
        beat.join()
        # what went wrong before is what should be said
        with suppress(InputError):
            if folder.read(NAME) == me:
                folder.remove([NAME])


def _take(folder: Remote, me: bytes) -> None:
    """Make the object."""
    for _ in range(_TRIES):
        point("remote lock: before it is made")
        if folder.create(NAME, me):
            point("remote lock: after it is made")
            if folder.create(NAME, me):
                log.warning(
                    "%s: this server does not support conditional writes, so two runs that start "
                    "at the same time are not kept apart",
                    folder,
                )
            return
        _clear(folder)
    raise in_use(folder, parsed(folder.read(NAME) or b""))


def _clear(folder: Remote) -> None:
    """Remove the object of a run that is gone.

    Raises
    ------
    InputError
        If the run is not gone.
    """
    there = folder.read(NAME)
    if there is None:
        return
    holder = parsed(there)
    if not is_gone(holder, lambda: _age(folder, NAME)):
        raise in_use(folder, holder)
    # only one at a time looks and removes: another run may have the object by now
    if not folder.create(_OLD, b""):
        if _age(folder, _OLD) > PATIENCE:
            folder.remove([_OLD])
        time.sleep(0.1)
        return
    try:
        if folder.read(NAME) == there and is_gone(holder, lambda: _age(folder, NAME)):
            folder.remove([NAME])
    finally:
        folder.remove([_OLD])


def _age(folder: Remote, key: str) -> float:
    """Seconds since an object was written, by the clock of the store."""
    probe = f".{uuid.uuid4().hex}{ASIDE}"
    try:
        folder.write(probe, b"")
        now, then = folder.modified(probe), folder.modified(key)
        return 0.0 if now is None or then is None else now - then
    finally:
        folder.remove([probe])


def _touch(folder: Remote, me: bytes, over: threading.Event) -> None:
    while not over.wait(BEAT):
        # a run that was asleep for long may have lost the folder
        with suppress(InputError):
            if folder.read(NAME) == me:
                folder.write(NAME, me)
