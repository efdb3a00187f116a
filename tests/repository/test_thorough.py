"""Long tests that `make test` leaves out name a shorter test of the same that it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sources import parsed

import durations

ROOT = Path(__file__).parents[2]
SHORTEST = 20
"""Seconds below which a test is not long, on the machine of tests/slow.tsv."""


def marks(tree: ast.AST) -> Iterator[str]:
    """The shorter tests that marks in a module name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.thorough":
            (word,) = node.keywords
            assert word.arg == "shorter" and not node.args
            yield ast.literal_eval(word.value)


def marked(tree: ast.Module) -> set[str]:
    """Names of the functions of a module that are marked for all of their parameters."""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {f.name for f in functions if any([*marks(one)] for one in f.decorator_list)}


TREES = {
    path.relative_to(ROOT).as_posix(): parsed(path)
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
}
SHORTER = sorted({name for tree in TREES.values() for name in marks(tree)})


@pytest.mark.parametrize("name", SHORTER)
def test_the_shorter_test_is_there_and_runs(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
    assert function not in marked(TREES[file])


def test_what_is_left_out_is_long() -> None:
    seconds = durations.read()
    left_out = [f"{file}::{name}" for file, tree in TREES.items() for name in marked(tree)]
    assert left_out
    assert {name: seconds.get(name) for name in left_out if seconds.get(name, 0) < SHORTEST} == {}


def test_make_test_leaves_them_out_and_make_test_all_does_not() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = {
        name: makefile.partition(f"\n{name}: ")[2].partition("\n\n")[0]
        for name in ("test", "test-all")
    }
    assert "$(SHORTER)" in recipe["test"] and 'SHORTER := -m "not thorough"' in makefile
    assert "SHORTER" not in recipe["test-all"] and "pytest" in recipe["test-all"]
