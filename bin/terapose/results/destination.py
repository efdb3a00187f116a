"""The folder for results, before anything is computed: whether they can be written there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.core.masking import masked
from terapose.io import files
from terapose.io.images.address import filesystem, is_url, localise
from terapose.io.remote import Remote
from terapose.results.earlier import (
    GOING,
    RECORD,
    record_of,
    refuse_foreign,
    sealed_record_of,
)
from terapose.results.outputs import named


def check_output(
    folder: Path | Remote, address: str, names: Iterable[str], beside: Iterable[str] = ()
) -> None:
    """Refuse a result folder that cannot be used.

    Parameters
    ----------
    folder
        Folder for the results.
    address
        Path or URL of the image.
    names
        Of what will be written (`result_names`).
    beside
        Paths or URLs of other files that the run reads; empty ones count for nothing.

    Raises
    ------
    InputError
        If it cannot be written to, holds the results of another image, or a result would take the
        place of what is read, or of what Terapose has not written.
    """
    names = list(names)
    for name, read in itertools.product(names, [address, *filter(None, beside)]):
        if _is_result(folder, name, read):
            raise InputError(
                "would be overwritten by the results",
                where=read,
                got=f"a result of the name {folder / name}",
                remedy="choose another folder or another name",
            )
    if isinstance(folder, Remote):
        folder.probe()
    else:
        _try_local(folder)
        _check_lengths(folder, names)
    record = record_of(folder)
    if record is not None:
        if "image" in record:
            _refuse_other(folder, record, address)
        _refuse_changed(folder)
    refuse_foreign(folder, names)


def _is_result(folder: Path | Remote, name: str, address: str) -> bool:
    """Whether what is read is a result, or in one."""
    if isinstance(folder, Remote):
        if "://" not in address:
            return False
        # s3:// and s3a:// are the same store
        (one, there), (other, mine) = (filesystem(str(x)) for x in (address, folder / name))
        return type(one) is type(other) and f"{there.rstrip('/')}/".startswith(f"{mine}/")
    address = localise(address)
    result, read = (Path(os.path.realpath(x)) for x in (folder / name, address))
    return not is_url(address) and read.is_relative_to(result)


def _try_local(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.try_to_write(folder / RECORD)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _refuse_other(folder: Path | Remote, record: Mapping[str, Any], address: str) -> None:
    """Refuse a folder with the record of another image."""
    other, same = _compared(record, address)
    if not same:
        raise InputError(
            "holds the results of another image",
            where=folder,
            got=other,
            allowed=address,
            remedy="choose another folder, or remove this one",
        )


def _compared(record: Mapping[str, Any], address: str) -> tuple[str, bool]:
    """The address of the image in a record, and whether it is that of an image."""
    try:
        other = str(record["image"]["address"])
        return other, is_same(other, address)
    except (KeyError, TypeError, ValueError):
        return "something that is not readable", False


def _refuse_changed(folder: Path | Remote) -> None:
    """Refuse a folder whose record has changed: nothing says any more which files are results."""
    if not sealed_record_of(folder):
        raise InputError(
            "the record of earlier results is not as it was written",
            where=folder / RECORD,
            got="another checksum, or none",
            remedy="choose another folder, or move it and the results beside it away: a run then "
            "makes them again from what is left in .terapose",
        )


def _check_lengths(folder: Path, names: Iterable[str]) -> None:
    """Refuse results whose names are too long for a file system, if it says what it takes."""
    try:
        most = os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        return
    for name in names:
        if 0 < most < len(os.fsencode(name)):
            raise InputError(
                "the name of a result is too long for this folder",
                where=folder,
                got=name,
                allowed=f"{most} bytes",
                remedy="give a shorter name (mask_tiff), or another folder",
            )


def is_same(one: str, other: str) -> bool:
    """Whether two addresses, paths or URLs, name the same image, whoever opens it."""
    return masked(one) == masked(other) or os.path.realpath(one) == os.path.realpath(other)


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        "results cannot be written",
        where=folder,
        got=error.strerror or str(error),
        remedy="choose a folder you may write to, on a disk with space left",
    )


def renew(folder: Path, address: str, names: Iterable[str]) -> None:
    """Remove results that serve another run, where nothing says that they are good for it.

    They are intermediates, so damage is no reason to refuse: they are made again.

    Parameters
    ----------
    folder
        Of the results, to which nobody else writes.
    address
        Of the image.
    names
        Of what will be written there.
    """
    record = sealed_record_of(folder) or {}
    if _compared(record, address)[1]:
        return
    for name in (*names, *named(record), RECORD, GOING):
        files.remove(folder / name)


def refuse_links(folder: Path | Remote, *, link: bool) -> None:
    """Refuse results on an object store that are to be links into the store of intermediates."""
    if link and isinstance(folder, Remote):
        raise InputError(
            "results on an object store cannot be links",
            where="publish-mode",
            got="link",
            allowed="copy",
        )
