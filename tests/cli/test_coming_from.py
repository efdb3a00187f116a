"""Every old name on docs/coming-from.md, typed as a user types it; the page itself is read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import Terapose

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
Row = tuple[str, str, str]
"""Whose name it is, the name, and what the page gives in its place."""


def rows(kind: str) -> Iterator[Row]:
    """Names in the table whose heading begins with this."""
    _, found, after = PAGE.partition(f"| {kind} of | there | here |\n| --- | --- | --- |\n")
    assert found, kind
    for line in after.partition("\n\n")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|\n").split(" | ")]
        if len(cells) != 3:
            break
        yield from ((cells[0], name, cells[2]) for name in re.findall("`([^`]+)`", cells[1]))


PARAMETERS = list(rows("parameter"))
TRAINING = list(rows("option of `terapose train`"))
COMMANDS = list(rows("command"))
SAME = {"cut_cells"}
"""Commands that are accepted by their old name."""


def lines_of(program: str) -> list[list[str]]:
    """Words of each command of a program in the page's examples."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    split = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words for words in split if words[:1] == [program]]


@pytest.fixture
def terapose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terapose:
    return Terapose(monkeypatch, capsys)


def test_the_page_has_names_of_every_program() -> None:
    for table, atleast in ((PARAMETERS, 80), (TRAINING, 20), (COMMANDS, 9)):
        assert len(table) >= atleast
    programs = {row[0] for row in (*PARAMETERS, *COMMANDS)}
    for title in re.findall("(?m)^## (.+)$", PAGE):
        if not title.startswith("Names") and "distributed" not in title:
            assert title in programs, title


@pytest.mark.parametrize(("program", "name", "here"), PARAMETERS)
def test_an_option_of_segment(terapose: Terapose, program: str, name: str, here: str) -> None:
    for typed in {f"--{name}", f"--{name.replace('_', '-')}"}:
        said = terapose.refuses("segment", "image.tif", "results", typed)
        assert f"No such option: {typed} (a name of {program}; here: {here})" in said


@pytest.mark.parametrize(("program", "name", "here"), TRAINING)
def test_an_option_of_train(
    terapose: Terapose, tmp_path: Path, program: str, name: str, here: str
) -> None:
    said = terapose.refuses("train", tmp_path, "--output", tmp_path / "n.pth", f"--{name}")
    assert f"No such option: --{name} (a name of {program}; here: {here})" in said


@pytest.mark.parametrize(("program", "name", "here"), [r for r in COMMANDS if r[1] not in SAME])
def test_a_command(terapose: Terapose, program: str, name: str, here: str) -> None:
    said = terapose.refuses(name, "--any", "words")
    assert f"No such command '{name}' (a name of {program}; here: {here})" in said


def test_each_command_of_cellmaps_toolbox(terapose: Terapose) -> None:
    """What stands beside `csc NAME` is among the commands that the answer to `csc` lists."""
    pairs = re.findall(r"(?m)^\| `csc ([a-z-]+)` \| `terapose ([a-z]+)", PAGE)
    assert len(pairs) == 7
    for old, new in pairs:
        said = terapose.refuses("csc", old)
        assert new in re.findall("[a-z]+", said.partition("here: ")[2]), (old, said)


@pytest.mark.parametrize("program", ["cellpose", "mccellpose"])
def test_the_examples_as_they_are_typed(terapose: Terapose, program: str) -> None:
    (words,) = lines_of(program)
    assert "here: segment)" in terapose.refuses(*words)


def test_cut_cells_takes_numbers_after_one_option(terapose: Terapose) -> None:
    """Both examples get as far as the image, which does not exist."""
    (old,), (new,) = lines_of("cut_cells"), [w for w in lines_of("terapose") if "cut_cells" in w]
    assert old[-4:] == ["--channels", "1", "3", "5"] and new[-1] == "1,3,5"
    answers = {terapose.refuses(*words) for words in (old, new[1:])}
    assert len(answers) == 1 and "slide.ome.tif: " in answers.pop()
