"""How far runs are, by what their stores hold and what their tasks left: while they run, or later.

A store has a marker for each task that is done (`terapose.pipeline.job`), with the seconds that it
took, and the plan says how many tasks there are. A pass of the network also has a marker for each
slab of planes, or rectangle, so that hours of a task do not go unseen. Nothing is written, so a run
that is looked at does not notice.

The pace of a stage is the number of parts done while one or more tasks were running: time in which
the run was interrupted does not count. It is that of the time since the first of the last tasks
began (`_LOOKED_AT`), in which all tasks count, however many ran at once. Markers of tasks are
listed with their times; only those of the last tasks are read.

Stages whose results a process keeps in memory (`terapose.io.store.held`) leave no markers: they are
done once a later stage has begun.
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
from dataclasses import dataclass, replace
from pathlib import Path

from terapose.api.home import CELLS, NAME, plan_in
from terapose.core.errors import StoreError
from terapose.core.params import check
from terapose.io.store.held import STAGES as HELD
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.plan import KEPT
from terapose.pipeline.stage import always
from terapose.pipeline.work import work_of

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
_MARKER = re.compile(r"(task-)?(\d+)\.json")
_LOOKED_AT = 1000
"""Tasks of a stage that are looked into: the last that are done, whose markers are read, and as
many of those that have only begun, of which the times of the last parts are looked up: as many in
all, but two for each task."""


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
    """How far the run with a store is.

    Attributes
    ----------
    store, image, mode
        Which run it is.
    stages
        Those that have begun, and those that may come.
    work
        Seconds that stages take by the measured rates, where there is one, with a processor or GPU:
        those that every run has, unless its parameters are unusual.
    """

    store: Path
    image: str
    mode: str
    stages: list[StageProgress]
    work: dict[str, float]

    @property
    def left(self) -> float | None:
        """Seconds until all stages are done, as an estimate; None if no task was timed yet.

        A stage that has begun goes on at its pace. One that has not takes as many times as long as
        measured rates say as stages before it did: passes of the network by themselves, for they
        may have GPUs. Gathers, and stages without a rate, are not counted.
        """
        total = 0.0
        for stage in self.stages:
            if stage.left is not None:
                total += stage.left
            elif work := self.work.get(stage.name):
                is_pass = bool(STAGES[stage.name].axis)
                factor = self._factor(is_pass) or self._factor(not is_pass)
                if factor is None:
                    return None
                total += factor * work * (1 - stage.parts / stage.of_parts)
        return total

    def _factor(self, is_pass: bool) -> float | None:
        """How many times as long as by the rates stages took: tasks run side by side."""
        timed = [s for s in self.stages if s.paced and bool(STAGES[s.name].axis) == is_pass]
        work = sum(self.work.get(s.name, 0.0) * s.paced / s.of_parts for s in timed)
        return sum(s.seconds for s in timed if s.name in self.work) / work if work else None


def find_stores(place: Path) -> list[Path]:
    """Stores in a folder: a store itself, results, a work folder, or where Nextflow was started."""
    candidates = [place, *(path for pattern in _STORES for path in sorted(place.glob(pattern)))]
    return [path for path in candidates if (path / KEPT).is_file()]


def progress_of(store: Path) -> Progress:
    """How far the run with a store is.

    Raises
    ------
    StoreError
        If its plan is damaged.
    """
    plan, usual = plan_in(store), check({})
    values = usual.model_dump()
    stages = [
        _stage(store, stage.name, plan.tasks[stage.name], needed=stage.asked is always)
        for stage in GRAPH
        if stage.over and plan.tasks[stage.name]
    ]
    work = {
        stage.name: seconds
        for stage in GRAPH
        if stage.over and stage.runs(plan, usual)
        if (seconds := work_of(plan, values, stage.name)) is not None
    }
    return Progress(store, plan.image.address, plan.mode, list(_possible(stages)), work)


def _possible(stages: Sequence[StageProgress]) -> Iterator[StageProgress]:
    """Stages without those that a run has passed over: no parameter asks for them."""
    begun = [n for n, stage in enumerate(stages) if stage.parts]
    last = begun[-1] if begun else -1
    # those whose receipts one gather takes run side by side
    beside = [
        name for stage in GRAPH for name in stage.gathers if stages[last].name in stage.gathers
    ]
    for number, stage in enumerate(stages):
        if stage.parts or number > last or stage.name in beside:
            yield stage
        elif stage.name in HELD:
            yield replace(stage, done=stage.tasks, parts=stage.of_parts)


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


def known(stores: list[Path]) -> Iterator[Progress | StoreError]:
    """How far each run is, or why that cannot be known."""
    for store in stores:
        try:
            yield progress_of(store)
        except StoreError as error:
            yield error
