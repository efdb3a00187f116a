"""Nextflow's trace of a run: time and memory of tasks, by sample and process.

Amounts are as people read them (``1m 13s``, ``141.6 MB``), or, with ``trace.raw``, plain numbers of
milliseconds and bytes. Tasks that failed do not count, those of an earlier run that were reused do.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from terapose.core.errors import InputError

_NEEDED = ("name", "status", "realtime", "peak_rss")
_DONE = ("COMPLETED", "CACHED")
_NAME = re.compile(r"(?:.*:)?(?P<process>\w+)(?: \((?P<tag>.*)\))?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_PART = re.compile(r"([\d.]+)\s*(ms|[smhd])")
_GATHER = "gather of "
_SECOND = "SEGMENT_CELLS"
"""Scope of the second network, whose tasks are those of other results."""


@dataclass
class Tasks:
    """The tasks of a process for one sample: number, seconds of all, bytes of the largest."""

    number: int = 0
    seconds: float = 0.0
    memory: int = 0


def seconds(text: str) -> float:
    """A duration in seconds; 0 for none (``-``)."""
    if text.isdigit():
        return int(text) / 1000
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def size(text: str) -> int:
    """An amount of memory in bytes; 0 for none (``-``)."""
    if text.isdigit():
        return int(text)
    number, _, unit = text.strip().partition(" ")
    return round(float(number) * _SIZES[unit]) if unit in _SIZES else 0


def parse(
    lines: Iterable[str], where: object, samples: Iterable[str], numbered: Collection[str]
) -> dict[str, dict[str, Tasks]]:
    """Tasks by sample and by the name of the stage.

    Parameters
    ----------
    lines
        Of the file.
    where
        The file, for messages.
    samples
        Names of the samples; tasks of others are left out.
    numbered
        Names of the stages whose tasks have numbers.

    Raises
    ------
    InputError
        If it is no trace, or has not the columns that are needed.
    """
    rows = csv.DictReader(lines, delimiter="\t")
    missing = [name for name in _NEEDED if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(
            "is not a Nextflow trace with all columns that are needed",
            where=where,
            got=f"no {', '.join(missing)}",
            remedy="leave trace.fields of Nextflow as it is",
        )
    found: dict[str, dict[str, Tasks]] = {name: {} for name in samples}
    for row in rows:
        name = _NAME.fullmatch(row["name"] or "")
        if name is None or row["status"] not in _DONE or _SECOND in row["name"]:
            continue
        stage = stage_of(name["process"])
        sample = _sample(name["tag"] or "", stage, numbered)
        if sample not in found:
            continue
        tasks = found[sample].setdefault(stage, Tasks())
        tasks.number += 1
        tasks.seconds += seconds(row["realtime"] or "")
        tasks.memory = max(tasks.memory, size(row["peak_rss"] or ""))
    return found


def work_folders(lines: Iterable[str]) -> list[str] | None:
    """The folder of each task of a trace; None if it has no column for them."""
    rows = [line.rstrip("\r\n").split("\t") for line in lines]
    if not rows or "workdir" not in rows[0]:
        return None
    place = rows[0].index("workdir")
    return [row[place] for row in rows[1:] if len(row) > place]


def stage_of(process: str) -> str:
    """Name of the stage of a process: ``gradients-yx`` for GRADIENTS_YX."""
    name = process.lower()
    if name.startswith("gradients_"):
        return name.replace("_", "-")
    return f"{_GATHER}{name[7:]}" if name.startswith("gather_") else name


def _sample(tag: str, stage: str, numbered: Collection[str]) -> str:
    """The sample of a task: its tag without what follows it there, by words.

    That is the number of the task, after the axis where it is a pass of the network; and the name
    of the stage where it is a gather. A sample's name may end in a number itself.
    """
    axis = stage.startswith("gradients-")
    words = 1 + axis if stage in numbered else int(stage.startswith(_GATHER))
    return " ".join(tag.split(" ")[: -words or None])
