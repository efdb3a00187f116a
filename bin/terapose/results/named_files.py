"""Files whose names a user gives to a command: what none of them may replace, or be written into.

1. What the command reads.
2. Results, which a record beside them names, the record itself, reports and crates: a table of
   scores in the place of a table of cells would leave results that no longer fit their checksums.
3. Anything within a Zarr store. A name that is free there would be taken for a chunk, or never be
   found again; one that is not free is a chunk, or what describes the chunks.

A new name in a folder of results is as good as anywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io.images.address import refuse_inputs
from terapose.results.earlier import GOING, RECORD, record_of
from terapose.results.outputs import LABELS, named
from terapose.results.report.own import SIGNS, is_own

_ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")


def check_files(outputs: Iterable[Path | None], inputs: Iterable[str] = ()) -> None:
    """Refuse files that a command cannot write, before it computes anything.

    Parameters
    ----------
    outputs
        The files that a user names, if they are asked for.
    inputs
        Addresses of what is read.

    Raises
    ------
    InputError
        If one of them has no folder, is another one, or would be in the place of what is read or
        of a result, or inside a Zarr store.
    """
    paths = [path for path in outputs if path is not None]
    refuse_inputs(paths, inputs)
    refuse_results(paths)
    seen = set()
    for path in paths:
        if not path.parent.is_dir():
            raise InputError(
                "there is no such folder",
                where=path.parent,
                remedy=f"make it, or choose another folder for {path.name}",
            )
        place = _entry(path)
        if place in seen:
            raise InputError(
                "two results would be written to one file", where=path, remedy="choose two names"
            )
        seen.add(place)


def refuse_results(paths: Iterable[Path]) -> None:
    """Refuse to write in the place of a result, or inside a Zarr store.

    Raises
    ------
    InputError
        If one of the files would be.
    """
    for path in paths:
        # a link is replaced itself, but whoever names it may mean what it leads to
        for place in {_entry(path), Path(os.path.realpath(path))}:
            for folder in place.parents:
                _refuse_in(folder, place, path)


def _entry(path: Path) -> Path:
    """The name in its folder that a file gets: a link there is not followed."""
    return Path(os.path.realpath(path.parent)) / path.name


def _refuse_in(folder: Path, place: Path, path: Path) -> None:
    """Refuse a file for what one of the folders above it is."""
    name = place.relative_to(folder).parts[0]
    if _is_result(folder, name):
        raise InputError(
            "would be overwritten, although it is a result of Terapose, or part of one",
            where=path,
            got=f"the result {folder / name}",
            remedy="choose another name",
        )
    if any((folder / mark).is_file() for mark in _ZARR):
        raise InputError(
            "would be inside a Zarr store, where only its own files belong",
            where=path,
            got=f"the store {folder}",
            remedy="choose another folder",
        )


def _is_result(folder: Path, name: str) -> bool:
    if name in SIGNS:
        return is_own(folder, name)
    records = [record for at in (RECORD, GOING) if (record := record_of(folder, at)) is not None]
    return any(name in (RECORD, GOING, LABELS, *named(record)) for record in records)
