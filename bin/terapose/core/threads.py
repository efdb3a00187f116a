"""How many threads libraries start in a process: they read it when they are imported."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Where they look."""


def limit(count: int) -> None:
    """Let libraries that are imported from now on start so many threads, in children as well."""
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
