"""Names that are nearly those that are known: what a user may have meant."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

_CLOSE = 0.7
"""Part of two names that has to be alike."""


def plain(name: str) -> str:
    """A name without what people write now one way, now another: case, blanks, ``_`` and ``-``."""
    return "".join(c for c in name.casefold() if c not in " _-\t\xa0")


def as_file(name: str) -> str:
    """A name as file systems compare it that ignore case, and how letters are composed."""
    return unicodedata.normalize("NFC", name).lower()


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a wrong one comes closest to, if any comes close.

    Words may be in another order, as in ``Centroid X``.
    """
    scored = [(max(_alike(plain, name, k), _alike(_by_words, name, k)), k) for k in known]
    score, best = max(scored, default=(0.0, ""), key=lambda pair: pair[0])
    return best if score >= _CLOSE else None


def _alike(form: Callable[[str], str], one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, form(one), form(other)).ratio()


def _by_words(name: str) -> str:
    return "".join(sorted(re.findall(r"[^\W_]+", name.casefold())))


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The same as a question, for an error's remedy."""
    near = nearest(name, known)
    return otherwise if near is None else f"did you mean {near}?"


def columns_of(present: Iterable[str], wanted: Iterable[str]) -> Mapping[str, str]:
    """Which columns of a table have these names, whatever their case: ``{name: present}``.

    A column with the very name comes first; of several that differ in case alone none is taken.
    """
    there = [str(name) for name in present]
    found = {}
    for name in wanted:
        alike = [name] if name in there else [n for n in there if plain(n) == plain(name)]
        if len(alike) == 1:
            found[name] = alike[0]
    return found
