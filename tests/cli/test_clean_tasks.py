"""Folders of tasks that a finished run of the workflow has left: they go together, or stay."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Terapose

from terapose.api.clean import clean, left_by
from terapose.api.left import Left
from terapose.io import files
from terapose.io.checksums import sealed, unsealed

PLAN, CHECK, FAILED, OTHER, LATER = (f"{n}{n}/{n * 30}" for n in "abcde")


def task(work: Path, name: str, script: str = "", *, status: str = "0") -> Path:
    """A folder as Nextflow makes it for a task; without a status it has not ended."""
    folder = work / name
    folder.mkdir(parents=True)
    for file in (".command.run", ".command.begin", *([".exitcode"] if status else [])):
        (folder / file).write_text(status)
    (folder / ".command.sh").write_text(script)
    return folder


def note(out: Path, **values: object) -> None:
    """Note that a run has ended."""
    path = out / "pipeline_info" / "finished.json"
    work = str(out.parent / "work")
    path.write_text(
        json.dumps({"work": work, "ended": time.time(), "samples": ["sample"], **values})
    )


@pytest.fixture
def run(segment: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Results, and the work folder of a run that is finished, with the tasks of others."""
    out, work = tmp_path / "out", tmp_path / "work"
    store = segment(out / "sample")
    store.rename(task(work, PLAN) / "store")
    store.parent.rmdir()
    (work / PLAN / "plan.json").touch()
    script = f"terapose.py stage gradients --store '{work}/{PLAN}/store'"
    (task(work, CHECK, script) / "image").symlink_to(tmp_path / "away")
    task(work, FAILED, script, status="137")
    task(work, OTHER, "echo")
    (work / "tmp").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "file").touch()
    (out / "pipeline_info").mkdir()
    rows = [("task_id", "workdir"), *((n, work / name) for n, name in enumerate((PLAN, CHECK)))]
    trace = "".join(f"{a}\t{b}\n" for a, b in rows)
    (out / "pipeline_info" / "trace.txt").write_text(trace)
    note(out)
    return out, work


def entry(out: Path, work: Path) -> Left:
    """What is said of folders of tasks."""
    return next(one for one in left_by(out, work) if one.path == work)


def test_all_tasks_of_a_finished_run_go_and_no_others(
    command: Terapose, run: tuple[Path, Path], tmp_path: Path
) -> None:
    out, work = run
    # a copy that somebody has made, and one that is named in another way
    shutil.copytree(work / CHECK, work / f"{CHECK}.bak", symlinks=True)
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
    assert {path.name for path in work.iterdir()} == {"tmp", OTHER[:2], CHECK[:2], PLAN[:2]}
    assert (work / f"{CHECK}.bak").exists() and not (work / CHECK).exists()
    assert (work / OTHER / ".command.run").exists() and (tmp_path / "away" / "file").exists()
    # or Nextflow makes the same one again
    assert (work / PLAN).is_dir() and not list((work / PLAN).iterdir())
    assert command("verify", out).code == 0
    assert left_by(out, work) == []


def test_files_with_several_names_in_folders_that_go_are_counted(run: tuple[Path, Path]) -> None:
    out, work = run
    before = entry(out, work).size or 0
    (work / CHECK / "labels").write_bytes(bytes(50_000))
    for other in (work / FAILED / "labels", work / PLAN / "labels"):
        os.link(work / CHECK / "labels", other)
    used = (work / CHECK / "labels").stat().st_blocks * 512
    assert entry(out, work).size == before + used
    os.link(work / CHECK / "labels", out / "published")
    assert entry(out, work).size == before


def test_attempts_that_may_still_run_or_came_later_stay(run: tuple[Path, Path]) -> None:
    out, work = run
    later = work / FAILED / ".exitcode"
    os.utime(later, (time.time() + 60,) * 2)
    assert {*entry(out, work).tasks} == {work / PLAN, work / CHECK}
    later.unlink()
    assert {*entry(out, work).tasks} == {work / PLAN, work / CHECK}


def test_folders_that_are_not_those_of_tasks_stay(run: tuple[Path, Path], tmp_path: Path) -> None:
    out, work = run
    (work / CHECK).parent.rename(tmp_path / "moved")
    (work / CHECK).parent.symlink_to(tmp_path / "moved")
    (work / PLAN / ".command.run").unlink()
    outside = task(tmp_path / "elsewhere", OTHER)
    with (out / "pipeline_info" / "trace.txt").open("a") as trace:
        trace.write(f"8\t{outside}\n9\t{work}\n10\t/\n11\n12\t/a\0b/{OTHER}\n{'x' * 200_000}\n")
    found = {one.path: one.tasks for one in left_by(out, work)}
    assert found == {work / PLAN / "store": (), work: (work / FAILED,)}


