"""Nothing from outside reaches a script of the workflow unquoted: read off the scripts themselves.

What a script may hold bare: files that Nextflow stages under names of the workflow's own, numbers
and names that a plan or the workflow itself gives, and `args`, words that `terapose check` has
quoted. The pipeline tests try what this promises (tests/pipeline/test_hostile.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "modules").glob("*/main.nf"))
OWN = {"args", "axis", "stage", "task_number"}


def _bare(text: str) -> list[str]:
    """What stands in a text of Groovy in `${...}` without being quoted."""
    return [e for e in re.findall(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}", text) if e[:7] != "quoted("]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.parent.name)
def test_scripts_hold_nothing_bare(module: Path) -> None:
    text = module.read_text()
    body = text[text.index("    script:") :]
    staged = set(re.findall(r"\bpath\((\w+)", text)) | set(re.findall(r"\bpath (\w+)", text))
    options = dict(re.findall(r"def (\w+) = (.+)", body))
    assert not [e for value in options.values() for e in _bare(value)]
    scripts = re.findall(r'"""(.*?)"""', body, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert set(_bare(script)) <= staged | OWN | set(options)
        # quotes around a value are broken by one in it
        assert not re.search(r"""['"]\$\{""", script)


def test_reader_of_scripts_sees_what_is_bare() -> None:
    assert _bare("a ${b} '${c.d}' ${quoted(e)} ${quoted(\"${f}/g\")} ${h.map { i }}") == [
        "b",
        "c.d",
        "h.map { i }",
    ]
