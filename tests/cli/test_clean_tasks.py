"""Folders of tasks that a finished run of the workflow has left: they go together, or stay."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Terapose

from terapose.api.clean import clean, left_by
from terapose.io import files
from terapose.io.checksums import sealed, unsealed

PLAN, CHECK, FAILED, OTHER = (f"{n}{n}/{n * 30}" for n in "abcd")


def task(work: Path, name: str, script: str = "", *, ended: bool = True) -> Path:
    """A folder as Nextflow makes it for a task."""
    folder = work / name
    folder.mkdir(parents=True)
    for file in (".command.run", ".command.begin", *([".exitcode"] if ended else [])):
        (folder / file).write_text("0")
    (folder / ".command.sh").write_text(script)
    return folder


@pytest.fixture
def run(segment: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Results, and the work folder of a run that is finished, with the tasks of others."""
    out, work = tmp_path / "out", tmp_path / "work"
    store = segment(out / "sample")
    store.rename(task(work, PLAN) / "store")
    store.parent.rmdir()
    script = f"terapose.py stage gradients --store '{work}/{PLAN}/store'"
    (task(work, CHECK, script) / "image").symlink_to(tmp_path / "away")
    task(work, FAILED, script)
    task(work, OTHER, "echo")
    (work / "tmp").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "file").touch()
    info = out / "pipeline_info"
    info.mkdir()
    rows = [("task_id", "workdir"), *((n, work / name) for n, name in enumerate((PLAN, CHECK)))]
    (info / "trace.txt").write_text("".join(f"{a}\t{b}\n" for a, b in rows))
    (info / "finished.json").write_text("{}")
    return out, work


def kept(out: Path, work: Path) -> str:
    """Why folders of tasks stay."""
    return next(one.kept for one in left_by(out, work) if one.path == work)


def test_all_tasks_of_a_finished_run_go_and_no_others(
    command: Terapose, run: tuple[Path, Path], tmp_path: Path
) -> None:
    out, work = run
    found = {one.path: one for one in left_by(out, work)}
    assert {path: one.kept for path, one in found.items()} == {
        work / PLAN / "store": "",
        work: "",
    }
    assert {*found[work].tasks} == {work / PLAN, work / CHECK, work / FAILED}
    # what is in the store counts once
    inside = [p for t in found[work].tasks for p in t.iterdir() if p.is_file()]
    assert found[work].size == sum(p.lstat().st_blocks * 512 for p in inside if not p.is_symlink())
    said = command("clean", out, "--work", work, "--yes")
    assert said.code == 0 and f"removed   {work} (tasks: 3), " in said.out, said.err
    assert {path.name for path in work.iterdir()} == {"tmp", OTHER[:2]}
    assert (work / OTHER / ".command.run").exists() and (tmp_path / "away" / "file").exists()
    assert command("verify", out).code == 0
    assert left_by(out, work) == []


def test_attempts_that_may_still_run_or_came_later_stay(run: tuple[Path, Path]) -> None:
    out, work = run
    later = work / FAILED / ".exitcode"
    os.utime(later, (time.time() + 60,) * 2)
    (going,) = (one for one in left_by(out, work) if one.path == work)
    assert {*going.tasks} == {work / PLAN, work / CHECK}
    later.unlink()
    (going,) = (one for one in left_by(out, work) if one.path == work)
    assert {*going.tasks} == {work / PLAN, work / CHECK}


def test_folders_that_are_not_those_of_tasks_stay(run: tuple[Path, Path], tmp_path: Path) -> None:
    out, work = run
    (work / CHECK).rename(tmp_path / "moved")
    (work / CHECK).symlink_to(tmp_path / "moved")
    (work / PLAN / ".command.run").unlink()
    outside = task(tmp_path / "elsewhere", PLAN)
    with (out / "pipeline_info" / "trace.txt").open("a") as trace:
        trace.write(f"8\t{outside}\n9\t{work}\n10\t/\n")
    found = {one.path: one.tasks for one in left_by(out, work)}
    assert found == {work / PLAN / "store": (), work: (work / FAILED,)}


@pytest.mark.parametrize(
    "fault",
    ["unfinished", "damaged", "link", "named", "store", "running", "column", "no results"],
)
def test_folders_of_tasks_stay(run: tuple[Path, Path], fault: str, tmp_path: Path) -> None:
    out, work = run
    record, info = out / "sample" / "provenance.json", out / "pipeline_info"
    if fault == "unfinished":
        (info / "finished.json").unlink()
        reason = "the last run has not finished every sample"
    elif fault == "damaged":
        (out / "sample" / "cells.csv").write_text("")
        reason = "the results have changed since they were written"
    elif fault == "link":
        (out / "picture.png").symlink_to(work / CHECK / ".command.sh")
        reason = f"{out / 'picture.png'} is a link into it"
    elif fault == "named":
        content = unsealed(record.read_text(), record)
        content["image"]["address"] = f"{work / CHECK}/image.zarr"
        record.write_text(json.dumps(sealed(content)))
        reason = f"{record} names {work / CHECK}"
    elif fault == "store":
        (work / PLAN / "store" / "mine").touch()
        reason = "it contains mine, which Terapose has not written"
    elif fault == "running":
        folder = task(work, "ee/" + "e" * 30, ended=False)
        (folder / ".command.run").write_text(f"ln -s {work / CHECK}/image image")
        os.utime(folder / ".command.begin", (time.time() + 60,) * 2)
        reason = f"a task that may read it has begun and not ended: {folder}"
    elif fault == "column":
        (info / "trace.txt").write_text("task_id\thash\n1\taa/aaaaaa\n")
        reason = "has no column workdir"
    else:
        (out / "sample").rename(tmp_path / "sample")
        reason = "no results"
    assert reason in kept(out, work)
    clean(out, work)
    assert (work / PLAN).exists() and (work / CHECK).exists() and (work / FAILED).exists()


def test_what_an_interruption_has_left_goes(
    run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = run
    remove = files.remove

    def interrupted(path: Path) -> None:
        if path.name == ".command.run":
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(files, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clean(out, work)
    monkeypatch.undo()
    assert not (work / PLAN).exists() and len(left_by(out, work)) == 2
    clean(out, work)
    assert {path.name for path in work.iterdir()} == {"tmp", OTHER[:2], PLAN[:2]}
    assert not list((work / PLAN[:2]).iterdir()) and left_by(out, work) == []