def test_what_another_folder_of_results_has_links_into_stays(
    command: Terapose, run: tuple[Path, Path], tmp_path: Path
) -> None:
    """Another run with the same work folder has published links, or copies."""
    out, work = run
    other = tmp_path / "other's"
    shutil.copytree(out, other)
    quoted = str(other / "sample").replace("'", "'\\''")
    task(work, LATER, f"out1 verify laid --store '{work}/{PLAN}/store' --into '{quoted}'\n")
    os.utime(work / LATER / ".exitcode", (0, 0))
    assert entry(out, work).kept == "" and work / LATER not in entry(out, work).tasks
    (other / "sample" / "picture.png").symlink_to(work / CHECK / ".command.sh")
    assert entry(out, work).kept == f"{other / 'sample' / 'picture.png'} is a link into it"
    assert f"removed   {work} " not in command("clean", out, "--work", work, "--yes").out
    assert (work / CHECK).exists()


def test_a_work_folder_in_that_of_results(run: tuple[Path, Path]) -> None:
    out, work = run
    inside = out / "work"
    work.rename(inside)
    trace = out / "pipeline_info" / "trace.txt"
    trace.write_text(trace.read_text().replace(str(work), str(inside)))
    script = inside / FAILED / ".command.sh"
    script.write_text(script.read_text().replace(str(work), str(inside)))
    (inside / CHECK / "laid").symlink_to(inside / PLAN)
    note(out, work=str(inside))
    assert entry(out, inside).kept == "" and len(entry(out, inside).tasks) == 3


def test_a_folder_that_cannot_be_removed_stays_and_others_go(
    command: Terapose, run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = run
    move = files.move

    def refused(source: Path, path: Path, what: str) -> None:
        if source == work / CHECK:
            raise PermissionError(13, "Permission denied", str(source))
        move(source, path, what)

    monkeypatch.setattr(files, "move", refused)
    said = command("clean", out, "--work", work, "--yes")
    assert said.code == 0 and f"{work / CHECK} cannot be removed: " in said.out, said.out
    assert (work / CHECK).exists() and not (work / FAILED).exists()


@pytest.mark.parametrize(
    "fault",
    [
        *("unfinished", "damaged note", "other work", "newer trace", "no trace", "column"),
        *("damaged", "missing", "link", "linked folder", "link, results behind one", "named"),
        *("store", "running", "waiting"),
    ],
)
def test_folders_of_tasks_stay(run: tuple[Path, Path], fault: str, tmp_path: Path) -> None:
    out, work = run
    record, info = out / "sample" / "provenance.json", out / "pipeline_info"
    place = out
    if fault in ("unfinished", "damaged note"):
        (info / "finished.json").unlink()
        if fault == "damaged note":
            (info / "finished.json").write_text("{}")
        reason = "the last run has not finished every sample"
    elif fault == "other work":
        note(out, work=str(tmp_path))
        reason = f"the work folder of the last run is {tmp_path}"
    elif fault == "newer trace":
        os.utime(info / "trace.txt", (time.time() + 3600,) * 2)
        reason = "was written after the end of the run"
    elif fault == "no trace":
        (info / "trace.txt").unlink()
        reason = "trace.txt, which names the folders of tasks"
    elif fault == "column":
        (info / "trace.txt").write_text("task_id\thash\n1\taa/aaaaaa\n")
        reason = "has no column workdir"
    elif fault == "damaged":
        (out / "sample" / "cells.csv").write_text("")
        reason = "the results have changed since they were written"
    elif fault == "missing":
        note(out, samples=["sample", "second"])
        reason = f"{out}/second/provenance.json is missing"
    elif fault == "link":
        (out / "picture.png").symlink_to(work / CHECK / ".command.sh")
        reason = f"{out / 'picture.png'} is a link into it"
    elif fault == "linked folder":
        (out / "mine").symlink_to(work / CHECK)
        reason = f"{out / 'mine'} is a link into it"
    elif fault == "link, results behind one":
        (out / "picture.png").symlink_to(work / CHECK / ".command.sh")
        place = tmp_path / "link"
        place.symlink_to(out)
        reason = "picture.png is a link into it"
    elif fault == "named":
        content = unsealed(record.read_text(), record)
        content["image"]["address"] = f"{work / CHECK}/image.zarr"
        record.write_text(json.dumps(sealed(content)))
        reason = f"{record} names {work / CHECK}"
    elif fault == "store":
        (work / PLAN / "store" / "mine").touch()
        reason = "it contains mine, which Terapose has not written"
    else:
        folder = task(work, LATER, status="")
        (folder / ".command.run").write_text(f"ln -s {work / CHECK}/image image")
        begin = folder / (".command.begin" if fault == "running" else ".command.run")
        if fault == "waiting":
            (folder / ".command.begin").unlink()
        os.utime(begin, (time.time() + 60,) * 2)
        reason = f"a task that may read it has begun and not ended: {folder}"
    assert reason in entry(place, work).kept
    clean(place, work)
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
    # plans go last
    assert (work / PLAN / ".command.run").exists() and len(left_by(out, work)) == 2
    clean(out, work)
    assert {path.name for path in work.iterdir()} == {"tmp", OTHER[:2], PLAN[:2]}
    assert not list((work / PLAN).iterdir()) and left_by(out, work) == []
