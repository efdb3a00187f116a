"""Tasks of Nextflow that have failed, from the folders of their attempts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from tests.command import Terapose

from terapose.api import failures
from terapose.api.failures import Failure, failures_in
from terapose.pipeline.plan import KEPT

ROOT = Path(__file__).parents[2]
HOUR = 3600.0
KILLED = "was killed, or stopped without a message"
ADVICE = "WARNING: NUMA is not supported"
MEMORY = "slurmstepd-vm: error: Exceeded job memory limit"
CANCELLED = "slurmstepd: error: *** JOB 7 ON vm CANCELLED AT 2026-11-28T10:00:00 ***"
OWN = "terapose: mask.tif: is empty"


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Path]:
    """Leave the folder of an attempt of a task, so many hours ago."""
    made: list[Path] = []

    def leave(
        name: str,
        status: int | str | None,
        *,
        ago: float = 0,
        took: float = 0,
        begun: bool = True,
        **wrote: str,
    ) -> Path:
        folder = tmp_path / "work" / f"{len(made):02}" / f"{len(made):030}"
        folder.mkdir(parents=True)
        made.append(folder)
        array = "### array:\n" if wrote.pop("array", "") else ""
        script = f"#!/bin/bash\n#SBATCH --mem 500M\n### ---\n### name: '{name}'\n{array}### ...\n"
        files = {".command.run": script} | {f".command.{end}": text for end, text in wrote.items()}
        files |= {".command.begin": ""} if begun else {}
        files |= {} if status is None else {".exitcode": f"{status}"}
        now = time.time()
        for file, text in files.items():
            (folder / file).write_text(text)
            at = now - ago * HOUR + (took * HOUR if file == ".exitcode" else 0)
            os.utime(folder / file, (at, at))
        return folder

    return leave


class Told(NamedTuple):
    """What is said of a task."""

    name: str
    ending: str
    status: int | None
    said: str


def told(found: list[Failure]) -> list[Told]:
    """What is said, without folders."""
    return [Told(one.name, one.ending, one.status, one.said) for one in found]


def test_failures_before_there_is_a_store(
    attempt: Callable[..., Path], tmp_path: Path, command: Terapose
) -> None:
    assert "no run has begun here" in command.refuses("status", tmp_path)
    attempt("PREPARE:CHECK (a)", None)
    said = command("status", tmp_path)
    assert said.code == 0 and said.out.startswith("no store: a run has just begun here, or ")
    folder = attempt("PREPARE:CHECK (a)", 2, err=f"{OWN}\n")
    for place in (tmp_path, tmp_path / "work"):
        said = command("status", place)
        assert said.code == 0, said.err
        assert said.out == f"failed    PREPARE:CHECK (a), exit status 2, {folder}: {OWN}\n"


def test_only_the_last_attempt_counts(attempt: Callable[..., Path], tmp_path: Path) -> None:
    attempt("MASKS (a 1)", 137, ago=9, log=MEMORY)
    attempt("MASKS (a 10)", 137, ago=8.5)
    attempt("MASKS (a 1)", 0, ago=8)
    attempt("MASKS (a 2)", 1, ago=7, err="first")
    attempt("MASKS (a 2)", 2, ago=6, err=OWN)
    attempt("GRADIENTS_YX (a 7)", 75, ago=5.9, err=OWN, log=CANCELLED)
    attempt("MASKS (a 3)", 143, ago=0.5, log=CANCELLED)
    attempt("MASKS (a 3)", None, ago=0.4, begun=False)
    # of another run, which went well
    attempt("MASKS (a 4)", 0, ago=5)
    attempt("MASKS (a 4)", None, ago=0.1)
    assert told(failures_in(tmp_path)) == [
        ("MASKS (a 10)", "failed", 137, "was killed, most likely for lack of memory"),
        ("MASKS (a 2)", "failed", 2, OWN),
        ("GRADIENTS_YX (a 7)", "failed", 75, OWN),
        ("MASKS (a 3)", "repeated", 143, CANCELLED),
    ]


def test_attempts_without_an_exit_status(
    attempt: Callable[..., Path], tmp_path: Path, command: Terapose
) -> None:
    # its node was lost: Nextflow has seen it, and repeats it
    attempt("FOLLOW (a 1)", None, ago=3)
    attempt("FOLLOW (a 1)", None, ago=0.5)
    # a queue, and a task that runs
    attempt("FOLLOW (a 2)", None, ago=9, begun=False)
    attempt("FOLLOW (a 3)", None, ago=0.9)
    # nobody knows
    gone = attempt("FOLLOW (a 4)", None, ago=5)
    # where the disk was full
    attempt("FOLLOW (a 5)", "", ago=7)
    quiet = "has written nothing for {} h: it runs, or it was killed with its node"
    assert told(failures_in(tmp_path)) == [
        ("FOLLOW (a 5)", "silent", None, quiet.format(7)),
        ("FOLLOW (a 4)", "silent", None, quiet.format(5)),
        ("FOLLOW (a 1)", "repeated", None, KILLED),
    ]
    assert f"silent    FOLLOW (a 4), no exit status, {gone}: " in command("status", tmp_path).out
    # a file that was written since is a sign; what others write behind a link is none
    (gone / "plan.json").symlink_to(ROOT / "main.nf")
    assert len(failures_in(tmp_path)) == 3
    (gone / ".command.err").touch()
    assert [one.name for one in failures_in(tmp_path)] == ["FOLLOW (a 5)", "FOLLOW (a 1)"]


def test_a_task_whose_like_took_long_is_not_silent(
    attempt: Callable[..., Path], tmp_path: Path
) -> None:
    attempt("GRADIENTS (a yx 0)", 0, ago=12, took=2)
    attempt("FOLLOW (a 0)", 0, ago=12, took=0.1)
    attempt("GRADIENTS (a yx 1)", None, ago=5)
    attempt("FOLLOW (a 1)", None, ago=5)
    attempt("GRADIENTS (a yx 2)", None, ago=7)
    names = [one.name for one in failures_in(tmp_path)]
    assert names == ["GRADIENTS (a yx 2)", "FOLLOW (a 1)"]


def test_clocks_that_differ_make_no_task_silent(
    attempt: Callable[..., Path], tmp_path: Path
) -> None:
    """Files from the future, and attempts that began, by their nodes' clocks, in another order."""
    attempt("MASKS (a 0)", None, ago=-2)
    attempt("MASKS (a 1)", 137, ago=2)
    later = attempt("MASKS (a 1)", 0, ago=1.9)
    for name in (".command.begin", ".exitcode"):
        os.utime(later / name, (0, 0))
    assert failures_in(tmp_path) == []


