"""Whose the files are that have the names of results.

A run replaces results of earlier runs, and nothing else. That a file is one is said by a record in
the folder, or by the note that is there before the first result is, and goes after the record is
written (`GOING`): so it holds for runs that were killed in between, too. Whatever else has the name
of a result is refused before anything is computed: it may be a plane of the image, or a table that
somebody made by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, few
from terapose.io import files
from terapose.io.remote import Remote
from terapose.results.earlier import GOING, RECORD, note_of, record_of
from terapose.results.outputs import LABELS, named
from terapose.results.upload import record_there


def refuse_foreign(folder: Path | Remote, names: Iterable[str]) -> None:
    """Refuse to replace what no run has written.

    Parameters
    ----------
    folder
        Of the results, which exists if it is a local one.
    names
        Of what will be written.

    Raises
    ------
    InputError
        If something has the name of a result, and nothing says that it is one.
    """
    there = set(folder.names() if isinstance(folder, Remote) else os.listdir(folder))
    known = {name for record in _records(folder) for name in (LABELS, *named(record))}
    foreign = sorted(there.intersection(names) - known)
    if foreign:
        raise InputError(
            "would be overwritten, although nothing says that Terapose has written it",
            where=folder / foreign[0],
            got=f"{few(foreign, 5)}, and no {RECORD} that names it",
            remedy="choose another folder or another name, or move the file away",
        )


def announce(folder: Path | Remote, record: Mapping[str, Any]) -> None:
    """Write the note of what may soon be in a folder, for who copies results there file by file.

    Parameters
    ----------
    folder
        Of the results.
    record
        The coming one.
    """
    note = json.dumps(note_of([*_records(folder), dict(record)]))
    if isinstance(folder, Remote):
        folder.write(GOING, note.encode())
        return
    folder.mkdir(parents=True, exist_ok=True)
    with files.made(folder / GOING, "note of results") as place:
        place.write_text(note, encoding="utf-8")


def _records(folder: Path | Remote) -> list[dict[str, Any]]:
    """What says which results are there: the record, and the note of a run that was killed."""
    if isinstance(folder, Remote):
        found = [record_there(folder, name) for name in (RECORD, GOING)]
    else:
        found = [record_of(folder, name) for name in (RECORD, GOING)]
    return [record for record in found if record is not None]
