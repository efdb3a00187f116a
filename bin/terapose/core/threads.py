"""How many threads libraries use in a process."""

from __future__ import annotations

import os
from collections.abc import Collection

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


def use(count: int, libraries: Collection[str]) -> None:
    """Let torch and numba use so many threads from now on, if they are among these libraries.

    They are imported for that, which other tasks are spared.
    """
    if "numba" in libraries:
        import numba

        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(count, most))
    if "torch" in libraries:
        import torch

        torch.set_num_threads(count)
