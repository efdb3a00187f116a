"""Results that an earlier run has left in a folder, by its record (``provenance.json``).

Another run replaces what it writes itself. What it does not write (a table in another format,
thumbnails, a mask) would stay beside labels that it does not belong to, so it is removed, and that
is said. Which names there are is in `terapose.results.outputs`.

The record is a file that anybody may have changed, or that is damaged. Names are taken from it only
if its checksum is right, and only plain ones that this program gives to files: whatever else is in
it, nothing outside of the folder is removed, and nothing of another name.

A run replaces results of earlier runs, and nothing else. That a file is one is said by a record in
the folder, or by the note that is there before the first result is, and goes after the record is
written (`GOING`): so it holds for runs that were killed in between, too. Whatever else has the name
of a result is refused, before anything is computed and again before the note is written: it may be
a plane of the image, or a table that somebody made by hand.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, StoreError, few
from terapose.io import files
from terapose.io.checksums import sealed, unsealed
from terapose.io.documents import parse_json, read_document
from terapose.io.remote import Remote, names_in
from terapose.results.outputs import LABELS, OUTPUTS, named

RECORD = "provenance.json"
GOING = ".provenance.going.json"
"""Names of all that may be in the folder while there is no record: what an earlier run has left,
and what the coming one writes. So nothing of a run that is killed meanwhile is forgotten."""

log = logging.getLogger(__name__)


def record_of(folder: Path | Remote, name: str = RECORD) -> dict[str, Any] | None:
    """The record in a folder of results: None where there is none, empty where it is no record.

    For what is shown or compared: whether it is as it was written is not looked at.
    """
    content = _content(folder, name)
    if content is None:
        return None
    try:
        record = parse_json(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def sealed_record_of(folder: Path | Remote, name: str = RECORD) -> dict[str, Any] | None:
    """The record if it is as it was written; empty where it is not, None where there is none."""
    content = _content(folder, name)
    if content is None:
        return None
    try:
        return unsealed(content, folder / name)
    except StoreError:
        return {}


def _content(folder: Path | Remote, name: str) -> bytes | None:
    """What is in a file; nothing where it is no file that can be read, None where nothing is."""
    if isinstance(folder, Remote):
        return folder.read(name)
    if not os.path.lexists(folder / name):
        return None
    try:
        return read_document(folder / name)
    except ValueError:
        return b""


def records_in(folder: Path | Remote) -> list[dict[str, Any]]:
    """What names the results that are there, or that a run was writing when it was killed."""
    found = (sealed_record_of(folder, name) for name in (RECORD, GOING))
    return [record for record in found if record is not None]


def refuse_foreign(folder: Path | Remote, names: Iterable[str]) -> None:
    """Refuse to replace what no run has written.

    Parameters
    ----------
    folder
        Of the results.
    names
        Of what will be written.

    Raises
    ------
    InputError
        If something has the name of a result, and nothing says that it is one.
    """
    if there := set(names_in(folder)).intersection(names):
        _refuse_unknown(folder, there, records_in(folder))


def _refuse_unknown(folder: Path | Remote, there: set[str], records: list[dict[str, Any]]) -> None:
    """Refuse to replace what is there, and in no record."""
    known = {name for record in records for name in (LABELS, *named(record))}
    foreign = sorted(there - known)
    if foreign:
        raise InputError(
            "would be overwritten, although nothing says that Terapose has written it",
            where=folder / foreign[0],
            got=f"{few(foreign, 5)}, and no {RECORD} that names it",
            remedy="choose another folder or another name, or move the file away",
        )


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

    Raises
    ------
    InputError
        As `refuse_foreign`: somebody may have put something there since a run was checked.
    """
    before = records_in(folder)
    coming = {LABELS, *named(record)}
    _refuse_unknown(folder, coming.intersection(names_in(folder)), before)
    names = {
        output.field: sorted({n for one in (*before, record) for n in output.of_record(one)})
        for output in OUTPUTS
    }
    note = json.dumps(sealed(names)).encode()
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
