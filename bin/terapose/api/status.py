"""How far runs are, by what their stores hold and what their tasks left: while they run, or later.

A store has a marker for each task that is done (`terapose.pipeline.job`), with the seconds that it
took, and the plan says how many tasks there are. A pass of the network also has a marker for each
slab of planes, or rectangle, so that hours of a task do not go unseen. Nothing is written, so a run
that is looked at does not notice.

The pace of a stage is the number of parts done while one or more tasks were running: time in which
the run was interrupted does not count. It is that of the time since the first of the last tasks
began (`_LOOKED_AT`), in which all tasks count, however many ran at once. Markers of tasks are
listed with their times; only those of the last tasks are read.

In a work folder of Nextflow there is a folder for each attempt of a task, with its exit status once
it has ended.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from terapose.api.home import CELLS, NAME, plan_in
from terapose.core.errors import InputError, StoreError
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.plan import KEPT
from terapose.pipeline.stage import always

_HOMES = (NAME, f"*/{NAME}")
_CELLS = (CELLS, f"{CELLS}-*")
_STORES = (
    *(f"{home}/*" for home in _HOMES),
    *(f"{home}/{cells}/{NAME}/*" for home in _HOMES for cells in _CELLS),
    "*/*/store",
    "work/*/*/store",
)
"""Where stores are in a folder of results, of several samples (of each also those of a second
network, which runs first), of work, and of a launch."""
_TASKS = ("*/*", "work/*/*")
_MARKER = re.compile(r"(task-)?(\d+)\.json")
_LOOKED_AT = 1000
"""Tasks of a stage that are looked into: the last that are done, whose markers are read, and as
many of those that have only begun, of which the times of the last parts are looked up: as many in
all, but two for each task."""
_END = 64 * 1024
"""Bytes at the end of what a task wrote in which its message is looked for."""
_NAME = re.compile(r"^### name: '(.*)'$", re.MULTILINE)


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is.

    Attributes
    ----------
    name
        Of the stage.
    done, tasks
        How many tasks are done, and how many there are.
    parts, of_parts
        How many items of the tasks are done, and how many there are.
    seconds
        In which one or more of the last tasks were running.
    paced
        How many parts were done in these seconds.
    needed
        Whether every run has this stage; others have it if a parameter asks for it.
    """

    name: str
    done: int
    tasks: int
    parts: int
    of_parts: int
    seconds: float
    paced: int
    needed: bool

    @property
    def left(self) -> float | None:
        """Seconds until all is done at the same pace; None if nothing is known of it."""
        return self.seconds / self.paced * (self.of_parts - self.parts) if self.paced else None


@dataclass(frozen=True)
class Progress:
    """How far the run with a store is."""

    store: Path
    image: str
    mode: str
    stages: list[StageProgress]


@dataclass(frozen=True)
class Failure:
    """A task that has failed: its name, folder, exit status, and the last line that it wrote."""

    name: str
    folder: Path
    status: int
    said: str


def find_stores(place: Path) -> list[Path]:
    """Stores in a folder: a store itself, results, a work folder, or where Nextflow was started.

    Raises
    ------
    InputError
        If there is none.
    """
    candidates = [place, *(path for pattern in _STORES for path in sorted(place.glob(pattern)))]
    found = [path for path in candidates if (path / KEPT).is_file()]
    if not found:
        raise InputError(
            "no run has begun here",
            where=place,
            allowed="a folder of results of terapose segment, a work folder of Nextflow, or the "
            "folder in which it was started",
        )
    return found


def progress_of(store: Path) -> Progress:
    """How far the run with a store is.

    Raises
    ------
    StoreError
        If its plan is damaged.
    """
    plan = plan_in(store)
    stages = [
        _stage(store, stage.name, plan.tasks[stage.name], needed=stage.asked is always)
        for stage in GRAPH
        if stage.over and plan.tasks[stage.name]
    ]
    return Progress(store, plan.image.address, plan.mode, stages)


