"""Folders of tasks that a finished run of the workflow has left in its work folder.

1. A run whose samples are all finished leaves a note beside its results (``modules/outdir.nf``),
   which the next run into the same folder removes before its first task. Nextflow's trace, with
   the column ``workdir``, names the folders of its tasks, those of earlier runs that it reused
   among them.
2. Attempts that failed in earlier runs are in no trace. Their scripts name the store of the run,
   which is in one of these folders. They count, too, if they have ended.
3. All these folders go, or none: as long as results are missing or damaged, lead into one of them
   or name one, a store in them stays, or a task that has begun since may read them, they stay.
4. A folder has to have a name that Nextflow gives, and its script. Links in it are removed, and not
   followed. What else is in a work folder (``tmp``, ``stage-*``, environments) stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from terapose.api.left import Left, below, size_of
from terapose.api.profile import TRACE
from terapose.api.tasks import SCRIPT, Running, name_of, names_in
from terapose.apps.profile.trace import work_folders

NOTE = Path("pipeline_info") / "finished.json"
"""What a run leaves beside its results when all samples in it are finished."""


def tasks_of(
    place: Path,
    work: Path,
    results: Mapping[Path, str],
    stores: Sequence[Left],
    running: Sequence[Running],
) -> list[Left]:
    """What the tasks of the last run with results have left: at most one entry, for all of them.

    Parameters
    ----------
    place
        The folder of the run (``outdir``).
    work
        Its work folder.
    results
        Records of the results in it, and what is wrong with these, empty if nothing is.
    stores
        What was found in the work folder.
    running
        Tasks in the work folder that have begun and not ended.
    """
    trace = place / TRACE
    if not trace.is_file():
        return []
    with trace.open(encoding="utf-8", errors="replace", newline="") as lines:
        named = work_folders(lines)
    if named is None:
        return [Left(work, 0, f"{trace} has no column workdir, which names the folders of tasks")]
    since = (place / NOTE).stat().st_mtime if (place / NOTE).is_file() else 0.0
    names = {name_of(folder) for folder in map(Path, named) if _is_in(folder, work)}
    listed = [work / name for name in sorted(names) if _is_task(work / name)]
    tasks = (*listed, *_failed(names, work, since))
    if not tasks:
        return []
    inside = {one.path for one in stores}
    size = size_of(path for task in tasks for path in task.iterdir() if path not in inside)
    reasons = _reasons(place, work, set(tasks), results, stores, running, since)
    return [Left(work, size, next(reasons, ""), tasks)]


def _is_in(folder: Path, work: Path) -> bool:
    return folder.parent.parent.resolve() == work.resolve()


def _is_task(folder: Path) -> bool:
    known = names_in(name_of(folder)) and not folder.is_symlink()
    return bool(known) and (folder / SCRIPT).is_file()


def _failed(listed: Set[str], work: Path, since: float) -> Iterator[Path]:
    """Tasks that are not listed, ended before a time, and name the store of one that is."""
    for folder in sorted(work.glob("??/*")):
        ended = folder / ".exitcode"
        if name_of(folder) not in listed and _is_task(folder) and ended.is_file():
            script = (folder / ".command.sh").read_text(errors="replace")
            named = listed & names_in(script)
            is_own = any(f"{name}/store" in script for name in named)
            if is_own and ended.stat().st_mtime < since:
                yield folder


def _reasons(
    place: Path,
    work: Path,
    tasks: set[Path],
    results: Mapping[Path, str],
    stores: Sequence[Left],
    running: Sequence[Running],
    since: float,
) -> Iterator[str]:
    """Why the folders of tasks stay."""
    names = {name_of(task) for task in tasks}
    if not since:
        yield f"the last run has not finished every sample: there is no {place / NOTE}"
    yield from filter(None, results.values())
    for record in filter(Path.is_file, results):
        if named := names & names_in(record.read_text(errors="replace")):
            yield f"{record} names {work / min(named)}"
    real = {task.resolve() for task in tasks}
    for path in below([place]):
        if path.is_symlink() and real & {*Path(os.path.realpath(path)).parents}:
            yield f"{path} is a link into it"
    yield from (
        f"{one.path} stays: {one.kept}" for one in stores if one.kept and one.path.parent in tasks
    )
    for task in running:
        if task.begun > since and names & names_in(task.script):
            yield f"a task that may read it has begun and not ended: {task.folder}"
