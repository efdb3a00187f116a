"""What users read is plain English: words that a careful editor would strike out are not in it.

Read are the pages of documentation, the help of every command, the descriptions of parameters, and
the texts of errors: strings in calls of `InputError` and `StoreError`, as they are in the source.
Code in pages does not count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import schema
from terapose.cli import group
from terapose.core.params import Parameters

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "contrib").rglob("*.md")),
)
SOURCES = sorted((ROOT / "bin" / "terapose").rglob("*.py"))
ERRORS = ("InputError", "StoreError")

AVOIDED = re.compile(
    r"\b(tells?|told|had|wanted|stands?|stood|lies?|lay|lain|of its)\b", re.IGNORECASE
)
"""Files and programs do not tell, stand or lie; "of its" and the others are seldom needed."""

ALLOWED = {
    "tell us": "people tell",
}
"""Phrases with such a word that are right, each with the reason."""


class Piece(NamedTuple):
    """A text that a user reads, and where it begins."""

    where: str
    line: int
    text: str


def faults(pieces: Iterable[Piece]) -> list[str]:
    """File, line and surroundings of each word to avoid."""
    allowed = re.compile("|".join(map(re.escape, ALLOWED)), re.IGNORECASE)
    found = []
    for where, line, text in pieces:
        kept = allowed.sub(_blank, text)
        for word in AVOIDED.finditer(re.sub(r"\s", " ", kept)):
            at = line + text.count("\n", 0, word.start())
            around = " ".join(text[max(0, word.start() - 30) : word.end() + 30].split())
            found.append(f"{where}:{at}: '{word[0]}' in '{around}'")
    return found


def _blank(found: re.Match[str]) -> str:
    """As long as what was found, with the same ends of lines: positions stay what they are."""
    return re.sub(r"\S", "_", found[0])


def prose(text: str) -> str:
    """A page without fenced blocks and code."""
    code = r"^ *```.*?^ *```|`[^`]+`"
    return re.sub(code, _blank, text, flags=re.DOTALL | re.MULTILINE)


def pages() -> Iterator[Piece]:
    """Pages of documentation."""
    for path in PAGES:
        yield Piece(str(path.relative_to(ROOT)), 1, prose(path.read_text()))


def helps(
    command: click.Command = group, name: str = "terapose", parent: click.Context | None = None
) -> Iterator[Piece]:
    """The help of a command, as it is shown, and of all commands below it."""
    context = click.Context(command, parent=parent, info_name=name.split()[-1])
    yield Piece(f"{name} --help", 1, command.get_help(context))
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from helps(found, f"{name} {below}", context)


def descriptions() -> Iterator[Piece]:
    """Descriptions of parameters; those of the workflow alone are in the schema and its page."""
    for name, field in Parameters.model_fields.items():
        assert field.description, name
        yield Piece(f"parameter {name}", 1, field.description)
    for name, known in schema.WORKFLOW.items():
        yield Piece(f"parameter {name}", 1, known["description"])


def strings(source: str, where: str) -> Iterator[Piece]:
    """Strings in calls of the errors, those in f-strings among them."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        if getattr(call.func, "id", getattr(call.func, "attr", None)) not in ERRORS:
            continue
        for part in ast.walk(call):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield Piece(where, part.lineno, part.value)


def errors() -> Iterator[Piece]:
    """Texts of all errors."""
    for path in SOURCES:
        source = path.read_text()
        if any(name in source for name in ERRORS):
            yield from strings(source, str(path.relative_to(ROOT)))


@pytest.mark.parametrize(
    ("read", "least"), [(pages, 20), (helps, 30), (descriptions, 50), (errors, 500)]
)
def test_words_to_avoid_are_not_in_what_users_read(
    read: Callable[[], Iterator[Piece]], least: int
) -> None:
    found = list(read())
    assert len(found) >= least
    assert not faults(found), "\n".join(faults(found))


def test_a_word_to_avoid_is_found_with_file_and_line() -> None:
    page = "Fine.\n\n```sh\ntold\n```\nA `told` file\nnever told\nthe axes of\nits image.\n"
    assert faults([Piece("a.md", 1, prose(page))]) == [
        "a.md:7: 'told' in '____ ___ A ______ file never told the axes of its image.'",
        "a.md:8: 'of its' in '____ file never told the axes of its image.'",
    ]
    source = 'x = "told"\nraise errors.InputError(\n    f"{x} had none", got=a + " that stands"\n)'
    assert [fault.partition(" in ")[0] for fault in faults(strings(source, "a.py"))] == [
        "a.py:3: 'had'",
        "a.py:3: 'stands'",
    ]


def test_allowed_phrases_are_in_use() -> None:
    texts = [" ".join(piece.text.split()) for piece in pages()]
    for phrase in ALLOWED:
        assert AVOIDED.search(phrase)
        assert any(phrase in text for text in texts), phrase
    assert not faults([Piece("a.md", 1, "Please tell us.")])