def test_folders_of_job_arrays_are_no_tasks(attempt: Callable[..., Path], tmp_path: Path) -> None:
    attempt("MASKS (1)", 5, ago=4, array="yes")
    attempt("MASKS (2)", None, ago=4, array="yes")
    attempt("MASKS (a 0)", 5, ago=4)
    (tmp_path / "work" / "tmp" / "b9").mkdir(parents=True)
    assert [one.name for one in failures_in(tmp_path)] == ["MASKS (a 0)"]


@pytest.mark.parametrize(
    ("status", "err", "log", "said"),
    [
        (137, ADVICE, f"{ADVICE}\n{MEMORY}", MEMORY),
        (143, "", CANCELLED, CANCELLED),
        (143, OWN, f"{OWN}\n{CANCELLED}", CANCELLED),
        (140, ADVICE, "TERM_RUNLIMIT: job killed after reaching LSF run time limit.", None),
        (271, ADVICE, "=>> PBS: job killed: walltime 61 exceeded limit 60", None),
        (137, ADVICE, 'job 7.1 exceeds job hard limit "h_vmem" of queue "all.q"', None),
        # what a user can mend comes first
        (2, f"{OWN}\nlast line", MEMORY, OWN),
        (1, f"{OWN}\nlast line", "last line", OWN),
        (1, f"{ADVICE}\nNo module named torch\n\n", "", "No module named torch"),
        (1, "", "nothing of a scheduler", KILLED),
        (9, "", "", "was killed, most likely for lack of memory"),
    ],
)
def test_why_a_task_failed(
    attempt: Callable[..., Path], tmp_path: Path, status: int, err: str, log: str, said: str | None
) -> None:
    attempt("MASKS (a 1)", status, err=err, log=log)
    assert [one.said for one in failures_in(tmp_path)] == [said or log]


def test_a_full_disk_is_named(
    attempt: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt("MASKS (a 1)", 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    assert "No space left on device" in failures_in(tmp_path)[0].said


def test_what_schedulers_write_is_that_of_the_workflow() -> None:
    (known,) = re.findall(
        r"ext\.schedulers = \[\n(.*?)\n +\]", (ROOT / "conf/base.config").read_text(), re.DOTALL
    )
    patterns = re.findall(r"^ *\w+: /\(\?i\)(.*)/,$", known, re.MULTILINE)
    assert len(patterns) == 3 and failures._SCHEDULERS.pattern == "|".join(patterns)


def test_the_end_of_a_long_message_is_read(attempt: Callable[..., Path], tmp_path: Path) -> None:
    task = attempt("MASKS (1)", 1)
    with (task / ".command.err").open("wb") as file:
        file.truncate(10**10)  # takes no space
        file.seek(0, os.SEEK_END)
        file.write(b"\nterapose: no space is left\nlast line\n")
    assert told(failures_in(tmp_path)) == [("MASKS (1)", "failed", 1, "terapose: no space is left")]


def test_what_a_task_wrote_is_no_command_to_the_terminal(
    attempt: Callable[..., Path], tmp_path: Path, command: Terapose
) -> None:
    message = "curl: \x1b[2Jhttps://me:secret@host/a?sig=hidden\n"
    task = attempt("CHECK (a)", 1, err=message)
    (task / "store").mkdir()
    (task / "store" / KEPT).write_text("{}")
    said = command("status", tmp_path).out
    assert "failed    CHECK (a), exit status 1" in said and "curl: " in said
    assert not any(text in said for text in ("secret", "hidden", "\x1b"))


def test_the_last_of_many_are_listed(
    attempt: Callable[..., Path], tmp_path: Path, command: Terapose
) -> None:
    for number in range(12):
        attempt(f"MASKS (a {number})", 1, ago=20 - number)
    *lines, last = command("status", tmp_path).out.splitlines()
    assert [re.search(r"a (\d+)\)", line)[1] for line in lines] == [f"{n}" for n in range(2, 12)]  # type: ignore[index]
    assert last == "and 2 tasks before these"