class _Markers:
    """The tasks that have a marker in a folder, with their ends, and the items; nothing is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tasks: dict[int, float] = {}
        self.items: set[int] = set()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                found = _MARKER.fullmatch(entry.name)
                if found and found[1]:
                    self.tasks[int(found[2])] = _ended(entry)
                elif found:
                    self.items.add(int(found[2]))

    def ran(self, task: int) -> tuple[float, float]:
        """When a task that is done began and ended."""
        ended = self.tasks[task]
        return ended - _seconds(self.folder / f"task-{task}.json"), ended

    def runs(self, items: Collection[int]) -> tuple[float, float]:
        """When a task worked on items after its first one, which is timed by nothing.

        Where it was interrupted between two of them, that is not counted.
        """
        times = sorted(_ended(self.folder / f"{item}.json") for item in items)
        steps = [after - before for before, after in itertools.pairwise(times)]
        return times[-1] - (statistics.median(steps) * len(steps) if steps else 0.0), times[-1]


def _stage(
    store: Path, name: str, tasks: Sequence[tuple[int, int]], *, needed: bool
) -> StageProgress:
    """The stage; of several keys, with the one that was worked on last."""
    # gradients-yx-KEY is a stage, gradients-KEY none
    folders = [
        folder
        for folder in store.glob(f"done/{name}-*")
        if re.fullmatch(r"[0-9a-f]+", folder.name.removeprefix(f"{name}-"))
    ]
    # a folder changes whenever a marker is written
    left = _Markers(max(folders, key=_ended, default=store / "done" / name))
    ended = [number for number, _ in enumerate(tasks) if number in left.tasks]
    # all of a task that is done, and of others those that have markers of their own
    begun = {n: left.items.intersection(range(*items)) for n, items in enumerate(tasks)}
    for number in ended:
        del begun[number]
    parts = sum(len(range(*tasks[n])) for n in ended) + sum(map(len, begun.values()))
    seconds, paced = _pace(left, ended, tasks, [items for items in begun.values() if items])
    return StageProgress(name, len(ended), len(tasks), parts, tasks[-1][1], seconds, paced, needed)


def _pace(
    left: _Markers,
    ended: Sequence[int],
    tasks: Sequence[tuple[int, int]],
    begun: Sequence[Collection[int]],
) -> tuple[float, int]:
    """Seconds in which the last tasks of a stage ran, and how many parts were done in them.

    Tasks are the last by their ends, not by their numbers: no other task ran in a gap between them.
    Others that ended after the first of them began count, too, but their markers are not read.
    """
    by_end = sorted(ended, key=left.tasks.__getitem__)
    last, earlier = by_end[-_LOOKED_AT:], by_end[:-_LOOKED_AT]
    times = [left.ran(number) for number in last]
    since = min(times, default=(0.0, 0.0))[0]
    counted = last + [number for number in earlier if left.tasks[number] > since]
    paced = sum(len(range(*tasks[number])) for number in counted)
    most = max(2, _LOOKED_AT // max(1, len(begun)))
    seen = [sorted(items)[-most:] for items in begun[-_LOOKED_AT:]]
    times += [left.runs(items) for items in seen]
    if seen:
        # those that are not looked into run at the same time
        paced += round(sum(len(items) - 1 for items in seen) * len(begun) / len(seen))
    return _covered(times), paced


def _covered(times: Iterable[tuple[float, float]]) -> float:
    """Seconds that are in at least one of these times."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(times):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _ended(marker: Path | os.DirEntry[str]) -> float:
    """When a task ended; a marker may be removed meanwhile."""
    try:
        return marker.stat().st_mtime
    except OSError:
        return 0.0


def _seconds(marker: Path) -> float:
    try:
        return float(json.loads(marker.read_bytes())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def failures_in(place: Path) -> list[Failure]:
    """Tasks of Nextflow that have failed, the last ones last.

    Parameters
    ----------
    place
        A work folder, or the folder in which Nextflow was started.
    """
    folders = [path for pattern in _TASKS for path in place.glob(pattern)]
    return sorted(_failures(folders), key=lambda one: _ended(one.folder / ".exitcode"))


def _failures(folders: list[Path]) -> Iterator[Failure]:
    for folder in folders:
        try:
            status = int((folder / ".exitcode").read_text())
            script = (folder / ".command.run").read_bytes().decode(errors="replace")
            name = _NAME.search(script) if status else None
        except (OSError, ValueError):
            continue
        if status:
            lines = _lines(folder / ".command.err")
            own = [line for line in lines if line.startswith("terapose: ")]
            # schedulers write why they ended a task to its log
            told = own or lines or _lines(folder / ".command.log")
            said = (told or ["stopped without a message"])[-1]
            yield Failure(name[1] if name else folder.name, folder, status, said)


def _lines(path: Path) -> list[str]:
    """The last lines of a file that are not empty."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def known(stores: list[Path]) -> Iterator[Progress | StoreError]:
    """How far each run is, or why that cannot be known."""
    for store in stores:
        try:
            yield progress_of(store)
        except StoreError as error:
            yield error
