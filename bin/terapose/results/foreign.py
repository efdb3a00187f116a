"""Whose the files are that have the names of results.

A run replaces results of earlier runs, and nothing else. That a file is one is said by a record in
the folder, or by the note that is there before the first result is, and goes after the record is
written (`GOING`): so it holds for runs that were killed in between, too. Whatever else has the name
of a result is refused before anything is computed: it may be a plane of the image, or a table that
somebody made by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from terapose.core.errors import InputError, few
from terapose.io.remote import Remote, names_in
from terapose.results.earlier import RECORD, records_in
from terapose.results.outputs import LABELS, named


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
    there = set(names_in(folder)).intersection(names) - {RECORD}
    if not there:
        return
    known = {name for record in records_in(folder) for name in (LABELS, *named(record))}
    foreign = sorted(there - known)
    if foreign:
        raise InputError(
            "would be overwritten, although nothing says that Terapose has written it",
            where=folder / foreign[0],
            got=f"{few(foreign, 5)}, and no {RECORD} that names it",
            remedy="choose another folder or another name, or move the file away",
        )
