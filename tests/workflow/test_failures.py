"""One bad sample of several: the others are finished, and what failed is said at the end."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import nuclei, write_tiff
from tests.workflow.conftest import Launches
from tests.workflow.launch import ROOT, environment, results, segment

pytestmark = pytest.mark.slow

WORDS = ("--mode", "2d", "--diameter", 12)


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    """A plane with a few nuclei."""
    volume = nuclei((9, 40, 44), spacing=12, seed=5)[0]
    return np.asarray(volume[4:5])


def test_samples_that_fail_early_and_late(
    launches: Launches, plane: np.ndarray, tmp_path: Path
) -> None:
    launch = launches("failures")
    folder = launch.path / "images"
    folder.mkdir()
    write_tiff(folder / "good.tif", plane)
    # found by CHECK
    (folder / "cut.tif").write_bytes((folder / "good.tif").read_bytes()[:3000])
    # found when all of it is read
    holed = plane.astype(np.float32)
    holed[0, 30, 30] = np.nan
    write_tiff(folder / "holed.tif", holed)
    run = launch.run("--input", folder, *WORDS)
    assert run.process.returncode == 1
    lines = run.said.splitlines()
    said = [line for line in lines if line.startswith("terapose: ")]
    assert len(said) == 3, run.said
    assert said[0].startswith(
        f"terapose: SEGMENT:PREPARE:CHECK (cut): {folder}/cut.tif: the TIFF file is"
    )
    assert said[1].startswith("terapose: SEGMENT:RESULTS:WHOLE (holed")
    assert "voxels that are not finite numbers" in said[1]
    assert said[2] == (
        "terapose: some samples failed, 1 finished; finished work is kept for -resume"
    )
    assert run.last == said[2] and f"Results: {launch.out}" in lines
    assert results(launch.out / "good") == segment(folder / "good.tif", tmp_path / "out", *WORDS)
    assert not (launch.out / "holed").exists() or not any((launch.out / "holed").iterdir())
    said_of = subprocess.run(
        [ROOT / "bin" / "terapose.py", "status", launch.path],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"failed    SEGMENT:PREPARE:CHECK (cut), exit status 2, {launch.work}/" in said_of
    assert "voxels that are not finite numbers" in said_of
    assert "\nfollow              1 of 1 tasks" in said_of
    # mended, and run again: only what failed runs
    for name in ("cut", "holed"):
        write_tiff(folder / f"{name}.tif", plane)
    again = launch.done("--input", folder, *WORDS, "-resume")
    assert "terapose: " not in again.said and "WHOLE" in again.cached
    for name in ("good", "cut", "holed"):
        assert (launch.out / name / "provenance.json").exists()


def test_a_kill_while_the_network_is_fetched(launches: Launches, plane: np.ndarray) -> None:
    launch = launches("fetching")
    write_tiff(launch.path / "image.tif", plane)
    words = ("--input", launch.path / "image.tif", *WORDS)
    started = launch.start(*words)
    assert started.wait_for(process="FETCH")
    # the task has made its folder, and Nextflow does not know of it
    end = time.monotonic() + 60
    while not any(launch.work.glob("*/*/network")) and time.monotonic() < end:
        time.sleep(0.01)
    started.kill_all()
    again = launch.start(*words, "-resume")
    assert again.wait_for(process="WHOLE"), again.said
    again.kill_all()
