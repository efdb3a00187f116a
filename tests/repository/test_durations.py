"""Tests are marked slow by a table of seconds, which names tests that there are."""

from __future__ import annotations

from pathlib import Path

import durations

ROOT = Path(__file__).parents[2]
LOG = """
27.58s call     tests/property/test_any_blocks.py::test_blocks_do_not_show
0.30s setup    tests/io/test_a.py::test_b[1-c]
1.30s setup    tests/io/test_a.py::test_b[2-d]
1.20s call     tests/io/test_a.py::test_b[1-c]
0.40s call     tests/io/test_a.py::test_e
4.00s teardown tests/io/test_a.py::test_f
"""


def test_a_test_is_as_slow_as_its_slowest_parameters() -> None:
    blocks = "tests/property/test_any_blocks.py::test_blocks_do_not_show"
    assert durations.slow_tests(LOG) == {blocks: 27.58, "tests/io/test_a.py::test_b": 1.3}


def test_the_table_comes_back_from_its_file(tmp_path: Path) -> None:
    found = durations.slow_tests(LOG)
    durations.write(found, tmp_path / "slow.tsv")
    assert durations.read(tmp_path / "slow.tsv").keys() == found.keys()


def test_the_table_names_tests_that_there_are() -> None:
    names = durations.read()
    assert names
    for name in names:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(), name
