"""What runs that are finished have left behind: stores that may go, and why others stay.

1. Results are those of a folder, or of the samples in it; stores are beside them
   (`terapose.api.home`), in the folder of ``--store``, and in the tasks of a work folder of
   Nextflow.
2. A store goes if results with the same plan are there and as they were written, nobody writes to
   their folder, none of them is a link into it, no run with other parameters has worked in it
   since, and no task that has begun since may still read it. The cells of a second network go with
   their store, if the results name their plan. In a folder of ``--store`` a run with the same
   parameters and other results may be at work, so there no run at all may have worked since.
3. What `terapose tune` has left goes if it is finished: its runs have no results that stay, but the
   sheet says that all of them are (`terapose.api.tuned`).
4. The folders of tasks of a run of the workflow go when it has finished all samples
   (`terapose.api.finished_tasks`).
5. A store goes as a whole or not at all. It has to consist of regular files in real folders, under
   names that this program gives; with anything else in it, it stays. No link is followed. It is
   renamed before it is removed: a run that begins meanwhile makes a new one, and what was left by
   an interruption is found again.

Probes that a run could not remove from an object store go from a copy of it, too, once they are
old (`terapose.io.remote`).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from terapose.api import home
from terapose.api.finished_tasks import is_plan, tasks_of
from terapose.api.left import Left, below, freed, size_of, status_of
from terapose.api.own_names import is_own
from terapose.api.tasks import SCRIPT, Running, running_in
from terapose.api.tune.folder import PARAMETERS
from terapose.api.tuned import digests_of
from terapose.core.errors import InputError, StoreError
from terapose.io import files, lock
from terapose.io.remote import PROBE_AGE, is_probe
from terapose.pipeline.plan import KEPT
from terapose.results.earlier import RECORD, record_of
from terapose.results.outputs import LABELS, named
from terapose.results.verify import check, folders_in


@dataclass(frozen=True)
class _Results:
    """Results by their folder.

    Attributes
    ----------
    folder, digests, second
        Where they are, and the plans they are of, that of a second network apart.
    keys
        Stages they were made by, as ``STAGE-KEY``.
    since
        When they were finished.
    fault
        What is wrong with them.
    """

    folder: Path
    digests: tuple[str, ...]
    second: str
    keys: frozenset[str]
    since: float
    fault: str


class _Finished:
    """Results of several folders, to be looked up by their plans, and by names of cells."""

    def __init__(self, results: Sequence[_Results]) -> None:
        self.by_digest: dict[str, list[_Results]] = {}
        self.by_cells = {home.shared_cells(one.folder.absolute()): one for one in results}
        for one in results:
            for digest in {*one.digests}:
                self.by_digest.setdefault(digest, []).append(one)
        self.fault = next((one.fault for one in results if one.fault), "")


def left_by(place: Path, work: Path | None = None, shared: Path | None = None) -> list[Left]:
    """What runs have left.

    Parameters
    ----------
    place
        A folder of results, or of those of several samples.
    work
        A work folder of Nextflow.
    shared
        The folder of ``--store``, in which there may be what runs with other results have left.
    """
    folders = _folders_in(place)
    found = [_results_in(folder) for folder in folders]
    finished = _Finished(found)
    left = [one for folder in dict.fromkeys([place, *folders]) for one in _probes(folder)]
    for one in found:
        inner = one.folder / home.NAME
        if inner.is_symlink():
            left += _in_shared(inner, _Finished([one]), _Finished([_without_keys(one)]))
        else:
            left += _beside_cells(one, inner / home.CELLS)
            left += [_decided(store, _Finished([one])) for store in home.stores_in(inner)]
            left += _begun_in(inner)
    everyones = _Finished([_without_keys(one) for one in found])
    for folder in dict.fromkeys(_homes_in(shared, place, found)):
        left += _in_shared(folder, finished, everyones)
    if work is not None:
        work = work.absolute()
        places = sorted(path.parent for path in work.glob(f"*/*/store/{KEPT}"))
        running = list(running_in(work))
        left += [_decided(path, finished, running) for path in places]
        for folder in (*work.glob("??"), *work.glob("??/*")):
            if not folder.is_symlink():
                left += _begun_in(folder, (KEPT, SCRIPT))
        results = {one.folder / RECORD: one.fault for one in found}
        left += tasks_of(place, work, results, left, running)
    return _each_once(left)


def _each_once(left: Sequence[Left]) -> list[Left]:
    """What was found on several ways once: links, or --store, may lead to one folder.

    It goes if it goes on one of them: there its run is known.
    """
    found: dict[Path, Left] = {}
    for one in left:
        place = one.path.parent.resolve() / one.path.name
        if place not in found or (found[place].kept and not one.kept):
            found[place] = one
    return list(found.values())


def _homes_in(shared: Path | None, place: Path, found: Sequence[_Results]) -> Iterator[Path]:
    """Folders of stores that runs with these results have used in that of ``--store``."""
    if shared is not None:
        yield shared.absolute() / home.NAME
        for one in found:
            if one.folder != place and one.folder.is_relative_to(place):
                yield shared.absolute() / one.folder.relative_to(place) / home.NAME


def _without_keys(results: _Results) -> _Results:
    """Results as they count where runs with others may be at work, too."""
    return replace(results, keys=frozenset())


def _in_shared(folder: Path, own: _Finished, everyones: _Finished) -> list[Left]:
    """What runs have left in a folder of stores in which there may be those of others."""
    names = sorted(own.by_cells.keys() & set(os.listdir(folder) if folder.is_dir() else ()))
    left = [one for name in names for one in _beside_cells(own.by_cells[name], folder / name)]
    left += [_decided(store, everyones) for store in home.stores_in(folder)]
    return left + _begun_in(folder)


def clean(place: Path, work: Path | None = None, shared: Path | None = None) -> list[Left]:
    """Remove what may go, while no run writes to these folders; returns what `left_by` finds.

    Parameters
    ----------
    place, work, shared
        As of `left_by`.

    Raises
    ------
    InputError
        If a run writes to the folder.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys([place, *_folders_in(place)]):
            held.enter_context(lock.held(folder, to_free=True))
        found = [_gone(one) for one in left_by(place, work, shared)]
        above = {path.parent for one in found for path in one.tasks or (one.path,)}
        for inner in above:
            is_own = inner.name == home.NAME or (work and inner.parent == work.absolute())
            if is_own and not inner.is_symlink():
                with suppress(OSError):  # it is not empty
                    inner.rmdir()
    return found


