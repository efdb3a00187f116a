"""A clone that cannot be written to, without a container: any user, without a home, the same bytes.

`make test-integration` runs it as root, who can hide what the user should not have.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.asked import only_if_asked
from tests.workflow.launch import ROOT, needs_engine, results, segment

USER = 12345
TOOLS = ("unshare", "mount", "setpriv")
PYTHON = Path(sys.base_prefix)
"""Where the environment's Python is, which may be in somebody's home."""

READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"
"""
SHOWN = """
mkdir -p "$2/python"
mount --bind "$1" "$2/python"
mount -t tmpfs tmpfs "$3"
chmod 755 "$3"
mkdir -p "$1"
mount --move "$2/python" "$1"
"""


def hidden(path: Path) -> Path | None:
    """The folder on the way to a path that others cannot enter."""
    folders = [*reversed(path.parents), path]
    return next((f for f in folders if not f.stat().st_mode & stat.S_IXOTH), None)


def missing() -> str:
    """Why it cannot be tried here; nothing if it can."""
    tools = [name for name in TOOLS if shutil.which(name) is None]
    if tools:
        return f"no {', '.join(tools)} (apt-get install util-linux)"
    if os.geteuid() != 0:
        return "another user can only be root's choice"
    return f"others cannot enter {hidden(ROOT)}" if hidden(ROOT) else ""


pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of that user's."""
    with TemporaryDirectory(prefix="read-only-") as made:
        os.chown(made, USER, USER)
        yield Path(made)


def run(folder: Path, *words: str, shows_python: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command as that user, with nothing in its environment but the clone's commands."""
    tools = [ROOT / ".engine", ROOT / ".venv" / "bin", "/usr/bin", "/bin"]
    env = [f"PATH={':'.join(map(str, tools))}", f"NXF_HOME={folder}/nextflow"]
    calls: list[tuple[object, ...]] = [(READ_ONLY, ROOT), (READ_ONLY, (ROOT / ".venv").resolve())]
    if shows_python and (place := hidden(PYTHON)):
        calls.append((SHOWN, PYTHON, folder, place))
    lines = [f"sh -euc '{text}' sh {' '.join(map(str, given))}" for text, *given in calls]
    user = f"setpriv --reuid {USER} --regid {USER} --clear-groups env -i {' '.join(env)}"
    script = "\n".join(["set -eu", *lines, f'cd {folder}; exec {user} "$@"'])
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *words], capture_output=True, text=True
    )


def test_a_run_from_a_clone_that_nobody_can_write_to(folder: Path, tmp_path: Path) -> None:
    needs_engine()
    assert "Read-only" in run(folder, "touch", f"{ROOT}/x").stderr
    words = ("nextflow", "run", str(ROOT), "-profile", "test", "--outdir", "out")
    done = run(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    volume = folder / "out" / "simulated" / "16x80x80" / "nuclei.zarr"
    expected = segment(volume, tmp_path / "out", "--diameter", 15, "--model", "auto")
    assert results(folder / "out" / "nuclei") == expected
    assert (folder / "out" / "nuclei").stat().st_uid == USER


@pytest.mark.skipif(hidden(PYTHON) is None, reason="everybody has the environment's Python")
def test_a_python_that_others_do_not_have_is_a_mistake(folder: Path) -> None:
    said = run(folder, f"{ROOT}/bin/terapose.py", "--version", shows_python=False)
    assert said.returncode == 2
    assert "that leads to a Python that cannot be run here; run `make setup` in" in said.stderr
    assert "Traceback" not in said.stderr
