"""Folders of tasks that a finished run of the workflow has left in its work folder.

1. A run that has finished all samples leaves a note beside its results (``modules/outdir.nf``),
   which the next run into the same folder removes before its first task. Nextflow's trace, with
   the column ``workdir``, names the folders of its tasks, those of earlier runs that it reused
   among them.
2. Other tasks in the work folder that name the store of the run, which is in one of these folders,
   count too if they have ended: failed attempts, and earlier runs with other parameters. Not those
   that publish into another folder of results.
3. All these folders go, or none. They stay as long as results are missing or damaged, or name one
   of them; these results or others, published from the same work folder, have a link into one; a
   store in them stays; or a task that has been made since may read them.
4. A folder has to have a name that Nextflow gives, and its script. Links are removed, and not
   followed. What else is in a work folder (``tmp``, ``stage-*``, environments) stays.
5. The folder of a plan stays, empty. If it went, and any task of another run that names it did not,
   Nextflow could make the same one again, and take for done what is no longer in its store.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from terapose.api.left import Left, below, size_of
from terapose.api.profile import TRACE
from terapose.api.tasks import SCRIPT, Running, is_name, name_of, names_in
from terapose.apps.profile.trace import work_folders
from terapose.pipeline.plan import KEPT
from terapose.results.earlier import RECORD

NOTE = Path("pipeline_info") / "finished.json"
"""What a run leaves beside its results when it has finished all samples."""
_INTO = re.compile(r"--into ('(?:[^']|'\\'')*'|\S+)")
"""Where a task publishes: a folder in that of a run's results."""
_LATE = 60.0
"""Seconds by which Nextflow may finish its trace after the note."""


@dataclass(frozen=True)
class _Run:
    """What is known of a finished run.

    Attributes
    ----------
    names
        Those of the tasks, as in their folders.
    samples
        Folders of the samples' results in that of the run.
    ended
        When it ended.
    """

    names: frozenset[str]
    samples: tuple[str, ...]
    ended: float


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
        Tasks in the work folder that have been made and not ended.
    """
    there = [folder for folder in sorted(work.glob("??/*")) if _is_task(folder)]
    if not there:
        return []
    run = _finished(place, work)
    if isinstance(run, str):
        return [Left(work, None, f"its tasks stay: {run}")]
    own, places = _divided(there, place, run)
    if not own:
        return []
    tasks = {*own}
    counted = sum(one.size or 0 for one in stores if one.path.parent in tasks)
    reasons = _reasons(place, work, run, tasks, results, stores, places, running)
    return [Left(work, size_of(own) - counted, next(reasons, ""), own)]


def is_plan(task: Path) -> bool:
    """Whether a task is that of a plan, whose folder has the run's store."""
    return (task / KEPT).exists()


def _finished(place: Path, work: Path) -> _Run | str:
    """The last run with results in a folder; or why it is not known to be finished."""
    note, trace = place / NOTE, place / TRACE
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        folder, ended, samples = noted["work"], float(noted["ended"]), tuple(noted["samples"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"the last run has not finished every sample: there is no {note}, or it is damaged"
    if Path(folder).resolve() != work.resolve():
        return f"the work folder of the last run is {folder}, by {note}"
    if not trace.is_file():
        return f"there is no {trace}, which names the folders of tasks"
    if trace.stat().st_mtime > ended + _LATE:
        return f"{trace} was written after the end of the run"
    with trace.open(encoding="utf-8", errors="replace", newline="") as lines:
        named = work_folders(lines)
    if named is None:
        return f"{trace} has no column workdir, which names the folders of tasks"
    above = f"{folder.rstrip('/')}/"
    names = (one.removeprefix(above) for one in named if one.startswith(above))
    return _Run(frozenset(filter(is_name, names)), samples, ended)


def _is_task(folder: Path) -> bool:
    links = folder.is_symlink() or folder.parent.is_symlink()
    with suppress(OSError):
        return not links and is_name(name_of(folder)) and (folder / SCRIPT).is_file()
    return False


def _divided(
    tasks: Sequence[Path], place: Path, run: _Run
) -> tuple[tuple[Path, ...], frozenset[Path]]:
    """Folders of tasks that are the run's own, and where others publish: folders of samples.

    A run's own are those in the trace, and those that have ended, name a store of the run, and
    publish nowhere else.
    """
    own, places = [], set()
    for folder in tasks:
        if name_of(folder) in run.names:
            own.append(folder)
            continue
        with suppress(OSError):
            script = (folder / ".command.sh").read_text(errors="replace")
            into = {Path(*shlex.split(quoted)) for quoted in _INTO.findall(script)}
            elsewhere = {path for path in into if not path.is_relative_to(place.absolute())}
            places |= elsewhere
            named = any(f"{name}/store" in script for name in run.names & names_in(script))
            ended = (folder / ".exitcode").stat().st_mtime
            if named and not elsewhere and ended < run.ended:
                own.append(folder)
    return tuple(own), frozenset(places)


def _reasons(
    place: Path,
    work: Path,
    run: _Run,
    tasks: Set[Path],
    results: Mapping[Path, str],
    stores: Sequence[Left],
    places: Set[Path],
    running: Sequence[Running],
) -> Iterator[str]:
    """Why the folders of tasks stay."""
    names = {name_of(task) for task in tasks}
    records = [place / sample / RECORD for sample in run.samples]
    yield from (f"{record} is missing" for record in records if not record.is_file())
    yield from filter(None, results.values())
    for record in results:
        if named := names & names_in(record.read_text(encoding="utf-8", errors="replace")):
            yield f"{record} names {work / min(named)}"
    real = {task.resolve() for task in tasks}
    outdirs = [place.resolve(), *sorted({sample.parent.resolve() for sample in places})]
    for path in below(outdirs, but=work.resolve()):
        if path.is_symlink() and real & {(target := path.resolve()), *target.parents}:
            yield f"{path} is a link into it"
    yield from (
        f"{one.path} stays: {one.kept}" for one in stores if one.kept and one.path.parent in tasks
    )
    for task in running:
        if task.begun > run.ended and names & names_in(task.script):
            yield f"a task that may read it has begun and not ended: {task.folder}"
