"""One run at a time in a folder; what a killed run left behind holds nobody up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from terapose.core.errors import InputError
from terapose.io import lock

PATIENCE = 50
"""How often something is tried that another thread may undo."""
HOLD = """
import sys, time
from pathlib import Path
from terapose.io.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that holds a folder."""
    words = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    here = {**os.environ, "PYTHONPATH": str(Path(lock.__file__).parents[2])}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=here)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def refused(folder: Path, text: str) -> None:
    """A folder cannot be had."""
    with pytest.raises(InputError, match=text), lock.held(folder):
        pass


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        refused(tmp_path, f"another run is writing here; got process {os.getpid()}")
    with lock.held(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]
    assert not list(tmp_path.iterdir())


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, 600)
    refused(tmp_path, f"process {process.pid}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / lock.NAME).exists()
    with lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_number_that_another_process_got_is_told_from_the_first(tmp_path: Path) -> None:
    mine = {"host": socket.gethostname(), "process": os.getpid(), "started": "1"}
    (tmp_path / lock.NAME).write_text(json.dumps(mine))
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize(
    "content", ['{"host": "elsewhere", "process": 7}', "", "[1]", "{", "[" * 200_000]
)
def test_a_run_elsewhere_holds_as_long_as_it_touches_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / lock.NAME
    path.write_text(content)
    refused(tmp_path, r"if that process no longer exists, remove \.terapose\.lock")
    old = time.time() - 2 * lock.PATIENCE
    os.utime(path, (old, old))
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize("name", [lock.NAME, f"{lock.NAME}.old"])
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("a folder", Path.mkdir),
        ("a pipe", os.mkfifo),
        ("a symbolic link", lambda path: path.symlink_to("nowhere")),
        ("a symbolic link", lambda path: path.symlink_to(lock.__file__)),
    ],
)
def test_what_no_run_has_made_is_refused(
    tmp_path: Path, name: str, kind: str, make: Callable[[Path], None]
) -> None:
    gone = {"host": socket.gethostname(), "process": 0}
    (tmp_path / lock.NAME).write_text(json.dumps(gone))
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    refused(tmp_path, rf"{name}: was not made by a run, .*; got {kind}; allowed: a file; remove it")
    assert os.path.lexists(tmp_path / name)


def test_the_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with lock.held(tmp_path):
        os.utime(tmp_path / lock.NAME, (0, 0))
        for _ in range(500):
            time.sleep(0.01)
            if (tmp_path / lock.NAME).stat().st_mtime > 0:
                break
        assert (tmp_path / lock.NAME).stat().st_mtime > 0


def test_who_has_lost_the_folder_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped for long does not keep alive the lock of the run that took over."""
    monkeypatch.setattr(lock, "BEAT", 0.01)
    path = tmp_path / lock.NAME
    with lock.held(tmp_path) as confirm:
        confirm()
        other = json.dumps({**lock.myself(), "host": "other", "process": 7})
        path.write_text(other)
        # the thread may have looked at it before, and be about to touch it
        for _ in range(PATIENCE):
            os.utime(path, (0, 0))
            time.sleep(0.2)
            if path.stat().st_mtime == 0:
                break
        assert path.stat().st_mtime == 0
        with pytest.raises(InputError, match="another run is writing here; got process 7 on other"):
            confirm()
        path.write_text("")
        confirm()
        path.write_text(other)
    assert path.read_text() == other


def test_one_of_many_that_find_an_old_file_wins(tmp_path: Path) -> None:
    inside, most, lost = 0, 0, 0
    guard, begin = threading.Lock(), threading.Barrier(8)

    def work() -> None:
        nonlocal inside, most, lost
        begin.wait()
        try:
            with lock.held(tmp_path):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.02)
                with guard:
                    inside -= 1
        except InputError:
            with guard:
                lost += 1

    gone = {"host": socket.gethostname(), "process": 0}
    for _ in range(20):
        lost = 0
        (tmp_path / lock.NAME).write_text(json.dumps(gone))
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lost < 8
    assert most == 1
