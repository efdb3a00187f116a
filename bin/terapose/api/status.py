"""How far runs are, by what their stores hold and what their tasks left: while they run, or later.

A store has a marker for each task that is done (`terapose.pipeline.job`), with the seconds that it
took, and the plan says how many tasks there are. A pass of the network also has a marker for each
slab of planes, or rectangle, so that hours of a task do not go unseen. The time left of a stage
follows from when its markers were written, however many tasks run side by side. Nothing is written,
so a run that is looked at does not notice.

In a work folder of Nextflow there is a folder for each attempt of a task, with its exit status once
it has ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from terapose.api.home import plan_in
from terapose.core.errors import InputError, StoreError
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.plan import KEPT
from terapose.pipeline.stage import always

_STORES = (".terapose/*", "*/.terapose/*", "*/*/store", "work/*/*/store")
"""Where stores are in a folder of results, of several samples, of work, and of a launch."""
_TASKS = ("*/*", "work/*/*")
_MARKER = re.compile(r"(task-)?\d+\.json")
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
        Between the start of the first task and the end of the last part so far; from the end of the
        first part, if no task is done.
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


def _stage(
    store: Path, name: str, tasks: Sequence[tuple[int, int]], *, needed: bool
) -> StageProgress:
    """The stage; of several keys, with the one that was worked on last."""
    latest: list[Path] = []
    for folder in store.glob(f"done/{name}-*"):
        # gradients-yx-KEY is a stage, gradients-KEY none
        if re.fullmatch(r"[0-9a-f]+", folder.name.removeprefix(f"{name}-")):
            found = [path for path in folder.glob("*.json") if _MARKER.fullmatch(path.name)]
            markers = sorted(found, key=_ended)
            if markers and (not latest or _ended(markers[-1]) > _ended(latest[-1])):
                latest = markers
    ended = {path: n for path in latest if (n := _task(path)) is not None and n < len(tasks)}
    # all of a task that is done, and of others those that have markers of their own
    parts = {item for number in ended.values() for item in range(*tasks[number])}
    parts |= {int(path.stem) for path in latest if path.stem.isdecimal()}
    begin, paced = 0.0, len(parts)
    if ended:
        begin = min(_ended(path) - _seconds(path) for path in ended)
    elif latest:
        begin, paced = _ended(latest[0]), paced - 1
    seconds = _ended(latest[-1]) - begin if latest else 0.0
    of_parts = tasks[-1][1]
    return StageProgress(name, len(ended), len(tasks), len(parts), of_parts, seconds, paced, needed)


def _task(marker: Path) -> int | None:
    """Number of the task that a marker is of; None if it is of an item."""
    return int(marker.stem.removeprefix("task-")) if marker.stem.startswith("task-") else None


def _ended(marker: Path) -> float:
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
            name = _NAME.search((folder / ".command.run").read_text()) if status else None
        except (OSError, ValueError):
            continue
        if status:
            lines = _lines(folder / ".command.err")
            own = [line for line in lines if line.startswith("terapose: ")]
            said = (own or lines or ["stopped without a message"])[-1]
            yield Failure(name[1] if name else folder.name, folder, status, said)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="replace")
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
