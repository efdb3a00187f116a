"""Call the command line in this process, or in another one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import terapose
from terapose.cli import main

EXECUTABLE = Path(terapose.__file__).parents[1] / "terapose.py"
_PROGRESS = re.compile(r"[a-z-]+: \d+ of \d+")


@dataclass(frozen=True)
class Said:
    """What a command answered: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Terapose:
    """Runs `terapose` as a shell does, without starting a new Python."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture

    def __call__(self, *words: object) -> Said:
        """Run a command line."""
        self._patch.setattr("sys.argv", ["terapose", *map(str, words)])
        self._patch.setenv("COLUMNS", "10000")
        self._capture.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        out, err = self._capture.readouterr()
        return Said(code, out, err)

    def refuses(self, *words: object) -> str:
        """Run a command line that has to fail with one sentence; returns it without its prefix."""
        said = self(*words)
        assert said.code == 2, said
        *progress, sentence = said.err.splitlines()
        assert all(_PROGRESS.fullmatch(line) for line in progress), said.err
        assert sentence.startswith("terapose: ") and not said.out
        return sentence.removeprefix("terapose: ")


_KILLED = """
import os, sys
from terapose import cli
from terapose.io import files
point, left = sys.argv.pop(1), int(sys.argv.pop(1))
def at_point(name):
    global left
    left -= name == point
    if not left:
        os._exit(9)
files.at_point = at_point
cli.main()
"""


def killed(point: str, times: int, *words: object) -> None:
    """Run a command whose process ends at a point."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, point, str(times), *map(str, words)],
        cwd=EXECUTABLE.parent,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr.decode()


def finished(folder: Path) -> list[str]:
    """Names of results in a folder, whole or half-written."""
    names = {"labels.zarr", "cells.csv", "cells.parquet", "provenance.json"}
    return sorted(
        p.name for p in folder.glob("*") if p.name.strip(".").split(".partial")[0] in names
    )


def segment_apart(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `terapose segment` in a Python of its own."""
    command = [sys.executable, EXECUTABLE, "segment", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def heeding_ctrl_c() -> None:
    """For a new process: shells start what runs in the background with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
