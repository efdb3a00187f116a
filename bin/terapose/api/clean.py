"""What runs that are finished have left behind: stores that may go, and why others stay.

1. Results are those of a folder, or of the samples in it; stores are beside them
   (`terapose.api.home`), and in the tasks of a work folder of Nextflow.
2. A store goes if results with the same plan are there and as they were written, nobody writes to
   their folder, none of them is a link into it, nothing was written to it since, and no task that
   has begun since may still read it. The cells of a second network go with their store.
3. A store goes as a whole or not at all. It has to consist of regular files in real folders, under
   names that this program gives; with anything else in it, it stays. No link is followed. Its plan
   goes last, so that what was left by an interruption is found again.

Work folders themselves belong to Nextflow: only stores are taken out of them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from terapose.api import home
from terapose.core.errors import InputError, StoreError
from terapose.io import files, lock
from terapose.io.store.store import Store
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.plan import KEPT, Plan
from terapose.results.earlier import RECORD, record_of
from terapose.results.outputs import IMAGES, LABELS, named
from terapose.results.verify import check, folders_in

_STAGE = "|".join(re.escape(stage.name) for stage in GRAPH)
_ASIDE = files.ASIDE_NAME.pattern
_TOP = re.compile(
    rf"{re.escape(KEPT)}|image|source|tissue|again|done|ran-on|({_STAGE})(-[0-9a-f]{{16}})?|{_ASIDE}"
)
"""Names at the top of a store."""
_FOLDER = re.compile(
    rf"({_STAGE})(-[0-9a-f]{{16}})?|{re.escape(LABELS)}|{'|'.join(IMAGES)}|[0-9]+|c|table|[xyz][0-9]"
    "|flows|ends|counts|labels|position|count|by_block|id|block|relabel_map|lookup|patch_voxel"
    "|patch_label|objects|holes|owner|cell_of|result"
)
"""Names of folders below: arrays, their parts and chunks, tables in parts, tasks of a stage."""
_FILE = re.compile(
    r"[0-9]+|zarr\.json|\.z(group|array|attrs)"
    rf"|((level|{'|'.join(IMAGES)}|[0-9]+)-)?[0-9]+(-holes|-boxes)?\.npz"
    r"|(displacements|pieces|scale)\.npz|first\.json|(task-)?[0-9]+\.json"
    rf"|(gather|{_STAGE})(\.([0-9]+|{_STAGE}))?|{_ASIDE}"
)
"""Names of files below: chunks, metadata, tables, markers, counts of what was made again."""


@dataclass(frozen=True)
class Left:
    """Something that a run has left.

    Attributes
    ----------
    path
        A store, or the results of a second network.
    size
        Bytes on the disk that removing it frees: files that have another name, too, are not
        counted.
    kept
        Why it stays; empty if it goes.
    """

    path: Path
    size: int
    kept: str


@dataclass(frozen=True)
class _Results:
    """Results by their folder: plans they are of, when they were finished, what is wrong."""

    folder: Path
    digests: tuple[str, ...]
    since: float
    fault: str


def left_by(place: Path, work: Path | None = None) -> list[Left]:
    """What runs have left.

    Parameters
    ----------
    place
        A folder of results, or of those of several samples.
    work
        A work folder of Nextflow.
    """
    found = [_results_in(folder) for folder in _folders_in(place)]
    left: list[Left] = []
    for one in found:
        inner = one.folder / home.NAME / home.CELLS
        if inner.is_dir() and not inner.is_symlink():
            cells = _results_in(inner)
            cells = replace(cells, fault=one.fault or cells.fault)
            stores = [_decided(store, [cells]) for store in _stores_beside(inner)]
            left += [*stores, _cells(cells, stores)]
        left += [_decided(store, [one]) for store in _stores_beside(one.folder)]
    if work is not None:
        places = sorted(path.parent for path in work.absolute().glob(f"*/*/store/{KEPT}"))
        left += [_decided(path, found, work.absolute()) for path in places]
    return left


def clean(place: Path, work: Path | None = None) -> list[Left]:
    """Remove what may go, while no run writes to these folders; returns what `left_by` finds.

    Raises
    ------
    InputError
        If a run writes to the folder.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys([place, *_folders_in(place)]):
            held.enter_context(lock.held(folder))
        found = left_by(place, work)
        for one in found:
            if not one.kept:
                _remove(one.path)
        for folder in _folders_in(place):
            inner = folder / home.NAME
            if not inner.is_symlink():
                with suppress(OSError):  # it is not there, or not empty
                    inner.rmdir()
    return found


