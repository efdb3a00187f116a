"""To wait for what a test has started: as long as a machine that is busy may need."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300
"""Seconds after which something hangs."""


def wait_until(happened: Callable[[], bool], said: Callable[[], str] = str) -> None:
    """Wait until something is so.

    Raises
    ------
    TimeoutError
        If it hangs; ``said`` is what there is to say then.
    """
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(said())
        time.sleep(0.05)
