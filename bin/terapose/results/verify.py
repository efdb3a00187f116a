"""Whether results are those that were written, by the checksums in their record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, StoreError, few
from terapose.io.checksums import AGAIN, read_sealed, unsealed
from terapose.io.documents import refuse_special
from terapose.io.labels.files import LabelFiles, added
from terapose.io.store.store import Store
from terapose.pipeline.plan import load
from terapose.pipeline.repair import read_summary
from terapose.results.earlier import RECORD
from terapose.results.outputs import LABELS, named
from terapose.results.publishing import Checks, of_tree

_HERE = ("", ".", "..")
MCMICRO = "segmentation/terapose-*"
"""Where samples are with ``publish_layout`` ``mcmicro`` (``modules/outdir.nf``)."""


def faults(folder: Path) -> list[str]:
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
    place = folder / RECORD
    refuse_special(place)
    try:
        record = unsealed(place.read_bytes(), place)
    except OSError as error:
        raise InputError(
            f"there are no results, or they are not complete: {RECORD} cannot be read",
            where=folder,
            got=error.strerror,
            remedy="run again: it is written last",
        ) from error
    try:
        checks = _checks(record)
        labels = _of_labels(checks.pop(LABELS))
        if lacking := [name for name in named(record) if name not in checks]:
            raise ValueError(f"none of {', '.join(lacking)}")
        wrong = [f"{LABELS}: {what}" for what in labels.faults(folder / LABELS)]
        wrong += [f"{LABELS}: {name} was added" for name in added(folder / LABELS, labels.files)]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError("contains no checksums of results", where=place, got=str(error)) from error
    for name, crc in checks.items():
        refuse_special(folder / name)
        found = of_tree(folder / name)
        if found != crc:
            wrong.append(f"{name} {'is missing' if found is None else 'has another checksum'}")
    return wrong


def folders_in(place: Path) -> list[Path]:
    """Folders of results: the one that is named, or those of the samples in it, sorted.

    A sample of which a run was ended while it copied the results may have labels and no record, or
    a record and no labels.

    Parameters
    ----------
    place
        Folder of the results of one sample, or what was ``--outdir`` of several.
    """
    if any((place / name).exists() for name in (RECORD, LABELS)):
        return [place]
    patterns = [f"{samples}/{name}" for samples in ("*", MCMICRO) for name in (RECORD, LABELS)]
    return sorted({path.parent for pattern in patterns for path in place.glob(pattern)}) or [place]


def _checks(record: Any) -> dict[str, Any]:
    """Checksums by name, of names in the folder itself: a record leads nowhere else."""
    checks = dict(record["checksums"])
    if any(name in _HERE or Path(name).name != name or "\0" in name for name in checks):
        raise ValueError("a name that leads out of the folder")
    return checks


def _of_labels(known: dict[str, Any]) -> Checks:
    files = {k: _tuples(v) for k, v in known["files"].items()}
    return Checks(LabelFiles(**files), known["regions"], known["coarse"], known["metadata"])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def check(folder: Path) -> None:
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
            remedy="run again to restore them",
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
