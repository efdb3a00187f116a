"""Are the tests worth anything? One fault after another is put into the code: they should fail.

1. The tests named in `benchmarks.fault_list` run on an unharmed copy of the tree, and have to pass.
2. For each fault the package is copied anew, the fault is put into it, and its tests run there, in
   a process of their own, for `SECONDS` at most. It is *caught* where a test fails. Where tests
   pass, hang, or cannot be collected, it is not.

What came of it goes into docs/reliability.md. The exit code is 1 where fewer than `LEAST` of the
faults are caught. Nothing is random, so a fault that is caught once always is.

    python -m benchmarks.faults                      # all; or make faults
    python -m benchmarks.faults --only lock margin   # those with one of these in their names
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.exactness import write
from benchmarks.fault import Fault
from benchmarks.fault_list import FAULTS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
MARKERS = ("<!-- faults: begin -->", "<!-- faults: end -->")
SECONDS = 300
LEAST = 0.95
Kind = Literal["missed", "caught", "hang", "broken"]
_ENDS: dict[int, Kind] = {0: "missed", 1: "caught"}
"""Exit codes of pytest; all others mean that tests were not run."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What tests made of a tree.

    Attributes
    ----------
    kind
        ``missed``: all pass; ``caught``: one fails; ``hang``; ``broken``: they could not be run.
    test
        The test that failed; "" where none did.
    seconds
        That it took.
    said
        Output of pytest.
    """

    kind: Kind
    test: str
    seconds: float
    said: str


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree without what starts with a dot; its environment is linked."""
    target.mkdir()
    for path in source.iterdir():
        if path.name.startswith(".") or path.name in ("work", "demo"):
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, target / path.name)
    if (source / ".venv").exists():
        (target / ".venv").symlink_to((source / ".venv").resolve())


def put(fault: Fault, package: Path) -> None:
    """Put a fault into a package.

    Raises
    ------
    ValueError
        If its piece of code does not occur exactly once.
    """
    path = package / fault.file
    code = path.read_text(encoding="utf-8")
    if (count := code.count(fault.piece)) != 1:
        raise ValueError(f"{fault.name}: {count} times in {fault.file}, not once")
    path.write_text(code.replace(fault.piece, fault.becomes), encoding="utf-8")


def run_tests(tree: Path, tests: Iterable[str], seconds: float = SECONDS) -> Outcome:
    """Run tests in a tree until one fails.

    Parameters
    ----------
    tree
        Root of the copy, beside which compiled kernels are kept.
    tests
        Files or node IDs.
    seconds
        After which they are ended.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "bin"),
        "NUMBA_CACHE_DIR": str(tree.parent / "numba"),
        "OMP_NUM_THREADS": "1",
        # what is installed beside pytest is not needed, and takes seconds to load
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return Outcome("hang", "", time.monotonic() - begin, "")
    failed = _FAILED.search(done.stdout)
    kind: Kind = _ENDS.get(done.returncode, "broken")
    test = failed[1] if failed and kind == "caught" else ""
    return Outcome(kind, test, time.monotonic() - begin, done.stdout)


def run_faults(faults: Sequence[Fault], source: Path, folder: Path) -> list[Outcome]:
    """Put one fault after another into a copy of a tree, and run its tests.

    Parameters
    ----------
    faults
        The faults.
    source
        Root of the tree that is copied.
    folder
        For the copy.

    Raises
    ------
    SystemExit
        If tests fail without any fault.
    """
    tree = folder / "tree"
    copy_tree(source, tree)
    tests = dict.fromkeys(test for fault in faults for test in fault.tests)
    unharmed = run_tests(tree, tests, SECONDS * len(faults))
    if unharmed.kind != "missed":
        raise SystemExit(f"faults: tests fail without any fault ({unharmed.kind})\n{unharmed.said}")
    outcomes = []
    for fault in faults:
        # at the same place and with the same times: compiled kernels are found again
        shutil.rmtree(tree / "bin")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / "bin", tree / "bin", ignore=ignored)
        put(fault, tree / "bin" / "terapose")
        outcomes.append(run_tests(tree, fault.tests))
        print(row(fault, outcomes[-1]), flush=True)
        if outcomes[-1].kind == "broken":
            print(outcomes[-1].said)
    return outcomes


def row(fault: Fault, outcome: Outcome) -> str:
    """A row of the table."""
    test = outcome.test.removeprefix("tests/")
    caught = f"`{test}`" if outcome.kind == "caught" else f"**{outcome.kind}**"
    return f"| {fault.name} | `{fault.file}` | {caught} | {outcome.seconds:.0f} |"


def report(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> str:
    """Total and table, as Markdown."""
    caught = sum(outcome.kind == "caught" for outcome in outcomes)
    lines = ["| fault | where | caught by | seconds |", "| --- | --- | --- | ---: |"]
    lines += [row(*pair) for pair in zip(faults, outcomes, strict=True)]
    return f"{caught} of {len(faults)} faults are caught.\n\n" + "\n".join(lines)


def is_enough(outcomes: Sequence[Outcome]) -> bool:
    """Whether so many are caught that the tests are worth something."""
    return sum(outcome.kind == "caught" for outcome in outcomes) >= LEAST * len(outcomes)


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", help="parts of names; the page is not written then")
    given = parser.parse_args(words)
    faults = [f for f in FAULTS if not given.only or any(part in f.name for part in given.only)]
    if not faults:
        parser.error(f"no fault has any of these in its name: {', '.join(given.only)}")
    with tempfile.TemporaryDirectory(prefix="terapose-faults-") as folder:
        outcomes = run_faults(faults, ROOT, Path(folder))
    if not given.only:
        write(PAGE, report(faults, outcomes), MARKERS)
    print(report(faults, outcomes).partition("\n")[0])
    return 0 if is_enough(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
