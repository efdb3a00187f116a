"""Write tests/slow.tsv, by which tests are marked slow, from what pytest measured.

    make test-all TESTS="--durations=0 --durations-min=0.3" | tee log; python tools/durations.py log

A test is slow that takes `SECONDS` or more, with its setup, for any parameters; what is not
in the log stays as it was. `make test-fast` leaves slow tests out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SECONDS = 0.5
TABLE = Path(__file__).parents[1] / "tests" / "slow.tsv"
_LINE = re.compile(r"^([\d.]+)s (?:call|setup)\s+(tests/[\w/]+\.py::\w+)", re.MULTILINE)


def slow_tests(log: str) -> dict[str, float]:
    """Seconds by test, of those that are slow in a log."""
    found: dict[str, float] = {}
    for seconds, name in _LINE.findall(log):
        found[name] = max(float(seconds), found.get(name, 0.0))
    return {name: seconds for name, seconds in found.items() if seconds >= SECONDS}


def read(table: Path = TABLE) -> dict[str, float]:
    """Seconds by test, as the table has them."""
    rows = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines())
    return {name: float(seconds) for seconds, name in rows}


def write(found: dict[str, float], table: Path = TABLE) -> None:
    """Write the table."""
    rows = (f"{found[name]:.1f}\t{name}\n" for name in sorted(found))
    table.write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    write({**read(), **slow_tests(Path(sys.argv[1]).read_text(encoding="utf-8"))})
