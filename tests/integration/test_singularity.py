"""The image of containers/install.sh, run by Apptainer or SingularityCE: the bytes of this machine.

`make test-integration` runs it where one of them is installed, and what makes the image. The image
is a folder, made once for what is in the repository, under TERAPOSE_IMAGES if that names a folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.asked import ASKED, only_if_asked
from tests.integration import charliecloud
from tests.workflow.launch import PATIENCE, ROOT, environment, needs_engine, results, segment

PROGRAM = next((name for name in ("apptainer", "singularity") if shutil.which(name)), "")
USER = pwd.getpwnam("nobody")
"""Who runs it: an ordinary user with a name, which these programs ask for, and without a home."""


def _missing() -> str:
    """Why it cannot be run here; nothing if it can."""
    return charliecloud.missing() if PROGRAM else "neither apptainer nor singularity is installed"


pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(ASKED and bool(_missing()), reason=_missing() if ASKED else ""),
]


def _compiled(folder: Path) -> set[str]:
    """Names of the files of compiled code."""
    return {path.name for path in folder.rglob("*.nbc")}


def test_the_workflow_gives_the_bytes_of_this_machine_and_compiles_nothing(tmp_path: Path) -> None:
    needs_engine()
    named = os.environ.get("TERAPOSE_IMAGES")
    with (
        tempfile.TemporaryDirectory(prefix="image-") as made,
        tempfile.TemporaryDirectory(prefix="container-") as owned,
    ):
        Path(made).chmod(0o755)
        image, folder = charliecloud.image(Path(named or made).resolve()), Path(owned)
        os.chown(folder, USER.pw_uid, USER.pw_gid)
        kept = folder / "tmp"
        kept.mkdir()
        kept.chmod(0o777)
        words = ("--container", image, "--single_task", "false", "--outdir", folder / "out")
        run = subprocess.run(
            ["nextflow", "run", ROOT, "-ansi-log", "false", "-profile", f"test,{PROGRAM}", *words],
            cwd=folder,
            env={
                "PATH": environment()["PATH"],
                "HOME": str(folder),
                "NXF_HOME": str(folder / "engine"),
                "TMPDIR": str(kept),  # where compiled code is copied to
            },
            user=USER.pw_uid,
            group=USER.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
        expected = segment(volume, tmp_path / "out", "--diameter", 15, "--model", "auto")
        assert results(folder / "out" / "nuclei") == expected
        scripts = [path.read_text() for path in folder.glob("work/*/*/.command.run")]
        assert len(scripts) > 20 and all(f"{PROGRAM} exec " in text for text in scripts)
        ready = _compiled(image / "opt" / "terapose" / "kernels")
        assert len(ready) > 30 and _compiled(kept) <= ready