def _folders_in(place: Path) -> list[Path]:
    """Folders of results on a local disk."""
    return [folder for folder in folders_in(place) if isinstance(folder, Path)]


def _results_in(folder: Path) -> _Results:
    """Results, and what speaks against removing what they were made of."""
    fault, record = "", record_of(folder) or {}
    for above in (folder, *folder.absolute().parents[:2]):
        fault = fault or lock.holder_of(above)
    if not fault:
        fault = _fault_of(folder, [LABELS, *named(record)])
    with suppress(OSError):
        return _Results(folder, _plans(record), (folder / RECORD).stat().st_mtime, fault)
    return _Results(folder, (), 0.0, fault)


def _plans(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Digests of the plans of a run, of both if it has a second network."""
    second = record.get("second")
    both = [record, second if isinstance(second, dict) else {}]
    return tuple(str(one["plan_digest"]) for one in both if "plan_digest" in one)


def _fault_of(folder: Path, names: Sequence[str]) -> str:
    for path in _below(folder / name for name in (*names, RECORD)):
        if path.is_symlink():
            return f"{path} is a link, perhaps into it"
    try:
        check(folder)
    except InputError as error:
        return f"{folder}: {error.what}"
    return ""


def _below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files, links and folders, with all that is below them; no link is followed."""
    for path in paths:
        yield path
        for place, folders, inside in os.walk(path) if not path.is_symlink() else ():
            yield from (Path(place, name) for name in (*folders, *inside))


def _stores_beside(folder: Path) -> list[Path]:
    """Stores of the runs that wrote to a folder of results."""
    found = (path.parent for path in (folder / home.NAME).glob(f"*/{KEPT}"))
    return sorted(path for path in found if home.is_store(path.name))


def _decided(store: Path, results: Sequence[_Results], work: Path | None = None) -> Left:
    """Whether a store goes, by results that may have the same plan."""
    size, strange = _content(store)
    return Left(store, size, strange or _reason(store, results, work))


def _reason(store: Path, results: Sequence[_Results], work: Path | None) -> str:
    """Why a store of this program stays."""
    try:
        digest = Plan.model_validate(Store(str(store)).of("").get_json(KEPT)).digest
    except (StoreError, ValidationError):
        return "its plan is damaged, so it is not known whose it is"
    own = [one for one in results if digest in one.digests]
    if not own:
        faults = [one.fault for one in results if one.fault]
        return "no results of its run are here: it is unfinished, or they were replaced" + (
            f" ({faults[0]})" if faults else ""
        )
    if all(one.fault for one in own):
        return own[0].fault
    since = max(one.since for one in own if not one.fault)
    markers = (*store.glob("done/*/*.json"), *store.glob("ran-on/*/*.json"))
    if any(_time(path) > since for path in markers):
        return "a later run has worked in it"
    busy = next(_running(store, work, since), None) if work is not None else None
    return f"a task that may read it has begun and not ended: {busy}" if busy else ""


def _running(store: Path, work: Path, since: float) -> Iterator[Path]:
    """Tasks that read a store, began after a time, and have not ended."""
    name = "/".join(store.parts[-3:])
    for begun in work.glob("*/*/.command.begin"):
        folder = begun.parent
        if _time(begun) > since and not (folder / ".exitcode").exists():
            with suppress(OSError):
                if name in (folder / ".command.sh").read_text(errors="replace"):
                    yield folder


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
            status = os.lstat(os.path.join(place, name))
            is_file = stat.S_ISREG(status.st_mode)
            if not is_file and not stat.S_ISDIR(status.st_mode):
                return 0, f"it contains {here / name}, which is neither a file nor a folder"
            given = (_FILE if is_file else _FOLDER) if here.parts else _TOP
            if not given.fullmatch(name):
                return 0, f"it contains {here / name}, which Terapose has not written"
            size += _freed(status)
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
    size = sum(_freed(path.lstat()) for path in _below(paths) if os.path.lexists(path))
    return Left(cells.folder, size, "".join(reasons[:1]))


def _freed(status: os.stat_result) -> int:
    """Bytes that removing it frees: none if it is no file, or the file has another name."""
    alone = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return status.st_blocks * 512 if alone else 0


def _remove(folder: Path) -> None:
    """Remove a folder, what says whose it is last."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.name in (KEPT, RECORD), path)):
        files.remove(path)
    folder.rmdir()
