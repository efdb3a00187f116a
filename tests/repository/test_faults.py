"""The faults of `benchmarks.fault_list` fit the code, and what came of a run is told rightly."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.fault import Fault
from benchmarks.fault_list import FAULTS
from benchmarks.faults import (
    LEAST,
    MARKERS,
    PAGE,
    ROOT,
    Outcome,
    is_enough,
    put,
    report,
    run_faults,
    run_tests,
)

PACKAGE = ROOT / "bin" / "terapose"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits_the_code_and_its_tests_are_there(fault: Fault) -> None:
    code = (PACKAGE / fault.file).read_text()
    assert code.count(fault.piece) == 1
    ast.parse(code.replace(fault.piece, fault.becomes))
    assert fault.becomes != fault.piece
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()


@pytest.mark.slow
def test_each_case_that_a_fault_names_is_there() -> None:
    cases = {test for fault in FAULTS for test in fault.tests}
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *cases], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_enough_and_the_page_tells_of_each() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20
    page = PAGE.read_text()
    assert page.count(MARKERS[0]) == page.count(MARKERS[1]) == 1
    table = page[page.index(MARKERS[0]) : page.index(MARKERS[1])]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    assert [(name[2:], file.strip("`")) for name, file, *_ in rows] == [
        (fault.name, fault.file) for fault in FAULTS
    ]
    caught = sum(by.startswith("`") for _, _, by, _ in rows)
    assert f"{caught} of {len(FAULTS)} faults are caught" in table
    assert caught >= LEAST * len(FAULTS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose package says one number, and tests of it."""
    root = tmp_path / "source"
    (root / "bin" / "terapose").mkdir(parents=True)
    (root / "bin" / "terapose" / "number.py").write_text("NUMBER = 7\n")
    (root / "tests").mkdir()
    begin = "from number import NUMBER\n\n\ndef test_it() -> None:\n"
    (root / "tests" / "test_a.py").write_text(f"{begin}    assert NUMBER < 8\n")
    (root / "pytest.ini").write_text("[pytest]\npythonpath = bin/terapose\n")
    return root


def test_caught_is_told_from_all_else(tree: Path, tmp_path: Path) -> None:
    ends = {
        "caught": "NUMBER = 9",
        "missed": "NUMBER = 6",
        "broken": "OTHER = 7",
    }
    tests = ("tests/test_a.py",)
    faults = [Fault(kind, "number.py", "NUMBER = 7", code, tests) for kind, code in ends.items()]
    (tmp_path / "copy").mkdir()
    outcomes = run_faults(faults, tree, tmp_path / "copy")
    assert [outcome.kind for outcome in outcomes] == [*ends]
    assert [outcome.test for outcome in outcomes] == ["tests/test_a.py::test_it", "", ""]
    assert (tree / "bin/terapose/number.py").read_text() == "NUMBER = 7\n"


def test_tests_that_hang_have_caught_nothing(tree: Path) -> None:
    (tree / "tests" / "test_b.py").write_text("import time\n\n\ntime.sleep(60)\n")
    assert run_tests(tree, ["tests/test_b.py"], seconds=0.5).kind == "hang"


def test_tests_that_fail_without_a_fault_prove_nothing(tree: Path, tmp_path: Path) -> None:
    (tree / "bin/terapose/number.py").write_text("NUMBER = 8\n")
    fault = Fault("f", "number.py", "NUMBER = 8", "NUMBER = 9", ("tests/test_a.py",))
    (tmp_path / "copy").mkdir()
    with pytest.raises(SystemExit, match="tests fail without any fault"):
        run_faults([fault], tree, tmp_path / "copy")


def test_a_piece_has_to_occur_once(tree: Path) -> None:
    package = tree / "bin" / "terapose"
    fault = Fault("f", "number.py", "NUMBER", "OTHER", ())
    put(fault, package)
    with pytest.raises(ValueError, match=r"f: 0 times in number\.py, not once"):
        put(fault, package)


def test_one_in_twenty_may_be_missed() -> None:
    caught = Outcome("caught", "tests/io/test_a.py::test_it", 2.4, "")
    missed = replace(caught, kind="missed", test="")
    assert is_enough([caught] * 19 + [missed])
    assert not is_enough([caught] * 18 + [missed] * 2)
    fault = Fault("a fault", "job.py", "a", "b", ())
    assert report([fault] * 2, [caught, missed]) == (
        "1 of 2 faults are caught.\n\n"
        "| fault | where | caught by | seconds |\n"
        "| --- | --- | --- | ---: |\n"
        "| a fault | `job.py` | `io/test_a.py::test_it` | 2 |\n"
        "| a fault | `job.py` | **missed** | 2 |"
    )
