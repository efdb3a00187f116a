"""The folder of what `terapose tune` writes: one call at a time, and nothing of others replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.lock import held

PAGE, PICTURE, PARAMETERS, NUMBERS = NAMES = (
    "tune.html",
    "tune.png",
    "params.json",
    "tune.json",
)
"""Names of the files. The numbers go last: they say that the others are of such a call."""
FORMAT = "terapose tune 1"


@contextmanager
def open_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, without what an earlier call has left but for its intermediate results.

    Raises
    ------
    InputError
        If it is no folder, another call writes to it, or it has files of these names that no such
        call has written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("is not a folder", where=folder, remedy="choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        there = [name for name in NAMES if os.path.lexists(folder / name)]
        if there and not _is_own(folder / NUMBERS):
            raise InputError(
                "would be overwritten, although nothing says that Terapose has written it",
                where=folder / there[0],
                remedy="choose another folder, or move the file away",
            )
        files.clear_aside(folder)
        for name in there:
            files.remove(folder / name)
        yield


def _is_own(path: Path) -> bool:
    """Whether a file has the numbers of such a call."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT
