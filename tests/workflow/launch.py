"""Start the real Nextflow in a folder, read what it says, and end it in unkind ways."""

from __future__ import annotations

import atexit
import csv
import hashlib
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.unets import gradient_unet, save

ROOT = Path(__file__).parents[2]
PATIENCE = 1500.0
"""Seconds after which a run counts as hanging."""

RAW_TRACE = Path(__file__).with_name("raw_trace.config")
"""Settings with which the trace has bytes and milliseconds."""
Needs = tuple[int, ...]
"""Bytes of memory, milliseconds and processors."""
_ASKED = ("memory", "time", "cpus")

_STARTED = re.compile(r"(Submitted|Cached) process > (?:\w+:)*(\w+)(?: \((.*)\))?")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment() -> dict[str, str]:
    """The environment of `make test`, whoever started the tests."""
    tools = [ROOT / ".engine", ROOT / ".venv" / "bin"]
    path = os.pathsep.join([*(str(t) for t in tools if t.exists()), os.environ["PATH"]])
    cache = ROOT / ".venv" / "cache" / "numba"
    known = {"NUMBA_CACHE_DIR": str(cache)} if cache.exists() else {}
    return {**known, **os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}


def needs_engine() -> None:
    """Skip where there is no Nextflow; fail where there has to be one."""
    if shutil.which("nextflow", path=environment()["PATH"]) is None:
        assert os.environ.get("CI") != "true", "no nextflow on PATH nor in .engine"
        pytest.skip("no Nextflow: make engine")


