"""Whether results are those that were written, by the checksums in their record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, StoreError, few
from terapose.io.checksums import AGAIN, read_sealed, unsealed
from terapose.io.labels.files import LabelFiles, added
from terapose.io.remote import Remote
from terapose.io.store.store import Store
from terapose.pipeline.plan import load
from terapose.pipeline.repair import read_summary
from terapose.results.earlier import GOING, RECORD
from terapose.results.outputs import IMAGES, LABELS, MOST_NAMES, named
from terapose.results.places import Place, place_of
from terapose.results.publishing import Checks

_HERE = ("", ".", "..")
MCMICRO = "segmentation/terapose-*"
"""Where samples are with ``publish_layout`` ``mcmicro`` (``modules/outdir.nf``)."""
_SIGNS = (RECORD, LABELS, GOING)
"""What shows that a folder holds results, or that a run was about to put some there."""


def faults(folder: Path | Remote) -> list[str]:
    """What in a folder of results is not as it was written.

    Parameters
    ----------
    folder
        With ``provenance.json`` and what that names.

    Returns
    -------
    list of str
        One sentence for each file, or for a label image, and for each file that was added to a
        label image; empty where all is well.

    Raises
    ------
    InputError
        If there is no record, or it is damaged, or of a version without checksums.
    """
    place, where = place_of(folder), folder / RECORD
    try:
        record = unsealed(place.document(RECORD), where)
    except OSError as error:
        raise InputError(
            f"there are no results, or they are not complete: {RECORD} cannot be read",
            where=folder,
            got=error.strerror,
            remedy="run again: it is written last",
        ) from error
    return differences(record, place, where)


def differences(record: dict[str, Any], place: Place, where: object) -> list[str]:
    """What results are not as their record says, as `faults`.

    Parameters
    ----------
    record
        The record, without its own checksum.
    place
        Of the results.
    where
        What the record is, for messages.

    Raises
    ------
    InputError
        If it is of a version without checksums, or damaged.
    """
    with _reading(where):
        checks = _checks(record)
        labels = _of_labels(checks.pop(LABELS))
        if lacking := [name for name in named(record) if name not in checks]:
            raise ValueError(f"none of {', '.join(lacking)}")
        found = labels.differences(lambda key: place.checksum(f"{LABELS}/{key}"))
        wrong = [f"{LABELS}: {what}" for what in found]
        wrong += [f"{LABELS}: {key} was added" for key in added(place.keys(LABELS), labels.files)]
    for name, crc in checks.items():
        tree = place.tree(name)
        if tree != crc:
            wrong.append(f"{name} {'is missing' if tree is None else 'has another checksum'}")
    return wrong


def checks_of(record: Mapping[str, Any], where: object) -> Checks:
    """The checksums of label images in a record.

    Raises
    ------
    InputError
        If they are not of label images that Terapose writes.
    """
    with _reading(where):
        return _of_labels(record["checksums"][LABELS])


@contextmanager
def _reading(where: object) -> Iterator[None]:
    """Refuse a record that does not hold what is looked for."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError("contains no checksums of results", where=where, got=str(error)) from error


def folders_in(place: Path | Remote) -> Sequence[Path | Remote]:
    """Folders of results: the one that is named, or those of the samples in it, sorted.

    A sample of which a run was ended while it copied the results may have labels and no record, a
    record and no labels, or neither, but the note of the run.

    Parameters
    ----------
    place
        Folder of the results of one sample, or what was ``--outdir`` of several.
    """
    if isinstance(place, Remote):
        return _remote_folders(place)
    if any((place / name).exists() for name in _SIGNS):
        return [place]
    patterns = [f"{samples}/{name}" for samples in ("*", MCMICRO) for name in _SIGNS]
    return sorted({path.parent for pattern in patterns for path in place.glob(pattern)}) or [place]


def _remote_folders(place: Remote) -> list[Remote]:
    """The same on an object store, where nothing is looked for by patterns."""
    names = place.names()
    if {*_SIGNS} & {*names}:
        return [place]
    samples = [place / name for name in names]
    masks, _, project = MCMICRO.rpartition("/")
    if masks in names:
        start = project.rstrip("*")
        samples += [place / masks / n for n in (place / masks).names() if n.startswith(start)]
    return [one for one in samples if {*_SIGNS} & {*one.names()}] or [place]


def _checks(record: Any) -> dict[str, Any]:
    """Checksums by name, of names in the folder itself: a record leads nowhere else."""
    checks = dict(record["checksums"])
    if len(checks) > MOST_NAMES:
        raise ValueError(f"{len(checks)} names of results")
    if any(name in _HERE or Path(name).name != name or "\0" in name for name in checks):
        raise ValueError("a name that leads out of the folder")
    return checks


def _of_labels(known: dict[str, Any]) -> Checks:
    files = LabelFiles(**{k: _tuples(v) for k, v in known["files"].items()})
    if not files.names or len({*files.names} & {*IMAGES}) != len(files.names):
        raise ValueError(f"label images {few(list(map(repr, files.names)), 3) or 'without names'}")
    files.check()
    if len(files.regions) != len(known["regions"]):
        raise ValueError(f"{len(known['regions'])} regions of {len(files.regions)}")
    return Checks(files, known["regions"], known["coarse"], known["metadata"])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def check(folder: Path | Remote) -> None:
    """Refuse results that have changed since they were written.

    Raises
    ------
    StoreError
        If anything is missing or changed.
    """
    wrong = faults(folder)
    if wrong:
        raise StoreError(
            "the results have changed since they were written",
            where=folder,
            got=few(wrong, 5),
            remedy="run again to restore them, which replaces what was changed by hand",
        )


def check_run(folder: Path, store: str, plan: Path, before: Path) -> None:
    """Refuse results that are whole, but of another run than the one they were made by.

    Parameters
    ----------
    folder
        With results that have been checked.
    store, plan, before
        Of the run: its store, its plan, and the summary from which its results were made.

    Raises
    ------
    StoreError
        If they are of another plan, or of cells that other stages found.
    """
    place = Store(store)
    planned = load(plan, place)
    history = read_summary(before, place.of(planned.digest)).history
    record = read_sealed(folder / RECORD)
    stages = record.get("stages", {})
    strange = [s.stage for s in history if stages.get(s.stage) != as_read(s.record())]
    if record.get("plan_digest") != planned.digest:
        strange.insert(0, "plan")
    if strange:
        raise StoreError(
            "the results are of another run",
            where=folder,
            got=f"another {few(strange, 3)}",
            remedy=AGAIN,
        )


def as_read(document: dict[str, Any]) -> Any:
    """A document as it is after it was written: JSON has lists, not tuples."""
    return json.loads(json.dumps(document))
