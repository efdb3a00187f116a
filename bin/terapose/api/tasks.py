"""Tasks of Nextflow in a work folder, as they are seen in its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SCRIPT = ".command.run"
"""What an executor runs: each folder of a task has it."""
_NAME = re.compile(r"(?<![0-9a-f])[0-9a-f]{2}/[0-9a-f]{30}(?![0-9a-f])")
_TEXTS = (".command.sh", ".command.stage", SCRIPT)
"""A task's own script, the links to its inputs where these are many, and all that is around it."""


class Running(NamedTuple):
    """A task that has been made and not ended: its folder, when it began, and its scripts."""

    folder: Path
    begun: float
    script: str


def name_of(folder: Path) -> str:
    """How a task is called by its folder: ``37/95f160…``."""
    return f"{folder.parent.name}/{folder.name}"


def is_name(name: str) -> bool:
    """Whether a name is one that Nextflow gives."""
    return bool(_NAME.fullmatch(name))


def names_in(text: str) -> set[str]:
    """Names of tasks in a text, as `name_of` gives them."""
    return set(_NAME.findall(text))


def running_in(work: Path) -> Iterator[Running]:
    """Tasks that have been made and not ended; their jobs may still wait in a queue."""
    for script in work.glob(f"*/*/{SCRIPT}"):
        folder = script.parent
        if not (folder / ".exitcode").exists():
            texts = []
            for name in _TEXTS:
                with suppress(OSError):
                    texts.append((folder / name).read_text(errors="replace"))
            with suppress(OSError):
                begun = folder / ".command.begin"
                made = (begun if begun.exists() else script).stat().st_mtime
                yield Running(folder, made, "\n".join(texts))
