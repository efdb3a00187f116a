"""The image, run by Apptainer or SingularityCE: the same bytes as without a container.

`make test-integration` runs it where one of them is installed, and what makes the image of
tests/integration/conftest.py.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.asked import ASKED, only_if_asked
from tests.integration.charliecloud import compiled, missing, run_as_user
from tests.workflow.launch import PATIENCE, ROOT, environment, needs_engine, results, segment

PROGRAM = next((name for name in ("apptainer", "singularity") if shutil.which(name)), "apptainer")
USER = pwd.getpwnam("nobody").pw_uid
"""Who runs it: an ordinary user with a name, which these programs ask for, and without a home."""

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(ASKED and bool(missing(PROGRAM)), reason=missing(PROGRAM) if ASKED else ""),
]


def test_the_workflow_gives_the_bytes_of_this_machine_and_compiles_nothing(
    image: Path, tmp_path: Path
) -> None:
    needs_engine()
    with tempfile.TemporaryDirectory(prefix="container-") as made:
        folder, kept = Path(made), Path(made, "kept")
        kept.mkdir()
        for place in (folder, kept):
            os.chown(place, USER, -1)
        words = ("--container", image, "--single_task", "false", "--outdir", folder / "out")
        run = run_as_user(
            *("nextflow", "run", ROOT, "-ansi-log", "false", "-profile", f"test,{PROGRAM}", *words),
            cwd=folder,
            user=USER,
            timeout=3 * PATIENCE,
            PATH=environment()["PATH"],
            HOME=made,
            NXF_HOME=str(folder / "engine"),
            TMPDIR=str(kept),  # where compiled code is copied to
        )
        assert run.returncode == 0, run.stdout + run.stderr
        volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
        expected = segment(volume, tmp_path / "out", "--diameter", 15, "--model", "auto")
        assert results(folder / "out" / "nuclei") == expected
        scripts = [path.read_text() for path in folder.glob("work/*/*/.command.run")]
        assert len(scripts) > 20 and all(f"{PROGRAM} exec " in text for text in scripts)
        ready = compiled(image / "opt" / "terapose" / "kernels")
        assert len(ready) > 30 and compiled(kept) == ready
