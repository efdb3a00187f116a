"""What users read is plain English: words that a careful editor would strike out are not in it.

Read are the pages of documentation, the help of every command, the descriptions of parameters, the
docstrings, and all that programs print: every string of the package and of its tools, and those of
the workflow, as they are in the source. Code in pages and docstrings does not count.
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
    *sorted((ROOT / "assets").glob("*.md")),
)
SOURCES = sorted((ROOT / "bin" / "terapose").rglob("*.py"))
TOOLS = [ROOT / "bin" / "terapose.py", *sorted((ROOT / "tools").glob("*.py"))]
WORKFLOW = [ROOT / "main.nf", *sorted((ROOT / "modules").rglob("*.nf"))]
AVOIDED = re.compile(
    r"\b(tells?|told|had|wanted|stands?|stood|lies?|lay|lain|of its)\b", re.IGNORECASE
)
"""Files and programs do not tell, stand or lie; "of its" and the others are seldom needed."""

NAMES = re.compile(r"^( *)\*{0,2}\w+(?:, \*{0,2}\w+)*\n(?=\1 +\S)", re.MULTILINE)
"""What a section of a docstring describes, a line each: names of parameters and attributes."""

GROOVY = re.compile(
    r"//[^\n]*|(?<=[(,~]) ?/(?:\\.|[^/\\\n])+/"
    r'|(?P<text>"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')',
    re.DOTALL,
)
"""Strings of a Nextflow file; comments and patterns, in which quotes begin nothing, are skipped."""

ALLOWED = {
    "tell us": "people tell",
}
"""Phrases with such a word that are right, each with the reason."""

NOT_READ = {
    "bin/terapose/algorithms/flows/flow_error.py": "wanted labels are not in the box",
    "bin/terapose/pipeline/state.py": "told",
    "tools/engine.py": "what it has learnt of its grammar",
}
"""Strings with such a word that no user reads: a fault of the program, a field, a comment in a
script."""


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
    """All strings but docstrings, those in f-strings among them."""
    tree = ast.parse(source)
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for part in ast.walk(tree):
        match part:
            case ast.Constant(value=str(text), lineno=line) if id(part) not in described:
                if where in NOT_READ:
                    text = text.replace(NOT_READ[where], "")
                yield Piece(where, line, text)


def docstrings(source: str, where: str) -> Iterator[Piece]:
    """What describes modules, classes, functions and attributes, without names and code."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text), lineno=line)):
                yield Piece(where, line, prose(NAMES.sub(_blank, text)))


def sentences(source: str, where: str) -> Iterator[Piece]:
    """Strings of a Nextflow file."""
    for found in GROOVY.finditer(source):
        if text := found["text"]:
            yield Piece(where, 1 + source.count("\n", 0, found.start()), text)


def _each(
    files: Iterable[Path], read: Callable[[str, str], Iterator[Piece]]
) -> Callable[[], Iterator[Piece]]:
    """A reader of all these files."""
    return lambda: (
        piece for file in files for piece in read(file.read_text(), str(file.relative_to(ROOT)))
    )


@pytest.mark.parametrize(
    ("read", "least"),
    [
        pytest.param(pages, 20, id="pages"),
        pytest.param(helps, 30, id="helps"),
        pytest.param(descriptions, 50, id="descriptions"),
        pytest.param(_each([*SOURCES, *TOOLS], strings), 10_000, id="said"),
        pytest.param(_each([*SOURCES, *TOOLS], docstrings), 1800, id="docstrings"),
        pytest.param(_each(WORKFLOW, sentences), 200, id="workflow"),
    ],
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
    source = 'x = "told"\n"""It lies."""\nraise errors.InputError(\n'
    source += '    f"{x} had none", got=a + " that stands"\n)'
    assert [fault.partition(" in ")[0] for fault in faults(strings(source, "a.py"))] == [
        "a.py:1: 'told'",
        "a.py:4: 'had'",
        "a.py:4: 'stands'",
    ]
    assert faults(strings('log.warning(\n    "%s lies", x)', "a.py")) == [
        "a.py:2: 'lies' in '%s lies'"
    ]


def test_in_docstrings_names_and_code_do_not_count() -> None:
    source = (
        'def f(told: int) -> None:\n    """Never `told`.\n\n    Parameters\n    ----------\n'
        '    told\n        What it tells.\n    """\n\nX = 1\n"""Where it lies."""\n'
    )
    assert sorted(faults(docstrings(source, "a.py"))) == [
        "a.py:11: 'lies' in 'Where it lies.'",
        "a.py:7: 'tells' in '---- ____ What it tells.'",
    ]


def test_in_the_workflow_comments_and_patterns_do_not_count() -> None:
    source = """
// "told"
if (name =~ /['"]/ || text == 'had it') { // 'stood'
    refuse("${name}: it\\"s wanted; see https://lies.org", 'it lay')
    script: \"\"\"
    what "stands" here
    \"\"\"
}
"""
    assert [fault.partition(" in ")[0] for fault in faults(sentences(source, "a.nf"))] == [
        "a.nf:3: 'had'",
        "a.nf:4: 'wanted'",
        "a.nf:4: 'lies'",
        "a.nf:4: 'lay'",
        "a.nf:6: 'stands'",
    ]


def test_allowed_phrases_are_in_use() -> None:
    texts = [" ".join(piece.text.split()) for piece in pages()]
    for phrase in ALLOWED:
        assert AVOIDED.search(phrase)
        assert any(phrase in text for text in texts), phrase
    assert not faults([Piece("a.md", 1, "Please tell us.")])


def test_strings_that_no_user_reads_are_there() -> None:
    for file, text in NOT_READ.items():
        assert AVOIDED.search(text)
        found = strings((ROOT / file).read_text(), "elsewhere")
        assert any(text in piece.text for piece in found), file
