"""A few mutated inputs of each kind, and that faults are told from refusals (`benchmarks.fuzz`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.fuzz.children import Outcome

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="what a process has cannot be told here"
)


def _python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own: children are copies of it."""
    command = [sys.executable, "-c", code, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'bin'}{os.pathsep}{ROOT}"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.mark.slow
def test_a_few_seeds_of_each_kind() -> None:
    start = "import sys\nfrom benchmarks.fuzz.__main__ import main\nsys.exit(main())"
    done = _python(start, "--seeds", "0:12")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 12 and all(row[1] == "12" for row in rows)
    # some are harmless, most are refused
    assert sum(int(row[3]) for row in rows) > 40


FAULTS = {
    "traceback": "raise KeyError('a')",
    "untold": "sys.exit(2)",
    "crash": "os.kill(os.getpid(), 11)",
    "memory": "bytearray(3 * 2**30)",
    "hang": "[x for x in iter(int, 1)]",
    "refused": "print('terapose: no', file=sys.stderr); sys.exit(2)",
    "done": "print('yes')",
}


def test_ends_are_told_from_each_other(tmp_path: Path) -> None:
    lines = ["import os, sys", "from pathlib import Path", "from benchmarks.fuzz import children"]
    lines += ["children.SECONDS = 2", "def work(text): exec(text)"]
    lines += [
        f"print(children.run(lambda: work({text!r}), Path({str(tmp_path)!r})).kind)"
        for text in FAULTS.values()
    ]
    done = _python("\n".join(lines))
    assert done.stdout.split() == [*FAULTS], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "is_fault"), [("done", False), ("refused", False), ("hang", True), ("memory", True)]
)
def test_outcomes(kind: str, is_fault: bool) -> None:
    assert Outcome(kind, "", "").is_fault == is_fault
