"""Measuring that was killed leaves nothing that looks finished, and starts over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
from tests.checks import content
from tests.synthetic import nuclei, write_zarr

import terapose
from terapose.results.verify import faults

IMAGE, LABELS = nuclei((8, 44, 50))


@pytest.mark.parametrize("place", ["before the earlier ones go", "after labels.zarr is renamed"])
def test_measuring_that_was_killed_starts_over(tmp_path: Path, place: str) -> None:
    image = write_zarr(tmp_path / "image.zarr", IMAGE)
    tifffile.imwrite(tmp_path / "labels.tif", LABELS)
    words = image, tmp_path / "labels.tif"
    script = (
        "import os, signal, sys, terapose\n"
        "from terapose.io import files\n"
        f"files.at_point = lambda at: at == 'results: {place}' and os.kill(os.getpid(), 9)\n"
        "terapose.measure(*sys.argv[1:], workers=1, progress=False)\n"
    )
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(Path(terapose.__file__).parents[1])}
    command = [*map(str, (sys.executable, "-c", script, *words, out))]
    killed = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert (out / ".terapose").exists() and not (out / "provenance.json").exists()
    found = terapose.measure(*words, out, workers=1, progress=False)
    whole = terapose.measure(*words, tmp_path / "whole", workers=1, progress=False)
    # also of what had been laid aside
    assert content(found.folder) == content(whole.folder)
    assert faults(found.folder) == []
