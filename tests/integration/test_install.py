"""Terapose installed like any package, without a clone: from a wheel, and from a source archive.

`make test-integration` runs it; dependencies come from the package index, in the pinned versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.asked import only_if_asked
from tests.workflow.launch import results

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(shutil.which("uv") is None, reason="no uv (make setup)"),
]

VOLUME = ("--shape", "24,80,80")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheel and source archive of what is in the repository; by the last letters of their names."""
    folder = tmp_path_factory.mktemp("archives")
    called("uv", "build", "--out-dir", folder, ROOT)
    return {kind: next(folder.glob(f"terapose-*.{kind}")) for kind in ("whl", "tar.gz")}


def called(*words: object, cwd: Path | None = None) -> str:
    """Call a program as a user without a clone; what it printed."""
    own = ("PYTHON", "VIRTUAL_ENV", "NUMBA_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run([*map(str, words)], env=env, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pinned versions, which are to be taken whatever installs them."""
    found = re.findall(
        r"^\S+==\S+(?: ;[^\\\n]*)?", (ROOT / "requirements/runtime.txt").read_text(), re.M
    )
    path = tmp_path_factory.mktemp("pins") / "constraints.txt"
    path.write_text("\n".join(found))
    return path


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_the_demo_runs_from_a_package(
    archives: dict[str, Path], pins: Path, tmp_path: Path, kind: str
) -> None:
    env = tmp_path / "env"
    called("uv", "venv", env)
    # another interpreter than that of .venv has none of its packages
    assert called(env / "bin" / "python", "-c", "import sys; print(sys.prefix)").strip() == str(env)
    called("uv", "pip", "install", "--python", env, "--constraint", pins, archives[kind])
    terapose = env / "bin" / "terapose"
    called(terapose, "simulate", "volume.zarr", *VOLUME, cwd=tmp_path)
    words = ("segment", "volume.zarr", "out", "--diameter", 15, "--jobs", 1)
    said = called(terapose, *words, cwd=tmp_path)
    assert said.startswith("labels: out/labels.zarr\n")
    assert called(terapose, "verify", "out", cwd=tmp_path) == "out: as written\n"
    assert results(tmp_path / "out") == from_clone(tmp_path)


def from_clone(folder: Path) -> tuple[str, bytes]:
    """Labels and table that the clone makes of the same volume."""
    words = ("segment", "volume.zarr", "clone", "--diameter", "15", "--jobs", "1")
    subprocess.run([ROOT / "bin/terapose.py", *words], check=True, cwd=folder)
    return results(folder / "clone")