def answers_of(script: Path, folder: Path, *words: str) -> tuple[str, str]:
    """What a script said that calls functions of the workflow, and the answers that it wrote."""
    given = [*words, "--answers", "answers.json", "--outdir", "results"]
    done = subprocess.run(
        ["nextflow", "-q", "run", script, *given],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, (folder / "answers.json").read_text()


def called(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Call a program that must succeed; returns what it said."""
    done = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def program(path: Path, *words: object) -> Path:
    """Write a command of a file's name; calls these words, and what it is given."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    path.chmod(0o755)
    return path


def tree(folder: Path) -> str:
    """Digest of the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def results(folder: Path) -> tuple[str, bytes]:
    """What has to be the same however the work was cut and disturbed: labels and table."""
    return tree(folder / "labels.zarr"), (folder / "cells.csv").read_bytes()


SHIPPED = ("--model", "auto", "--diameter", 17)
"""The shipped network, at the diameter that it was trained for."""


@cache
def network() -> Path:
    """A weight file of a network that costs little and finds nuclei."""
    folder = Path(tempfile.mkdtemp(prefix="terapose-network-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return save(gradient_unet().state_dict(), folder / "gradient.pth")


def with_network(words: tuple[object, ...]) -> tuple[object, ...]:
    """Words with `network` and its diameter, unless they say what is taken instead.

    Without a diameter it would be looked for in each image, and the image be resized.
    """
    given = {"--model", "-params-file", "-stub-run"} & {*words}
    # the profile test has both, those of clusters and containers have neither
    profiles = [str(value) for word, value in pairwise(words) if word == "-profile"]
    if given or any(name.startswith("test") for names in profiles for name in names.split(",")):
        return words
    diameter = () if "--diameter" in words else ("--diameter", 17)
    return (*words, *diameter, "--model", network())


def copy_of_workflow(folder: Path) -> Path:
    """The workflow in another folder, with the environment of this one.

    numba takes its kernels for others, as they are in another folder; what it has compiled of them
    is copied as well.
    """
    folder.mkdir(parents=True)
    for name in ("main.nf", "nextflow.config", "nextflow_schema.json"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("conf", "modules", "bin", "assets"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    if (ROOT / ".venv").exists():
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    _take_compiled(folder)
    return folder


def _take_compiled(folder: Path) -> None:
    """Copy what numba has compiled for a copy of the workflow, until the tests end."""
    kept = environment().get("NUMBA_CACHE_DIR")
    if kept is None:
        return
    for package in (ROOT / "bin" / "terapose").rglob("*/"):
        copy = folder / package.relative_to(ROOT)
        here, there = (Path(kept, _compiled_in(path)) for path in (package, copy))
        if here.is_dir():
            # another test may be compiling
            unfinished = shutil.ignore_patterns("*.tmp.*")
            shutil.copytree(here, there, dirs_exist_ok=True, ignore=unfinished)
            atexit.register(shutil.rmtree, there, ignore_errors=True)


def _compiled_in(package: Path) -> str:
    """Name of the folder in which numba keeps what it compiles of a package's modules."""
    return f"{package.name}_{hashlib.sha1(str(package).encode()).hexdigest()}"


def segment(image: Path, out: Path, *words: object) -> tuple[str, bytes]:
    """Run `terapose segment` on one process; returns `results`."""
    given = with_network(words)
    command = [ROOT / "bin" / "terapose.py", "segment", image, out, "--jobs", 1, *given]
    done = subprocess.run([*map(str, command)], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return results(out)


@dataclass
class Run:
    """One call of Nextflow, alone in its process group."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """All it printed so far, without colours."""
        return _COLOURS.sub("", self.log.read_text(errors="replace"))

    @property
    def last(self) -> str:
        """The last line that is not empty."""
        return next(line for line in reversed(self.said.splitlines()) if line.strip())

    def _processes(self, how: str) -> list[str]:
        return [name for kind, name, _ in _STARTED.findall(self.said) if kind == how]

    @property
    def submitted(self) -> set[str]:
        """Names of the processes of which a task was started."""
        return set(self._processes("Submitted"))

    @property
    def tasks(self) -> int:
        """Number of tasks started."""
        return len(self._processes("Submitted"))

    @property
    def cached(self) -> set[str]:
        """Names of the processes of which a task was taken from an earlier run."""
        return set(self._processes("Cached"))

    def wait(self) -> Run:
        """Wait for the end."""
        self.process.wait(PATIENCE)
        return self

    def wait_for(self, tasks: int = 0, process: str | None = None) -> bool:
        """Wait until so many tasks, or one of a process, were started; False if it ended first."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.tasks >= tasks and (process is None or process in self.submitted):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.1)
        raise TimeoutError(self.said)

    def kill_engine(self) -> None:
        """SIGKILL to Nextflow alone: its tasks live on as orphans."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """SIGKILL to Nextflow and everything it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.wait()


@dataclass
class Launch:
    """A folder from which runs are launched, one after the other, sharing their work."""

    path: Path
    workflow: Path = ROOT
    runs: list[Run] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.path / "out"

    @property
    def work(self) -> Path:
        """Where tasks run."""
        return self.path / "work"

    def start(self, *words: object, terminal: bool = False) -> Run:
        """Start the workflow; `terminal` gives it a terminal, as a person has one."""
        command = ["nextflow", "run", self.workflow, "--outdir", self.out, *with_network(words)]
        if not terminal:
            command += ["-ansi-log", "false"]
        log = self.path / f"run-{len(self.runs)}.log"
        options: dict[str, Any] = {"cwd": self.path, "env": environment()}
        options["start_new_session"] = True
        if terminal:
            process = _on_terminal([*map(str, command)], log, **options)
        else:
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [*map(str, command)], stdout=file, stderr=subprocess.STDOUT, **options
                )
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def run(self, *words: object, terminal: bool = False) -> Run:
        """Run the workflow to its end."""
        return self.start(*words, terminal=terminal).wait()

    def done(self, *words: object) -> Run:
        """Run the workflow, which has to succeed."""
        run = self.run(*words)
        assert run.process.returncode == 0, run.said
        return run

    def task_processes(self) -> list[int]:
        """Process IDs of tasks' Python that run in this folder's work."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                inside = Path(os.readlink(entry / "cwd")).is_relative_to(self.work)
            except OSError:
                continue  # it has ended meanwhile
            if inside and b"python" in command[0] and any(b"terapose.py" in w for w in command):
                found.append(int(entry.name))
        return found

    def kill_task(self, rng: random.Random) -> bool:
        """SIGKILL to a random running task; False if none ran in time."""
        end = time.monotonic() + PATIENCE / 10
        while time.monotonic() < end:
            # one that has ended meanwhile was not killed
            with suppress(ProcessLookupError):
                if running := self.task_processes():
                    os.kill(rng.choice(running), signal.SIGKILL)
                    return True
            time.sleep(0.05)
        return False

    def stores(self) -> Iterable[Path]:
        """The stores of intermediates of this folder's runs."""
        return self.work.glob("*/*/store")

    def asked(self) -> dict[str, set[Needs]]:
        """What the tasks of each process asked for in the last run, which was given `RAW_TRACE`."""
        found: dict[str, set[Needs]] = {}
        with (self.out / "pipeline_info" / "trace.txt").open() as file:
            for row in csv.DictReader(file, delimiter="\t"):
                process = row["name"].partition(" ")[0].rpartition(":")[2]
                asked = tuple(0 if row[n] == "-" else int(row[n]) for n in _ASKED)
                found.setdefault(process, set()).add(asked)
        return found

    def planned(self) -> dict[str, set[Needs]]:
        """What tasks ask for by the tables of the plans, by stage."""
        found: dict[str, set[Needs]] = {}
        for table in self.work.glob("*/*/tasks/*.csv"):
            with table.open() as file:
                for row in csv.DictReader(file):
                    if row["task"] != "all":
                        needs = int(row["memory"]), 1000 * int(row["seconds"]), int(row["cpus"])
                        found.setdefault(table.stem, set()).add(needs)
        return found

    def end(self) -> None:
        """Leave no process behind."""
        for run in self.runs:
            run.kill_all()


def _on_terminal(command: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command on a terminal of its own; what it shows goes to the log."""
    shell = f"stty columns 300; {shlex.join(command)}"
    with log.open("wb") as file:
        return subprocess.Popen(
            ["script", "--quiet", "--return", "--command", shell, os.devnull],
            stdin=subprocess.DEVNULL,
            stdout=file,
            **options,
        )
