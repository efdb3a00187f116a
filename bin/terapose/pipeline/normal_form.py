"""Source in a normal form: without anything that has no effect on what it does.

Left out are comments, docstrings (strings in three double quotes on lines of their own, also those
of attributes), empty lines, line breaks and indentation in brackets, and the comma that a formatter
adds at such a break. So code that was only commented or wrapped otherwise keeps its form. Texts in
what is raised, returned as an error, or logged are empty: no result has them in it. Whatever else
differs counts as a difference, be it quotes or parentheses that are not needed.

Code of the same form has the same syntax tree, but for such texts: tests compare the two for every
module. The tree itself would take 200 ms for what one stage imports, in each task, and every
version of Python has another one; this takes 35 ms, and results outlive an interpreter.
"""

from __future__ import annotations

import re
from itertools import chain, islice

_LONG = r'"""(?:[^"\\]|\\.|"(?!""))*"""'
_SHORT = r'"(?:[^"\\\n]|\\.)*"' + r"|'(?:[^'\\\n]|\\.)*'"
_TEXTS = re.compile(
    # one pattern for all: a quote within a comment, or a hash within a string, begins nothing
    rf"(?P<silent>^[ \t]*r?{_LONG}[ \t]*$|[ \t]*\#[^\n]*)"
    rf"|{_LONG}|'''(?:[^'\\]|\\.|'(?!''))*'''|{_SHORT}",
    re.MULTILINE | re.DOTALL,
)
_TEXT = "\0"
"""Replaces a string while lines are joined: source has no such character."""
_SAYS = re.compile(r"\s*(?:raise\b|return \w*Error\(|(?:log|warnings)\.\w+\()")
"""A line that only says something."""
_SAID = re.compile(rf"(?<!\w)\w{{0,2}}{_TEXT}(?: \w{{0,2}}{_TEXT})*")
"""Strings of such a line, with their prefixes."""


def normal_form(source: str) -> str:
    """Source without comments, docstrings and layout.

    Parameters
    ----------
    source
        Of a module. What is returned is Python, too, but for bodies that were only a docstring.
    """
    strings = list[str]()

    def apart(match: re.Match[str]) -> str:
        if match["silent"] is not None:
            return ""
        strings.append(match[0])
        return _TEXT

    lines = _logical(_TEXTS.sub(apart, source).replace("\\\n", " "))
    found = iter(strings)
    for n, line in enumerate(lines):
        pieces = line.split(_TEXT)
        own = [*islice(found, len(pieces) - 1), ""]
        if _SAYS.match(line):
            lines[n] = _SAID.sub('""', line)
        else:
            lines[n] = "".join(chain.from_iterable(zip(pieces, own, strict=True)))
    return "\n".join(lines)


def _logical(source: str) -> list[str]:
    """Lines of source, those in brackets joined."""
    lines, pieces, depth = list[str](), list[str](), 0
    # of brackets that end a line: the piece, and how many lines in them end with a comma
    broken = list[list[int]]()
    for line in source.split("\n"):
        bare = line.strip()
        if not bare:
            continue
        if not depth:
            pieces, broken = [line.rstrip()], []
        elif bare[0] in ")]}":
            if broken:
                place, commas = broken.pop()
                if pieces[-1][-1] == "," and not _needs_comma(pieces[place], commas):
                    pieces[-1] = pieces[-1][:-1]
            pieces.append(bare)
        else:
            pieces.append(bare if pieces[-1][-1] in "([{" else f" {bare}")
        if broken and bare[-1] == ",":
            broken[-1][1] += 1
        if bare[-1] in "([{":
            broken.append([len(pieces) - 1, 0])
        depth += sum(map(bare.count, "([{")) - sum(map(bare.count, ")]}"))
        if not depth:
            lines.append(_unwrapped("".join(pieces)) if len(pieces) > 1 else pieces[0])
    return lines


def _needs_comma(opening: str, commas: int) -> bool:
    """Whether the last comma in a bracket makes a tuple of one; ``opening`` ends with it."""
    follows = opening[-2:-1].isalnum() or opening[-2:-1] in tuple("_)]")
    is_tuple = (opening[-1] == "(" and not follows) or (opening[-1] == "[" and follows)
    return is_tuple and commas < 2


def _unwrapped(line: str) -> str:
    """A line that was broken; names that are imported need no parentheses."""
    if line.lstrip().startswith("from ") and " import (" in line:
        return line.replace(" import (", " import ").rstrip(",)")
    return line
