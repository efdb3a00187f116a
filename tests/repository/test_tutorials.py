"""The tutorials: every line that a reader types works, in order, on smaller images.

`test_tutorial_own_model.py` runs that of a network of one's own; that of SLURM needs a cluster.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import Terapose

ROOT = Path(__file__).parents[2]
TUTORIALS = [ROOT / "docs" / f"tutorial-{name}.md" for name in ("judging", "slide", "volume")]
SMALLER = {"32,128,128": "6,40,40", "768,768": "128,128", "200:500,200:500": "10:80,20:90"}
"""What is given in place of the sizes in the pages."""

pytestmark = pytest.mark.slow


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """Kind and text of what a page has to be typed, or shows; lines of commands one by one."""
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S):
        if kind == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                yield kind, line
        else:
            yield kind, block


def test_no_other_is_left_out() -> None:
    others = {ROOT / "docs" / f"tutorial-{name}.md" for name in ("own-model", "slurm")}
    assert {*(ROOT / "docs").glob("tutorial-*.md")} == {*TUTORIALS} | others


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_line_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Terapose
) -> None:
    monkeypatch.chdir(tmp_path)
    done: list[str] = []
    shown: list[str] = []
    for kind, text in steps(page):
        if kind == "python":
            exec(compile(text, page.name, "exec"), {})
        elif kind == "text":
            shown += [word for word in text.split() if "/" in word]
        elif "my.tif" not in text:
            program, *words = (SMALLER.get(word, word) for word in shlex.split(text))
            assert program == "terapose", text
            if words[0] == "view":  # which would serve until Ctrl-C
                words += ["--static", f"viewer-{len(done)}"]
            if words[0] in ("segment", "measure"):
                words += ["--jobs", "1"]
            said = command(*words)
            assert said.code == 0, (text, said.err)
            done.append(words[0])
    assert {"simulate", "segment", "evaluate"} <= {*done}
    # what pages show as there
    assert shown and not [name for name in shown if not (tmp_path / name).exists()]
