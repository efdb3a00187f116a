"""Results that an earlier run has left in a folder, by its record (``provenance.json``).

Another run replaces what it writes itself. What it does not write (a table in another format,
thumbnails, a mask) would stay beside labels that it does not belong to, so it is removed, and that
is said. Which names there are is in `terapose.results.outputs`.

The record is a file that anybody may have changed, or that is damaged. Only plain names that this
program gives to files are taken from it: whatever else is in it, nothing outside of the folder
is removed, and nothing of another name.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terapose.io import files
from terapose.io.documents import parse_json, read_document
from terapose.io.remote import Remote
from terapose.results.outputs import OUTPUTS, named

RECORD = "provenance.json"
GOING = ".provenance.going.json"
"""Names of all that may be in the folder while there is no record: what an earlier run has left,
and what the coming one writes. So nothing of a run that is killed meanwhile is forgotten."""

log = logging.getLogger(__name__)


def record_of(folder: Path | Remote, name: str = RECORD) -> dict[str, Any] | None:
    """The record in a folder of results: None where there is none, empty where it is damaged."""
    if isinstance(folder, Remote):
        content = folder.read(name)
        return None if content is None else _parsed(content)
    path = folder / name
    if not os.path.lexists(path):
        return None
    try:
        return _parsed(read_document(path))
    except ValueError:
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        record = parse_json(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def records_in(folder: Path | Remote) -> list[dict[str, Any]]:
    """What names the results that are there, or that a run was writing when it was killed."""
    found = (record_of(folder, name) for name in (RECORD, GOING))
    return [record for record in found if record is not None]


def stale(folder: Path, coming: Collection[str]) -> list[str]:
    """Results of an earlier run that the coming one will not replace.

    Parameters
    ----------
    folder
        Of the results.
    coming
        Names of what will be written.

    Returns
    -------
    list of str
        Their names in the folder.
    """
    return [name for name in _present(folder, records_in(folder)) if name not in coming]


def _present(folder: Path, records: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for record in records for name in named(record))
    return [name for name in names if os.path.lexists(folder / name)]


def announce(folder: Path | Remote, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Write the note (`GOING`) of what is in a folder, or will be until there is a record again.

    Parameters
    ----------
    folder
        Of the results.
    record
        The coming one.

    Returns
    -------
    list of dict
        What was there before, as `records_in`.
    """
    before = records_in(folder)
    names = {
        output.field: sorted({n for one in (*before, record) for n in output.of_record(one)})
        for output in OUTPUTS
    }
    note = json.dumps(names).encode()
    if isinstance(folder, Remote):
        folder.write(GOING, note)
        return before
    folder.mkdir(parents=True, exist_ok=True)
    with files.made(folder / GOING, "note of results") as place:
        place.write_bytes(note)
    return before


@contextmanager
def replacing(folder: Path, record: dict[str, Any]) -> Iterator[None]:
    """Remove the record, which says that results are complete, and the results that it names.

    A block then puts the new ones, and their record, in their places.

    Parameters
    ----------
    folder
        Of the results.
    record
        The coming one: names that it lacks are removed, with a warning.
    """
    left = _present(folder, announce(folder, record))
    gone = [name for name in left if name not in named(record)]
    # with the record goes the promise that results are complete
    files.point("earlier record: before it is removed")
    files.remove(folder / RECORD)
    for name in left:
        files.point("earlier result: before it is removed")
        files.remove(folder / name)
    yield
    files.point("note of results: before it is removed")
    files.remove(folder / GOING)
    if gone:
        names = ", ".join(gone)
        log.warning(
            "%s: removed files of an earlier run that this one does not write: %s", folder, names
        )
