"""The tutorial of a network of one's own: its lines are run as a reader types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from terapose.results.verify import check

ROOT = Path(__file__).parents[2]
OWN = (ROOT / "docs" / "tutorial-own-model.md").read_text()
CHEAPER = {"--epochs 20": "--epochs 1 --steps 2 --batch 2 --threads 1"}


def blocks(text: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_a_network_of_ones_own(tmp_path: Path) -> None:
    lines = "\n".join(block for block in blocks(OWN) if "nextflow" not in block)
    for long, short in CHEAPER.items():
        assert long in lines
        lines = lines.replace(long, short)
    program = tmp_path / "bin" / "terapose"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/bin/terapose.py "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    folder = tmp_path / "tutorial"
    folder.mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check(folder / "results")
    assert "mine.pth" in (folder / "results" / "provenance.json").read_text()
    for name in ("old", "new"):
        assert json.loads((folder / f"{name}.json").read_text())
    names = ("mine.md", "mine.png", "new.png", "cells/a_seg.npy", "results/report.html")
    assert not [name for name in names if not (folder / name).exists()]
