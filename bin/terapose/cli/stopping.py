"""SIGTERM, which schedulers and ``kill`` send, ends a command as Ctrl-C does.

Ctrl-C ends one that runs code of the user's at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED = 128 + signal.SIGTERM
_INTERRUPTED = 128 + signal.SIGINT


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `SystemExit` on SIGTERM while a block runs: what is temporary is removed.

    Where somebody else deals with the signal, or this is not the main thread, nothing changes.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def at_once() -> Iterator[None]:
    """End the process on Ctrl-C, whatever its threads do: code of the user's may never return.

    Only for a block that leaves nothing to remove.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_INTERRUPTED)


def _stop(number: int, frame: object) -> NoReturn:
    # once is enough: what is being removed should be removed
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(STOPPED)
