"""The image of containers/install.sh, run by Charliecloud: the same bytes as without a container.

`make test-integration` runs it where mmdebstrap and charliecloud are installed. The image is made
by tests/integration/conftest.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.asked import ASKED, only_if_asked
from tests.integration import slurm
from tests.integration.charliecloud import USER, compiled, missing, run_as_user, run_in
from tests.workflow.launch import PATIENCE, ROOT, environment, needs_engine, results, segment

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(ASKED and bool(missing()), reason=missing() if ASKED else ""),
]


def _forget() -> None:
    for kept in Path(tempfile.gettempdir()).glob(f"terapose-numba-{USER}*"):
        shutil.rmtree(kept)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder of the user who runs containers; no compiled code is left from before."""
    _forget()
    with tempfile.TemporaryDirectory(prefix="container-") as made:
        os.chown(made, USER, USER)
        yield Path(made)
    _forget()


@pytest.fixture(scope="module")
def work(image: Path, folder: Path) -> Path:
    """Work of a run of every stage in containers, beside its results."""
    needs_engine()
    words = ("--container", image, "--single_task", "false", "--outdir", folder / "out")
    run = run_as_user(
        *("nextflow", "run", ROOT, "-ansi-log", "false", "-profile", "test,charliecloud", *words),
        cwd=folder,
        timeout=3 * PATIENCE,
        PATH=environment()["PATH"],
        NXF_HOME=str(folder / "engine"),
        USER="",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "work"


def kept() -> set[str]:
    """The same, of what the user has."""
    (place,) = Path(tempfile.gettempdir()).glob(f"terapose-numba-{USER}*")
    return compiled(place)


def test_the_workflow_gives_the_bytes_of_this_machine(
    work: Path, folder: Path, tmp_path: Path
) -> None:
    volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
    expected = segment(volume, tmp_path / "out", "--diameter", 15, "--model", "auto")
    found = folder / "out" / "nuclei"
    assert results(found) == expected
    table = "cells.parquet"
    assert (found / table).read_bytes() == (tmp_path / "out" / table).read_bytes()
    assert (found / "picture.png").stat().st_size > 1000


def test_the_image_is_read_and_not_copied(work: Path, image: Path, folder: Path) -> None:
    calls = [
        line
        for script in work.glob("*/*/.command.run")
        for line in script.read_text().splitlines()
        if line.strip().startswith("ch-run ")
    ]
    assert len(calls) > 20 and all(f" {image} -- " in line for line in calls)
    assert not any(re.search(r" (-w|--write\S*) ", line) for line in calls)
    assert not list(work.glob("*/*/container_*"))
    said = run_in(image, folder, "sh", "-c", "touch /opt/terapose/x 2>&1 || id -u")
    assert "Read-only file system" in said and said.split()[-1] == str(USER)


def test_tasks_keep_to_their_cores(work: Path) -> None:
    scripts = [path.read_text() for path in work.glob("*/*/.command.sh")]
    calls = [line for text in scripts for line in re.findall(r"terapose\.py (.*)", text)]
    assert len(calls) > 20 and all(re.match("--threads [12] ", line) for line in calls)


def test_no_task_compiles_or_warns(work: Path, image: Path, folder: Path) -> None:
    ready = compiled(image / "opt" / "terapose" / "kernels")
    assert len(ready) > 30 and kept() == ready
    logs = "".join(path.read_text() for path in work.glob("*/*/.command.err"))
    assert "WARNING" not in logs and "Traceback" not in logs
    # nor in the other modes
    volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
    for mode in ("2d", "stitch"):
        run_in(image, folder, "terapose", "segment", volume, mode, "--mode", mode, "--jobs", 1)
    assert kept() == ready


def test_kernels_for_another_processor_give_the_same_bytes(
    work: Path, image: Path, folder: Path
) -> None:
    volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
    ready = kept()
    words = ("--diameter", 15, "--jobs", 1)
    other = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    run_in(image, folder, "terapose", "segment", volume, "other", *words, **other)
    others = kept()
    assert len(others) > len(ready)
    assert results(folder / "other") == results(folder / "out" / "nuclei")
    # once, and not in each process
    run_in(image, folder, "terapose", "segment", volume, "again", *words, **other)
    assert kept() == others
    assert results(folder / "again") == results(folder / "other")


@pytest.mark.skipif(ASKED and bool(slurm.missing()), reason=slurm.missing() if ASKED else "")
def test_jobs_of_a_cluster_run_in_containers(work: Path, image: Path, folder: Path) -> None:
    """SLURM accepts no job of a user without a name: this run is root's."""
    with tempfile.TemporaryDirectory(prefix="jobs-") as made, slurm.started() as cluster:
        place = Path(made)
        site = place / "site.config"
        site.write_text(slurm.SITE)
        words = ("-profile", "slurm,charliecloud,test", "--container", image)
        run = subprocess.run(
            ["nextflow", "-c", site, "run", ROOT, *words, "--single_task", "false"],
            cwd=place,
            env={**environment(), **cluster.environment},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        scripts = [path.read_text() for path in place.glob("work/*/*/.command.run")]
        assert len(scripts) > 20
        assert all("#SBATCH" in text and f" {image} -- " in text for text in scripts)
        assert results(place / "results" / "nuclei") == results(folder / "out" / "nuclei")
