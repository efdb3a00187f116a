"""The user's home, which a user in a container may not have.

``Path.home`` and ``Path.expanduser`` raise where no home is known.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with the home in place of a leading ``~``, as it is where no home is known."""
    return Path(os.path.expanduser(path))


@contextmanager
def some_home() -> Iterator[None]:
    """Give a library that looks for a home when it is imported one, if there is none."""
    if os.path.expanduser("~") != "~":
        yield
        return
    os.environ["HOME"] = tempfile.gettempdir()
    try:
        yield
    finally:
        del os.environ["HOME"]
