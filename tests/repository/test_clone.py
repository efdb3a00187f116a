"""`import terapose` beside a clone of that name: the package, not a folder without content."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["link", "copy"])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a clone called terapose in it."""
    clone = tmp_path / "terapose"
    if request.param == "link":
        clone.symlink_to(ROOT)
        return tmp_path
    clone.mkdir()
    shutil.copy(ROOT / "__init__.py", clone)
    for name in ("bin", "assets"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, clone / name, ignore=ignored)
    return tmp_path


def python(folder: Path, code: str, *flags: str, **env: str) -> str:
    """What a Python that is started in a folder prints."""
    known = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=folder,
        env={**known, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TOLD = (
    "import terapose, terapose.core.errors, sys\n"
    "print(terapose.__version__, terapose.__file__, terapose.__spec__.origin, *terapose.__path__)\n"
    "print(sys.modules['terapose'] is terapose, terapose.core.errors.__file__)"
)


def test_the_package_of_the_clone(beside: Path) -> None:
    package = beside / "terapose" / "bin" / "terapose"
    here = f"{package}/__init__.py"
    expected = f"0.1.0 {here} {here} {package}\nTrue {package}/core/errors.py\n"
    assert python(beside, TOLD) == expected
    # without any package installed, too
    assert python(beside, TOLD, "-S") == expected
    # a package that is on the path before is that package
    told = python(ROOT, TOLD, PYTHONPATH=str(ROOT / "bin"))
    assert told.startswith(f"0.1.0 {ROOT}/bin/terapose/__init__.py")


def test_processes_that_are_started_there(beside: Path) -> None:
    code = (
        "import multiprocessing, terapose, terapose.pipeline.arguments\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print(*pool.apply(terapose.pipeline.arguments.as_option, ('min_size', 5)))"
    )
    assert python(beside, code) == "--min-size 5\n"


def test_clones_of_other_names_are_no_package(tmp_path: Path) -> None:
    (tmp_path / "clone").symlink_to(ROOT)
    assert python(tmp_path, "import clone, sys; print('terapose' in sys.modules)") == "False\n"


def test_a_python_without_packages_is_a_mistake() -> None:
    command = [sys.executable, "-S", str(ROOT / "bin" / "terapose.py"), "--version"]
    known = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, env=known, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (
        f"terapose: {sys.executable}: lacks the package click; "
        f"allowed: a Python with all packages; run `make setup` in {ROOT}\n"
    )
