"""Results on their way to an object store, where nothing can be renamed.

They are laid out and compared on a local disk first (**finish**). Then

1. objects that are there, from an earlier run, are read and compared with the files: what is the
   same stays;
2. if anything is not, a note of what is there and of what will be sent is written, and the record
   (``provenance.json``) removed: with it goes the promise that results are complete. A run that is
   killed from here on leaves results that no reader takes for finished, and the note names them;
3. objects that do not belong to the results go, and files that are missing or different are sent;
4. everything is read again and compared with the checksums in the record, which is sent last.

What else is in the folder, such as a store under ``.terapose``, is not looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, few
from terapose.io import files
from terapose.io.checksums import AGAIN, of_file, unsealed
from terapose.io.labels.files import keys_in
from terapose.io.lock import Held
from terapose.io.remote import Remote, at_once
from terapose.results.earlier import GOING, RECORD, announce, records_in
from terapose.results.outputs import named
from terapose.results.places import OnStore
from terapose.results.verify import differences

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Comparison:
    """Objects against files, by keys: checksums of what is the same, what to send, what to remove.

    ``gone`` are names of earlier results that this run does not write.
    """

    same: dict[str, int]
    missing: list[str]
    extra: list[str]
    gone: list[str]


def upload(folder: Path, target: Remote, held: Held) -> None:
    """Bring results to an object store.

    Parameters
    ----------
    folder
        With complete results, and nothing else.
    target
        Where they go.
    held
        Refuses to go on if another run has taken the folder.

    Raises
    ------
    InputError
        If the store refuses, or has other content than was sent.
    """
    text = (folder / RECORD).read_bytes()
    record = unsealed(text, folder / RECORD)
    found = _compared(folder, target)
    if not (found.missing or found.extra) and target.read(RECORD) == text:
        _drop(target, [GOING], "earlier record")
        return
    held()
    _take_back(target, record)
    _drop(target, found.extra, "earlier result")
    if found.gone:
        names = ", ".join(found.gone)
        log.warning(
            "%s: removed files of an earlier run that this one does not write: %s", target, names
        )

    def send(key: str) -> None:
        files.point("result: before it is sent")
        target.send(key, folder / key)
        files.point("result: after it is sent")

    at_once(send, found.missing)
    _confirm(target, record, found.same)
    held()
    files.point("record: before it is sent")
    target.write(RECORD, text)
    files.point("record: after it is sent")
    if target.read(RECORD) != text:
        raise _changed(target, [RECORD])
    _drop(target, [GOING], "earlier record")


def _compared(folder: Path, target: Remote) -> _Comparison:
    """Compare what is there with what is to be."""
    keys = sorted(key for key in keys_in(folder) if key != RECORD)
    coming = sorted({key.partition("/")[0] for key in keys})
    earlier = dict.fromkeys(name for record in records_in(target) for name in named(record))
    there = {key: size for n in {*coming, *earlier} for key, size in target.files(n).items()}
    alike = [key for key in keys if there.get(key) == (folder / key).stat().st_size]
    found = at_once(lambda key: target.checksum(key, there[key]), alike)
    present = {key.partition("/")[0] for key in there}
    same = {key: crc for key in alike if (crc := found[key]) == of_file(folder / key)}
    return _Comparison(
        same,
        missing=[key for key in keys if key not in same],
        extra=sorted(set(there) - set(keys)),
        gone=[name for name in earlier if name not in coming and name in present],
    )


def _take_back(target: Remote, record: dict[str, Any]) -> None:
    """Remove the record, after a note of what may be there until another record is."""
    files.point("note: before it is written")
    announce(target, record)
    _drop(target, [RECORD], "earlier record")


def _drop(target: Remote, keys: Iterable[str], what: str) -> None:
    files.point(f"{what}: before it is removed")
    target.remove(keys)
    files.point(f"{what}: after it is removed")


def _confirm(target: Remote, record: dict[str, Any], known: dict[str, int]) -> None:
    """Compare what is there with the record, but for objects that have been read already."""
    wrong = differences(record, OnStore(target, known), target)
    if wrong:
        raise _changed(target, wrong)


def _changed(target: Remote, wrong: list[str]) -> InputError:
    return InputError(
        "the results changed after they were sent",
        where=target,
        got=few(wrong, 5),
        remedy=f"nothing there looks finished; {AGAIN}",
    )
