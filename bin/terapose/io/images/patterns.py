"""Paths with wildcards and with names for axes: `images/img_{z}_{c}.tif`, `images/*.tif`.

A name is a name, whatever is in it, and a pattern only where nothing has that name. The part of it
that exists is taken as it is; in the rest ``*``, ``?``, ``[...]`` and ``{a,b}`` match what they
do in a shell (never for a slash, or a dot in front), ``**`` for folders of any depth, and ``{t}``,
``{c}``, ``{z}`` for numbers (``{c}`` for any text) that say where along an axis a file belongs. A
name that is there twice has to be the same both times.

A number is all digits that are there: beside a wildcard or another name it never is a part of them,
or `*{z}` would take 0 of `img10`. A sign in front of it is taken along after a letter, ``=`` or the
start (`z-2`); whether it counts is seen from all files (`plane_places`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from terapose.core.errors import InputError
from terapose.core.natural import natural_key

AXES = "TCZ"
_NAME = re.compile(r"\{([^{},]*)\}")
_SIGN = r"(?:(?:(?<=[^\W\d_])|(?<==)|(?<![^/]))[+-])"
SIGNED = rf"{_SIGN}?\d+"
"""A number, with the sign that it may have."""
_WHOLE = r"(?<!\d)(?<![^\W\d_][+-])(?<!=[+-])(?<!^[+-])(?<!/[+-])"
"""Where a number starts, not a part of one."""
_TOKEN = re.compile(r"\{[^{}]*\}|\[!?\]?[^\]]*\]|\*\*|.", re.DOTALL)


class Match(NamedTuple):
    """A path that a pattern matches.

    Attributes
    ----------
    path
        The path.
    values
        What replaces the names in it, by axis.
    before
        What is in front of these, by axis.
    """

    path: str
    values: Mapping[str, str]
    before: Mapping[str, str]


def is_pattern(address: str) -> bool:
    """Whether nothing has this name, and it can be a pattern."""
    return not os.path.lexists(address) and re.search(r"[*?\[{]", address) is not None


def axes_in(address: str) -> str:
    """Axes that a pattern names, in the order T, C, Z.

    Raises
    ------
    InputError
        If there is something else in braces.
    """
    names = [name.upper() for name in _NAME.findall(address[len(existing(address)) :])]
    wrong = [name for name in names if name not in tuple(AXES)]
    if wrong:
        raise InputError(
            "unknown name in the pattern",
            where=address,
            got="{" + wrong[0] + "}",
            allowed="{z}, {c} and {t}",
            remedy="write * for parts of the name that do not matter",
        )
    return "".join(axis for axis in AXES if axis in names)


def existing(address: str) -> str:
    """The longest part of a path, up to a slash, that is a folder."""
    folder = os.path.dirname(address)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def matches(address: str) -> list[Match]:
    """All paths that a pattern matches, in natural order."""
    folder = existing(address)
    rest = address[len(folder) :].strip("/")
    parts = None if "**" in rest else [_compiled(part) for part in rest.split("/")]
    above = Match(folder, {}, {})
    found = _within(above, parts) if parts is not None else _anywhere(folder, _compiled(rest))
    return sorted(found, key=lambda one: natural_key(one.path))


def _within(above: Match, parts: list[re.Pattern[str]]) -> Iterator[Match]:
    """Matches of the parts of a pattern in a folder that those before have matched."""
    folder, known, before = above
    try:
        names = os.listdir(folder or ".")
    except NotADirectoryError:
        return
    for name in names:
        found = parts[0].fullmatch(name)
        values = _values(found) if found else {}
        if found is None or any(known.get(axis, text) != text for axis, text in values.items()):
            continue
        place = os.path.join(folder, name)
        one = Match(place, {**known, **values}, {**before, **_before(found)})
        if len(parts) == 1:
            yield one
        else:
            yield from _within(one, parts[1:])


def _anywhere(folder: str, pattern: re.Pattern[str]) -> Iterator[Match]:
    """Matches of a pattern in a folder and all those below it, hidden ones left out."""
    for place, folders, files in os.walk(folder or "."):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            inside = os.path.relpath(os.path.join(place, name), folder or ".")
            found = None if name.startswith(".") else pattern.fullmatch(inside)
            if found:
                yield Match(os.path.join(folder, inside), _values(found), _before(found))


def _values(found: re.Match[str]) -> dict[str, str]:
    return {axis.upper(): text for axis, text in found.groupdict().items()}


def _before(found: re.Match[str]) -> dict[str, str]:
    names = found.groupdict()
    return {axis.upper(): found.string[: found.start(axis)].rpartition("/")[2] for axis in names}


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern, or a part of one between slashes, as a regular expression."""
    hidden = "" if pattern.startswith(".") else r"(?!\.)"
    try:
        return re.compile(hidden + _regex(pattern, set()), re.DOTALL)
    except re.error as error:
        raise InputError(
            "this is not a valid pattern",
            where=pattern,
            got=str(error),
            remedy="check what is in brackets",
        ) from error


def _regex(pattern: str, seen: set[str]) -> str:
    text = ""
    tokens = _TOKEN.findall(pattern)
    for number, token in enumerate(tokens):
        if token == "**":
            text += ".*"
        elif token == "*":
            text += "[^/]*"
        elif token == "?":
            text += "[^/]"
        elif token.startswith("{") and "," in token:
            text += f"(?:{'|'.join(_regex(one, seen) for one in token[1:-1].split(','))})"
        elif token[1:-1].upper() in tuple(AXES) and token.startswith("{"):
            axis = token[1:-1].lower()
            beside = ["".join(tokens[max(number - 1, 0) : number]), *tokens[number + 1 :]]
            text += f"(?P={axis})" if axis in seen else _named(axis, *map(_is_open, beside[:2]))
            seen.add(axis)
        elif token.startswith("[") and len(token) > 2:
            inside = token[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
            text += f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
        else:
            text += re.escape(token)
    return text


def _is_open(token: str) -> bool:
    """Whether a part of a pattern matches more than itself."""
    return token in ("*", "**", "?") or (len(token) > 1 and token[0] in "{[")


def _named(axis: str, after_open: bool, before_open: bool = False) -> str:
    """What a name matches, after and before parts that match more than themselves."""
    if axis == "c":
        return f"(?P<{axis}>[^/]+?)"
    start, end = _WHOLE if after_open else "", r"(?!\d)" if before_open else ""
    return f"{start}(?P<{axis}>{SIGNED}){end}"


def filled(address: str, values: Mapping[str, str]) -> str:
    """A pattern with values in place of names."""
    return _NAME.sub(lambda found: values.get(found[1].upper(), found[0]), address)
