"""How much memory this process can have at most."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def memory_here() -> int | None:
    """Bytes of memory of this machine, or of the part that this process may use; None: not known.

    That is the smallest of the memory of the machine, the limits of control groups (Linux),
    and that of the process (``ulimit -v``).
    """
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    with suppress(ValueError, OSError):
        pages = os.sysconf("SC_PHYS_PAGES")
        if pages > 0:
            yield pages * os.sysconf("SC_PAGE_SIZE")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft
    for folder in _groups():
        # "max" where there is no limit
        with suppress(ValueError, OSError):
            yield int((folder / "memory.max").read_text())


def _groups() -> Iterator[Path]:
    """The control group of this process, and those that it is in."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                own = Path(line.removeprefix("0::/"))
                yield from (_GROUPS / part for part in (own, *own.parents))
