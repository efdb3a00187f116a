"""How many threads libraries use in a process."""

from __future__ import annotations

import os
import sys

VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Where torch and numba look when they are imported."""


def limit(count: int) -> None:
    """Let libraries that are imported from now on start so many threads, in children as well."""
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))


def use(count: int) -> None:
    """Let torch and numba use so many threads from now on, in this thread.

    numba cannot use more than it was allowed when it was imported (`limit`).
    """
    import numba

    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(count, most))
    os.environ["OMP_NUM_THREADS"] = str(count)
    # slow to import, and not every task needs it: the variable counts where it is still to come
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
