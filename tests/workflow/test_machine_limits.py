"""A disk that becomes full, and memory that does not suffice, in tasks of the workflow.

Each is one sentence, and leaves nothing that looks finished; run again, the results are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import nuclei, write_tiff
from tests.workflow.conftest import Launches
from tests.workflow.launch import Run, results, segment

pytestmark = pytest.mark.slow

WANTED = "terapose: results cannot be copied: "
WORDS = ("--mode", "2d", "--diameter", 12)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plane with a few nuclei."""
    volume = nuclei((9, 40, 44), spacing=12, seed=5)[0]
    return write_tiff(tmp_path_factory.mktemp("plane") / "image.tif", np.asarray(volume[4:5]))


@pytest.fixture(scope="module")
def wanted(plane: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Its results."""
    return segment(plane, tmp_path_factory.mktemp("wanted") / "out", *WORDS)


def fill(disk: Path, left: int) -> Path:
    """Fill a file system but for some bytes; returns the file that does."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    filler.write_bytes(bytes(max(status.f_bavail * status.f_frsize - left, 0)))
    return filler


def failed(run: Run, process: str) -> str:
    """What is said at the end of a task that failed, or of what Nextflow does itself (empty)."""
    assert run.process.returncode == 1, run.said
    said = [line for line in run.said.splitlines() if line.startswith("terapose: ")]
    if process:
        assert any(f":{process} (image" in line for line in said), run.said
    assert not any(line.startswith("Results: ") for line in run.said.splitlines())
    assert "Traceback" not in run.said
    return said[-1]


def finished(again: Run, wanted: tuple[str, bytes], out: Path) -> None:
    """The results are those of an undisturbed run."""
    assert "Results: " in again.said, again.said
    assert results(out / "image") == wanted
    assert (out / "image" / "provenance.json").exists()


@pytest.mark.thorough(
    shorter="tests/cli/test_bad_folders.py::test_disk_that_fills_up_while_results_are_made"
)
@pytest.mark.parametrize("place", ["results", "work"])
def test_a_disk_that_becomes_full_while_everything_is_computed(
    launches: Launches,
    plane: Path,
    wanted: tuple[str, bytes],
    mount: Callable[[str], Path],
    place: str,
) -> None:
    """In the one task of a small image, or as its results are published."""
    launch, disk = launches(f"full-{place}"), mount("size=24m")
    out = disk / "out" if place == "results" else launch.out
    work = disk / "work" if place == "work" else launch.work
    words = ("--input", plane, *WORDS, "--outdir", out, "-work-dir", work)
    run = launch.start(*words)
    assert run.wait_for(process="WHOLE")
    filler = fill(disk, 16_384)
    said = failed(run.wait(), "WHOLE" if place == "work" else "")
    assert said.startswith(f"terapose: {disk}" if place == "work" else WANTED), run.said
    assert "No space left on device; make room" in said, run.said
    filler.unlink()
    finished(launch.done(*words, "-resume"), wanted, out)


@pytest.mark.thorough(shorter="tests/cli/test_bad_folders.py::test_memory_that_does_not_suffice")
def test_memory_that_does_not_suffice_in_one_process(
    launches: Launches, plane: Path, wanted: tuple[str, bytes]
) -> None:
    launch = launches("limited")
    limits = launch.path / "limits.config"
    # libraries do not fit into it, and the task is tried again with more, which is no more
    limits.write_text("process { withName: 'EXPORT' { beforeScript = 'ulimit -v 130000' } }\n")
    words = ("--input", plane, *WORDS, "--single_task", "false")
    run = launch.run(*words, "-c", limits)
    said = failed(run, "EXPORT")
    assert "there is not enough memory for this" in said, run.said
    finished(launch.done(*words, "-resume"), wanted, launch.out)
