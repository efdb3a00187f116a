"""Files that are read as a whole: texts and JSON documents, and what is in their place.

What people hand in may be a folder, a pipe that nobody writes to, a device that never ends, a file
of terabytes, or JSON nested so deeply that no parser follows. Each of it is one sentence.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, few

MOST_BYTES = 256 * 2**20
"""Size of a document beyond which it is none."""


def kind_of(mode: int) -> str:
    """What has a name in a folder, in words, by its mode (``os.lstat``)."""
    for is_kind, words in _KINDS:
        if is_kind(mode):
            return words
    return "a device or socket"


_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
)


MOST_PARTS = 2_000_000
"""Lists and objects of a JSON document, beyond which it is none: each takes a hundred bytes."""


def refuse_special(path: str | os.PathLike[str]) -> None:
    """Refuse a pipe, a device or a socket: reading it would wait, or never end.

    What is not there, or cannot be looked at, is left to whoever opens it.

    Raises
    ------
    InputError
        If it is one of these.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(
            "is not a regular file",
            where=path,
            got=kind_of(mode),
            remedy="write its contents to a file first",
        )


def refuse_large(path: str | os.PathLike[str], most: int = MOST_BYTES) -> None:
    """Refuse a file of more bytes than there can be a use for.

    Raises
    ------
    InputError
        If it is larger.
    """
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return
    if size > most:
        raise too_large(path, size, most)


def too_large(path: str | os.PathLike[str], size: int, most: int) -> InputError:
    """The error for a file of ``size`` bytes, or more, where ``most`` are allowed."""
    return InputError(
        "is too large for a file of this type",
        where=path,
        got=f"{size} bytes",
        allowed=f"up to {most}",
        remedy="check that it is the right file",
    )


def read_document(path: Path) -> bytes:
    """Read a small file.

    Raises
    ------
    InputError
        If it cannot be read, is a folder, pipe or device, or is no small file.
    """
    refuse_special(path)
    try:
        refuse_large(path)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("cannot be read", where=path, got=reason, remedy="check it") from error


Pairs = list[tuple[str, Any]]
"""Keys and values of an object, in the order of the document."""


def parse_json(content: bytes | str, as_object: Callable[[Pairs], Any] = dict) -> Any:
    """Parse a JSON document.

    Parameters
    ----------
    content
        The document.
    as_object
        Makes an object from keys and values; a dict keeps the last value of a key that occurs
        several times.

    Raises
    ------
    ValueError
        If it is none, is not in UTF-8, or is too deep, has too many parts or too long numbers to be
        read; or if a text in it has half a character (an escape such as ``\\ud800`` alone), which
        no document that is written of it could hold.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    if sum(map(text.count, "[{")) > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS:,} lists and objects")
    try:
        found = json.loads(text, object_pairs_hook=as_object)
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return found


_HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
"""What may be half a character: two of them in a row are a whole one."""


def read_object(path: Path, what: str = "parameters") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Parameters
    ----------
    path
        The file.
    what
        What it should hold, for the message.

    Raises
    ------
    InputError
        If it cannot be read, holds something else, or has a key several times: nobody can know
        which value is meant.
    """
    return object_in(read_document(path), path, what)


def object_in(content: bytes | str, where: str | Path, what: str = "parameters") -> dict[str, Any]:
    """Parse a JSON document that holds an object.

    Parameters
    ----------
    content
        The document.
    where
        What it is called in messages.
    what
        What it should hold, for the message.

    Raises
    ------
    InputError
        If it holds something else, or has a key several times.
    """
    doubled: list[str] = []

    def as_object(pairs: Pairs) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        doubled.extend(key for key, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        values = parse_json(content, as_object)
    except ValueError as error:
        raise InputError(
            "is not JSON", where=where, got=str(error), remedy="write it in UTF-8, as JSON"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"holds no {what}", where=where, allowed="a JSON object")
    if doubled:
        raise InputError(
            "has the same key several times",
            where=where,
            got=few(doubled, 10),
            allowed="each key once",
            remedy="keep one of them",
        )
    return values
