"""How many threads libraries use in a process."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Where torch and numba look when they are imported."""


def limit(count: int, *, numba: int | None = None) -> None:
    """Let libraries that are imported from now on start so many threads, in children as well.

    Parameters
    ----------
    count
        Number of threads.
    numba
        Of numba, which can use fewer of them later, but never more than at first (`use`).
    """
    os.environ.update(zip(VARIABLES, (str(count), str(numba or count)), strict=True))


def use(count: int, library: str | None) -> None:
    """Let torch or numba use so many threads from now on.

    It is imported for that, which tasks that use neither are spared: numba may start all threads
    that it was allowed, and torch takes a second.
    """
    if library == "numba":
        import numba

        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(count, most))
    elif library == "torch":
        import torch

        torch.set_num_threads(count)
