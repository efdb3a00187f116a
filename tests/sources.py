"""Source files as syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

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
