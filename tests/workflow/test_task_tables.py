"""Tables of tasks that are not as the plan wrote them give no tasks, and so no result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.workflow.launch import answers_of, needs_engine

from terapose.pipeline.needs import NOTHING, Needs, tasks_csv

pytestmark = pytest.mark.slow

WHOLE = tasks_csv([(0, 2), (2, 4), (4, 5)], Needs(3_600_000_000, 1860, 2, 1))
NONE = tasks_csv([], NOTHING)
ROWS = WHOLE.splitlines(keepends=True)


def damaged() -> dict[str, str]:
    """The table with every kind of damage to a file of rows."""
    cases = {f"cut off after {n}": WHOLE[:n] for n in range(len(WHOLE) - 1)}
    for n, row in enumerate(ROWS):
        cases[f"without row {n}"] = "".join(ROWS[:n] + ROWS[n + 1 :])
        cases[f"row {n} twice"] = "".join(ROWS[: n + 1] + ROWS[n:])
        cases[f"row {n} last"] = "".join([*ROWS[:n], *ROWS[n + 1 :], row])
    cases |= {
        f"{n} is {other}": WHOLE[:n] + other + WHOLE[n + 1 :]
        for n, letter in enumerate(WHOLE)
        for other in ("7", "-", "\n", "\0", ",")
        if letter not in (other, "\n") or n < len(WHOLE) - 1
    }
    cases |= {f"{n} of none is -": NONE[:n] + "-" + NONE[n + 1 :] for n in range(len(NONE))}
    cases |= {"zeros": "\0" * len(WHOLE), "commas": ",,\n,\n", "of no tasks, cut off": NONE[:16]}
    return {name: text for name, text in cases.items() if text.split("\n") != WHOLE.split("\n")}


def test_only_whole_tables_are_read(tmp_path: Path) -> None:
    needs_engine()
    cases = {"whole": WHOLE, "of no tasks": NONE, **damaged()}
    assert len(cases) > 200
    names = {str(n): name for n, name in enumerate(cases)}
    (tmp_path / "tables").mkdir()
    for file, name in names.items():
        (tmp_path / "tables" / f"{file}.csv").write_text(cases[name])
    script = Path(__file__).with_name("tables.nf")
    _, text = answers_of(script, tmp_path, "--tables", "tables", "--single_task", "true")
    answers = json.loads(text)
    whole = {names[file]: tasks for file, tasks in answers["whole"].items()}
    assert whole == {"whole": [0, 1, 2], "of no tasks": []}
    assert [*answers["unasked"].values()] == [[], []]
    needs = {names[file]: asked for file, asked in answers["needs"].items()}
    assert needs["whole"] == {"memory": 3_600_000_000, "seconds": 1860, "cpus": 2, "gpus": 1}
    known, *unknown = answers["given"]
    assert known == {"a": {"memory": 600, "cpus": 1}, "b": {"memory": 700}}
    assert unknown == 2 * [{"a": {"memory": 500, "cpus": 1}, "b": {"memory": 700}}]
    assert answers["one_task"] == [True, False, True]
    assert not answers["several"] and not answers["waits"]
    assert answers["fault"] == (
        "terapose: convert.csv: is not among the plan's tables of tasks; "
        "run again without -resume to recreate it"
    )
