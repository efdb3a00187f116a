"""One protocol in two languages: modules/lock.nf and terapose.io.lock heed each other's files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.workflow.launch import environment, needs_engine

from terapose.core.errors import InputError
from terapose.io import lock

pytestmark = pytest.mark.slow

HERE = {"host": socket.gethostname()}
ELSEWHERE = {"host": "elsewhere", "process": 7, "started": "7", "since": "then"}
LEFT: dict[str, tuple[dict[str, object], float]] = {
    # what a file says, and how long ago it was touched
    "gone": ({**HERE, "process": 2**22 + 1, "started": "1"}, 0),
    "number of another": ({**HERE, "process": os.getpid(), "started": "1"}, 0),
    "number 0": ({**HERE, "process": 0}, 0),
    "elsewhere": (ELSEWHERE, lock.PATIENCE / 2),
    "elsewhere and old": (ELSEWHERE, lock.PATIENCE * 2),
    "another system": ({**HERE, "system": "another", "process": 2**22 + 1}, lock.PATIENCE / 2),
    "being written": ({}, 0),
    "never written": ({}, lock.PATIENCE * 2),
}
"""Files of runs that are there, or gone, in folders of these names."""
ODD: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "linked": lambda path: path.symlink_to("/etc/hostname"),
}
"""What no run has made."""
HELD = {"elsewhere", "another system", "being written", "cleared", *ODD}


def leave(folder: Path, says: dict[str, object], age: float) -> None:
    folder.mkdir()
    file = folder / lock.NAME
    file.write_text(json.dumps(says) if says else "")
    os.utime(file, (time.time() - age,) * 2)


def python_says(folder: Path) -> str:
    """What comes of holding a folder for a moment."""
    try:
        with lock.held(folder):
            return "held"
    except InputError as fault:
        return f"terapose: {fault}"


def test_each_heeds_the_files_of_the_other(tmp_path: Path) -> None:
    needs_engine()
    names = [*LEFT, *ODD, "cleared", "mine", "free", "released"]
    for name, make in ODD.items():
        for folder in (tmp_path / name, tmp_path / f"{name} 2"):
            folder.mkdir()
            make(folder / lock.NAME)
    for name, (says, age) in LEFT.items():
        leave(tmp_path / name, says, age)
        leave(tmp_path / f"{name} 2", says, age)
    for name in ("mine", "free", "released"):
        (tmp_path / name).mkdir()
    words = ["--folders", ",".join(str(tmp_path / n) for n in names), "--answers", "answers.json"]
    # a file that another one is just about to remove is left to it
    for name in ("cleared", "cleared 2"):
        leave(tmp_path / name, *LEFT["gone"])
        (tmp_path / name / f"{lock.NAME}.old").touch()
    with ExitStack() as stack:
        stack.enter_context(lock.held(tmp_path / "mine"))
        process = subprocess.Popen(
            ["nextflow", "-q", "run", Path(__file__).with_name("lock.nf"), *words],
            cwd=tmp_path,
            env=environment(),
            start_new_session=True,
        )
        stack.callback(end, process)
        answers = tmp_path / "answers.json"
        while not answers.exists():
            assert process.poll() is None
            time.sleep(0.1)
        found = {
            Path(folder).name: said for folder, said in json.loads(answers.read_text()).items()
        }
        # the same answers in the same words
        for name in (*LEFT, *ODD, "cleared"):
            wanted = python_says(tmp_path / f"{name} 2").replace(f"{name} 2", name)
            assert found[name] == wanted, name
            assert (wanted != "held") == (name in HELD), name
        assert f"process {os.getpid()} on {socket.gethostname()}" in found["mine"]
        assert (tmp_path / "mine" / lock.NAME).exists()
        assert found["released"] == "held" and not list((tmp_path / "released").iterdir())
        # nothing is left of what was made for a moment
        assert [path.name for path in (tmp_path / "gone").iterdir()] == [lock.NAME]
        # what Nextflow holds is held, until it is killed
        assert found["free"] == "held"
        assert "another run is writing here; got process" in python_says(tmp_path / "free")
    assert python_says(tmp_path / "free") == "held"


def end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