def _gone(left: Left) -> Left:
    """What was left, removed if it goes; folders of tasks as far as this is possible."""
    if left.kept:
        return left
    if not left.tasks:
        _remove(left.path)
        return left
    fault = ""
    # plans, whose stores others may name, last
    for task in sorted(left.tasks, key=is_plan):
        try:
            _remove(task, empty=is_plan(task))
        except OSError as error:
            fault = fault or f"{task} cannot be removed: {error}"
    return replace(left, kept=fault)


def _folders_in(place: Path) -> list[Path]:
    """Folders of results on a local disk, none of them behind a link but the one that is named."""
    found = (folder for folder in folders_in(place) if isinstance(folder, Path))
    return [folder for folder in found if folder == place or not folder.is_symlink()]


def _results_in(folder: Path) -> _Results:
    """Results, and what speaks against removing what they were made of."""
    fault, record = "", record_of(folder) or {}
    for above in (folder, *folder.absolute().parents[:2]):
        fault = fault or lock.holder_of(above)
    if not record and (tuned := digests_of(folder)):
        return _Results(folder, tuned, "", frozenset(), _time(folder / PARAMETERS), fault)
    if not fault:
        fault = _fault_of(folder, [LABELS, *named(record)])
    first, second = str(record.get("plan_digest", "")), _part(record, "second")
    cells = str(second.get("plan_digest", ""))
    stages = _part(record, "stages").items()
    keys = frozenset(f"{n}-{stage.get('key')}" for n, stage in stages if isinstance(stage, dict))
    since = _time(folder / RECORD)
    return _Results(folder, tuple(filter(None, (first, cells))), cells, keys, since, fault)


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _beside_cells(results: _Results, folder: Path) -> list[Left]:
    """What the run of a second network has left, whose results are in a folder."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    cells = _results_in(folder)
    fault = results.fault or cells.fault
    if not fault and results.second not in cells.digests:
        fault = f"{results.folder} has results of other cells"
    cells = replace(cells, fault=fault)
    stores = [_decided(store, _Finished([cells])) for store in home.stores_in(folder / home.NAME)]
    stores += _begun_in(folder / home.NAME)
    return [*stores, _cells(cells, stores)]


def _fault_of(folder: Path, names: Sequence[str]) -> str:
    for path in below(folder / name for name in (*names, RECORD)):
        if path.is_symlink():
            return f"{path} is a link, perhaps into it"
    try:
        check(folder)
    except InputError as error:
        return f"{folder}: {error.what}"
    return ""


def _begun_in(folder: Path, last: Sequence[str] = (KEPT, RECORD)) -> list[Left]:
    """What an interrupted `clean` has left of what it was removing: one of these files is there."""
    with suppress(OSError), os.scandir(folder) as entries:
        names = [e.name for e in entries if files.ASIDE_NAME.fullmatch(e.name)]
        begun = [folder / name for name in sorted(names)]
        return [
            Left(path, size_of([path]), "")
            for path in begun
            if not path.is_symlink() and any((path / name).is_file() for name in last)
        ]
    return []


def _probes(folder: Path) -> Iterator[Left]:
    """Probes in a folder that is, or was, on an object store, which a run could not remove."""
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries):
            status = status_of(folder / name)
            if (
                status is not None
                and stat.S_ISREG(status.st_mode)
                and is_probe(name, status.st_size)
                and time.time() - status.st_mtime > PROBE_AGE
            ):
                yield Left(folder / name, freed(status), "")


def _decided(store: Path, results: _Finished, running: Sequence[Running] = ()) -> Left:
    """Whether a store goes, by results that may have the same plan, and tasks of a work folder."""
    size, strange = _content(store)
    return Left(store, size, strange or _reason(store, results, running))


def _reason(store: Path, results: _Finished, running: Sequence[Running]) -> str:
    """Why a store of this program stays."""
    try:
        digest = home.plan_in(store).digest
    except StoreError:
        return "its plan is missing or damaged, so it is not known whose it is"
    own = results.by_digest.get(digest, [])
    if not own:
        return "no results of this run are here: it is unfinished, or they were replaced" + (
            f" ({results.fault})" if results.fault else ""
        )
    if all(one.fault for one in own):
        return own[0].fault
    since = max(one.since for one in own if not one.fault)
    keys = frozenset[str]().union(*(one.keys for one in own))
    markers = (*store.glob("done/*/*.json"), *store.glob("ran-on/*/*.json"))
    if any(path.parent.name not in keys and _time(path) > since for path in markers):
        return "a later run has worked in it"
    name = "/".join(store.parts[-3:])
    busy = next((task.folder for task in running if task.begun > since and name in task.script), "")
    return f"a task that may read it has begun and not ended: {busy}" if busy else ""


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _content(folder: Path) -> tuple[int, str]:
    """Bytes that removing a store frees, and what in it this program has not written."""
    if folder.is_symlink():
        return 0, "it is a symbolic link, which is not followed"
    size = 0
    for place, folders, inside in os.walk(folder):
        here = Path(place).relative_to(folder)
        for name in sorted((*folders, *inside)):
            status = status_of(Path(place, name))
            if status is None:  # a run that works there has removed it
                continue
            is_file = stat.S_ISREG(status.st_mode)
            if not is_file and not stat.S_ISDIR(status.st_mode):
                return 0, f"it contains {here / name}, which is neither a file nor a folder"
            if not is_own(here / name, is_file=is_file):
                return 0, f"it contains {here / name}, which Terapose has not written"
            size += freed(status)
    return size, ""


def _cells(cells: _Results, stores: Sequence[Left]) -> Left:
    """Whether the results of a second network go, which serve only the run above them."""
    inner = cells.folder / home.NAME
    names = [LABELS, RECORD, home.NAME, *named(record_of(cells.folder) or {})]
    strange = [name for name in sorted(os.listdir(cells.folder)) if name not in names]
    if inner.is_dir():
        own = [one.path.name for one in stores]
        strange += [f"{home.NAME}/{name}" for name in os.listdir(inner) if name not in own]
    reasons = [f"it contains {name}, which Terapose has not written" for name in strange]
    reasons += [cells.fault] if cells.fault else []
    reasons += [f"{one.path.name} in it stays: {one.kept}" for one in stores if one.kept]
    paths = (cells.folder / name for name in names if name != home.NAME)
    return Left(cells.folder, size_of(paths), "".join(reasons[:1]))


def _remove(folder: Path, *, empty: bool = False) -> None:
    """Remove a probe, or a folder, under another name, what says whose it is last.

    With ``empty``, an empty folder stays in its place.
    """
    if not folder.is_dir():
        files.remove(folder)
        return
    if not files.ASIDE_NAME.fullmatch(folder.name):
        other = files.aside(folder)
        files.move(folder, other, "store")
        if empty:
            folder.mkdir()
        folder = other
    last = (KEPT, RECORD, SCRIPT)
    for path in sorted(folder.iterdir(), key=lambda path: (path.name in last, path)):
        files.remove(path)
    folder.rmdir()
