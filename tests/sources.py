"""Source files as syntax trees, and what the workflow's files include."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

TRIES = 5


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Python 3.11 counts its depth for all threads together: where another one parses at the same time
    (one of pytest's, say), it ends in a SystemError, "recursion depth mismatch" (CPython 106905).
    """
    text = path.read_text(encoding="utf-8")
    for _ in range(TRIES - 1):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)


class Included(NamedTuple):
    """What a file of the workflow includes: what, under which name, and from where."""

    what: str
    name: str
    place: str


def includes(text: str) -> list[Included]:
    """What a file of the workflow includes."""
    found = []
    for names, place in re.findall(r"^include \{([^}]*)\} from '([^']+)'$", text, re.MULTILINE):
        for one in names.split(";"):
            what, _, name = one.strip().partition(" as ")
            found.append(Included(what, name or what, place))
    return found
