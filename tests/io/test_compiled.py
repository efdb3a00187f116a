"""Compiled code is kept somewhere, or nowhere: a folder that cannot be written stops nothing.

Tests may run as root, who can write everywhere but into /proc.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba.core import caching, config
from tests.command import Terapose

import terapose
from terapose.io import compiled

BIN = Path(terapose.__file__).parents[1]
NOWHERE = "/proc/terapose"

RUN = """
import sys
from multiprocessing import get_context
import numpy as np

def kernel(_):
    from terapose.algorithms.objects import outlines
    assert len(outlines.outline(np.ones((2, 2), bool))) == 1
    return sum(outlines._trace.stats.cache_hits.values())

if __name__ == "__main__":
    print(kernel(0))
    with get_context("spawn").Pool(1) as pool:
        print(*pool.map(kernel, [0]))
"""


def run(tmp_path: Path, **given: str) -> tuple[str, str]:
    """Run a kernel in a process and in a child of it; whether its code was there, and stderr."""
    script = tmp_path / "script.py"
    script.write_text(RUN)
    (tmp_path / "tmp").mkdir(exist_ok=True)
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(BIN), **given}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing decided yet, and a temporary folder of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", NOWHERE)
    monkeypatch.setattr(config, "CACHE_DIR", NOWHERE)
    compiled._is_kept.cache_clear()
    yield tmp_path
    compiled._is_kept.cache_clear()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    out, err = run(tmp_path, NUMBA_CACHE_DIR=NOWHERE)
    # compiled once, and found by the child
    assert out == "0\n1\n"
    (folder,) = (tmp_path / "tmp").glob("terapose-numba-*")
    assert err == (
        f"compiled code cannot be kept in NUMBA_CACHE_DIR ({NOWHERE}): it goes to {folder}; "
        "set NUMBA_CACHE_DIR to a folder that you may write to\n"
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # and by the next process
    assert run(tmp_path, NUMBA_CACHE_DIR=NOWHERE) == ("1\n1\n", err)


def test_a_cache_that_can_be_written(tmp_path: Path) -> None:
    assert run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "new" / "cache")) == ("0\n1\n", "")


def test_what_was_compiled_before_is_taken_along(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = tmp_path / "old"
    for name in ("flows_1a", "other_2b"):
        (old / name).mkdir(parents=True)
        (old / name / "code.nbc").write_bytes(b"code")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(old))
    monkeypatch.setattr(compiled, "_can_write", lambda folder: folder != old)
    assert compiled._is_kept()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == tmp_path and folder != old
    assert [p.relative_to(folder) for p in folder.rglob("*.nbc")] == [Path("flows_1a/code.nbc")]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("terapose")] == [folder.name]
    # as it is meant to be in a container
    assert not caplog.messages
    # another container has other code under the same name, which is not what is there now
    (old / "flows_1a" / "code.nbc").write_bytes(b"other code")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(old))
    compiled._is_kept.cache_clear()
    assert compiled._is_kept()
    other = Path(os.environ["NUMBA_CACHE_DIR"])
    assert other != folder and (other / "flows_1a" / "code.nbc").read_bytes() == b"other code"


CALLED = """
from terapose.core.step import STEP
from terapose.io.compiled import njit

@njit
def add(number):
    return number + STEP
"""
CALLING = """
from terapose.algorithms import (
    called,
)
from terapose.io.compiled import njit

add = called.add

@njit
def twice(number):
    return add(add(number))

print(twice(0), sum(twice.stats.cache_hits.values()))
"""


def test_kernels_that_call_others_are_compiled_again_if_these_change(tmp_path: Path) -> None:
    package = tmp_path / "terapose"
    shutil.copytree(BIN / "terapose", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "algorithms/called.py").write_text(CALLED)
    (package / "algorithms/calling.py").write_text(CALLING)
    # files of one size that are written within a second have one bytecode
    known = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **known, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def said(step: int, add: str = CALLED) -> str:
        (package / "core/step.py").write_text(f"STEP = {step}\n")
        (package / "algorithms/called.py").write_text(add)
        command = [sys.executable, "-c", "import terapose.algorithms.calling"]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert said(1) == "2 0\n"
    assert said(1) == "2 1\n"
    assert said(3) == "6 0\n"
    assert said(3, CALLED.replace("+", "-")) == "-6 0\n"
    assert said(3, CALLED.replace("+", "-")) == "-6 1\n"


def test_folders_of_kernels_are_known() -> None:
    package = Path(terapose.__file__).parent
    using = [p for p in package.rglob("*.py") if "io.compiled import njit" in p.read_text()]
    assert {f"{path.parent.name}_" for path in using} == set(compiled._OURS)


def test_no_place_of_numbas_own(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(config, "CACHE_DIR", "")
    assert compiled._is_kept() and compiled._is_kept()
    assert os.environ["NUMBA_CACHE_DIR"] == config.CACHE_DIR  # type: ignore[attr-defined]
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == fresh
    (message,) = caplog.messages
    assert message.startswith("compiled code cannot be kept in any of the usual folders: it goes")


@pytest.mark.parametrize("kind", ["link", "open to all", "file"])
def test_code_is_loaded_from_no_folder_of_others(fresh: Path, kind: str) -> None:
    place = fresh / f"terapose-numba-{os.getuid()}"
    if kind == "link":
        (fresh / "elsewhere").mkdir()
        place.symlink_to(fresh / "elsewhere")
    elif kind == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    assert compiled._is_kept()
    found = Path(os.environ["NUMBA_CACHE_DIR"])
    assert found != place and found.parent == fresh and not found.is_symlink()


def test_no_temporary_folder_either(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)

    @compiled.njit
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(4) == 8 and double.stats.cache_path is None
    (message,) = caplog.messages
    assert message.startswith(
        f"compiled code cannot be kept in NUMBA_CACHE_DIR ({NOWHERE}): each p"
    )


# -- no home ----------------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry among the users, as in a container."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "TERAPOSE_CACHE", "CELLPOSE_LOCAL_MODELS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


def test_no_home(
    homeless: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = Terapose(monkeypatch, capsys)
    assert command("fetch", "nuclei-small").code == 0
    assert command.refuses("fetch", "cyto3") == (
        "cyto3: no such model; allowed: nuclei-large, nuclei-small, the path or URL of a weight "
        "file, or a file in ~/.cellpose/models"
    )
    assert command.refuses("fetch", "~/cyto3").startswith("~/cyto3: no such model; allowed: ")
    assert command.refuses("evaluate", "~/a.tif", "~/b.tif").startswith("~/a.tif: there is no such")
    assert command.refuses("cut", "~/a.tif", "-", "~/b.csv", "~/c").startswith(
        "~/a.tif: there is n"
    )


def test_cellpose_can_be_imported_without_a_home(tmp_path: Path) -> None:
    code = (
        "import os, pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from terapose.io.homes import some_home\n"
        "with some_home():\n"
        "    from cellpose.train import train_seg\n"
        "print('HOME' in os.environ)"
    )
    env = {k: v for k, v in os.environ.items() if k != "HOME"} | {"PYTHONPATH": str(BIN)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.endswith("False\n"), done.stderr


def test_pictures_without_a_folder_for_matplotlib(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from terapose.apps.picture import three_views\n"
        "labels = np.zeros((1, 8, 9), np.uint8)\n"
        "labels[0, 2:5, 3:6] = 1\n"
        "three_views(labels * 9, labels, 'picture.png')"
    )
    env = {**os.environ, "PYTHONPATH": str(BIN), "MPLCONFIGDIR": NOWHERE, "HOME": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "picture.png").stat().st_size > 1000
