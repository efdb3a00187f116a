"""Tasks of Nextflow in a work folder, as they are seen in its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Running(NamedTuple):
    """A task that has begun and not ended: its folder, when it began, and its script."""

    folder: Path
    begun: float
    script: str


def running_in(work: Path) -> Iterator[Running]:
    """Tasks that have begun and not ended."""
    for begun in work.glob("*/*/.command.begin"):
        folder = begun.parent
        if not (folder / ".exitcode").exists():
            with suppress(OSError):
                script = (folder / ".command.sh").read_text(errors="replace")
                yield Running(folder, begun.stat().st_mtime, script)
