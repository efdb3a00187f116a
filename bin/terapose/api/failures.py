"""Tasks of Nextflow that have failed, by the files in a work folder: while it runs, or later.

There is a folder for each attempt of a task. Attempts with one name are of one task, and their
order is that in which Nextflow wrote their scripts: all on one machine, so clocks of nodes do not
matter. Only the last attempt counts: what succeeded when it was repeated has not failed.

An attempt leaves its exit status, unless it was killed together with the shell around it, as when
a node is lost. If it was repeated since, it has certainly ended. If not, it looks like one that is
running: it is reported once nothing was written to its folder for long (`_QUIET`, and `_SLOWER`
times as long as the slowest task of the process took), as one that may have been killed. An hour is
more than clocks of machines and caches of a network's file system differ by.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

_TASKS = ("*/*", "work/*/*")
"""Where tasks are in a work folder, and where Nextflow was started."""
_QUIET = 3600
"""Seconds without a sign of a task after which it is reported."""
_SLOWER = 3
_START, _END = 16 * 1024, 64 * 1024
"""Bytes at the start of a script in which its name is, and at the end of what a task wrote."""
_NAME = re.compile(r"^### name: '(.*)'$", re.MULTILINE)
_ARRAY = re.compile(r"^### array:$", re.MULTILINE)
"""In the script of a job array, whose folder is that of no task: its tasks have their own."""
_SCHEDULERS = re.compile(
    # memory
    r"slurmstepd\S*: error: .*(memory limit|oom.kill)|TERM_MEMLIMIT: job killed|"
    r"=>> PBS: job killed: p?v?mem\b|Cgroup mem\w* limit exceeded|"
    r'job [\d.]+ exceeds job (\w+ )?hard limit "?h_(vmem|rss)|'
    # time
    r"slurmstepd\S*: error: .*DUE TO TIME LIMIT|TERM_RUNLIMIT: job killed|"
    r"=>> PBS: job killed: walltime\b|job [\d.]+ exceeded (hard|soft) wallclock time|"
    # anything else
    r"slurmstepd\S*: error|CANCELLED AT|TERM_\w+: job killed|=>> PBS: job killed",
    re.IGNORECASE,
)
"""What schedulers write into the log of a task that they end: as ``conf/base.config``."""
_LEAST_SPACE = 65536
_KILLED = (9, 137, 247)

Ending = Literal["failed", "repeated", "silent"]


@dataclass(frozen=True)
class Failure:
    """A task whose last attempt did not succeed.

    Attributes
    ----------
    name
        Of the task.
    ending
        ``failed``; ``repeated``: it failed, and another attempt waits or runs; ``silent``: it has
        not ended, as far as is known, and has written nothing for long.
    folder
        Of the attempt.
    status
        Exit status; None if there is none.
    said
        Why, as far as it is known.
    """

    name: str
    ending: Ending
    folder: Path
    status: int | None
    said: str


@dataclass(frozen=True)
class _Attempt:
    """A folder of a task: when Nextflow wrote its script, and the exit status if it has ended."""

    folder: Path
    written: float
    status: int | None

    @cached_property
    def _header(self) -> str:
        """The start of the script."""
        with suppress(OSError), (self.folder / ".command.run").open("rb") as file:
            return file.read(_START).decode(errors="replace")
        return ""

    @property
    def name(self) -> str:
        """Of the task; of one without a name the folder's."""
        found = _NAME.search(self._header)
        return found[1] if found else self.folder.name

    @property
    def is_array(self) -> bool:
        return bool(_ARRAY.search(self._header))

    @property
    def process(self) -> str:
        return self.name.partition(" (")[0]

    @property
    def has_begun(self) -> bool:
        return (self.folder / ".command.begin").exists()

    @property
    def took(self) -> float:
        """Seconds from its begin to its end, both of which its node has written."""
        return _time(self.folder / ".exitcode") - _time(self.folder / ".command.begin")

    @cached_property
    def last_sign(self) -> float:
        """When anything was last written to the folder; links are to what others write."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            own = [_time(entry) for entry in entries if not entry.is_symlink()]
            return max(own, default=self.written)
        return self.written

    @property
    def is_quiet(self) -> bool:
        """Whether it has begun, not ended, and given no sign for long."""
        return self.status is None and self.has_begun and self.quiet > _QUIET

    @property
    def quiet(self) -> float:
        """Seconds without a sign."""
        return time.time() - self.last_sign


def has_attempts(place: Path) -> bool:
    """Whether Nextflow has submitted any task from here, or into this work folder.

    Parameters
    ----------
    place
        As of `failures_in`.
    """
    return any(_attempts_in(place))


def failures_in(place: Path) -> list[Failure]:
    """Tasks of Nextflow whose last attempt did not succeed, the last ones last.

    Parameters
    ----------
    place
        A work folder, or the folder in which Nextflow was started.
    """
    attempts = sorted(_attempts_in(place), key=lambda one: one.written)
    # names are not read of those before: a run has many tasks
    first = next((n for n, one in enumerate(attempts) if one.status != 0), len(attempts))
    tasks: dict[str, list[_Attempt]] = {}
    for one in attempts[first:]:
        if not one.is_array:
            tasks.setdefault(one.name, []).append(one)
    slowest: dict[str, float] = {}
    if any(own[-1].is_quiet for own in tasks.values()):
        for one in attempts:
            if one.status == 0:
                slowest[one.process] = max(one.took, slowest.get(one.process, 0))
    found = [
        (one.last_sign, _failure(one, ending))
        for own in tasks.values()
        for one, ending in _unsuccessful(own, slowest)
    ]
    return [failure for _, failure in sorted(found, key=lambda one: one[0])]


def _attempts_in(place: Path) -> Iterator[_Attempt]:
    for pattern in _TASKS:
        for folder in place.glob(pattern):
            with suppress(OSError):
                written = (folder / ".command.run").stat().st_mtime
                yield _Attempt(folder, written, _status(folder))


def _status(folder: Path) -> int | None:
    """The exit status; where the disk was full, its file is empty."""
    try:
        return int((folder / ".exitcode").read_bytes())
    except (OSError, ValueError):
        return None


def _unsuccessful(
    own: Sequence[_Attempt], slowest: Mapping[str, float]
) -> Iterator[tuple[_Attempt, Ending]]:
    """The attempt of a task that is reported, if any.

    Parameters
    ----------
    own
        Its attempts, in their order.
    slowest
        Seconds that the slowest task of each process took.
    """
    *others, last = own
    if last.status is not None:
        if last.status:
            yield last, "failed"
    elif last.is_quiet and last.quiet > _SLOWER * slowest.get(last.process, 0):
        yield last, "silent"
    elif others and others[-1].status != 0 and others[-1].has_begun:
        yield others[-1], "repeated"


def _failure(one: _Attempt, ending: Ending) -> Failure:
    if ending == "silent":
        hours = one.quiet / 3600
        said = f"has written nothing for {hours:.0f} h: it runs, or it was killed with its node"
    else:
        said = _sentence(one.folder, one.status)
    return Failure(one.name, ending, one.folder, one.status, said)


def _sentence(folder: Path, status: int | None) -> str:
    """Why a task failed, in the order in which the workflow itself looks for it at its end.

    That is ``sentence`` in ``modules/failures.nf``; only Nextflow knows what it was answered.
    """
    lines = _lines(folder / ".command.err")
    own = [line for line in lines if line.startswith("terapose: ")]
    noted = [line for line in _lines(folder / ".command.log") if _SCHEDULERS.search(line)]
    found = (own if status in (2, os.EX_TEMPFAIL) else []) or noted or own or lines
    if found:
        return found[-1]
    if _is_full(folder):
        return "No space left on device; make room, and run again with -resume"
    if status in _KILLED:
        return "was killed, most likely for lack of memory"
    return "was killed, or stopped without a message"


def _is_full(folder: Path) -> bool:
    """Whether the disk of a work folder is full: then a task cannot even say so."""
    with suppress(OSError):
        return shutil.disk_usage(folder).free < _LEAST_SPACE
    return False


def _lines(path: Path) -> list[str]:
    """The last lines of a file that are not empty."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _time(path: Path | os.DirEntry[str]) -> float:
    """When something was written; it may be removed meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
