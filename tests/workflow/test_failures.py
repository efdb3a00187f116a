"""One bad sample of several: the others are finished, and what failed is said at the end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import nuclei, write_tiff
from tests.waiting import wait_until
from tests.workflow.conftest import Launches
from tests.workflow.launch import ROOT, Launch, environment, results, segment

pytestmark = pytest.mark.slow

WORDS = ("--mode", "2d", "--diameter", 12)


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    """A plane with a few nuclei."""
    volume = nuclei((9, 40, 44), spacing=12, seed=5)[0]
    return np.asarray(volume[4:5])


def test_samples_that_fail_early_and_late(
    launches: Launches, plane: np.ndarray, tmp_path: Path
) -> None:
    launch = launches("failures")
    folder = launch.path / "images"
    folder.mkdir()
    write_tiff(folder / "good.tif", plane)
    # found by CHECK
    (folder / "cut.tif").write_bytes((folder / "good.tif").read_bytes()[:3000])
    # found when all of it is read
    holed = plane.astype(np.float32)
    holed[0, 30, 30] = np.nan
    write_tiff(folder / "holed.tif", holed)
    run = launch.run("--input", folder, *WORDS)
    assert run.process.returncode == 1 and "Execution is retried" not in run.said
    lines = run.said.splitlines()
    said = [line for line in lines if line.startswith("terapose: ")]
    assert len(said) == 3, run.said
    assert said[0].startswith(
        f"terapose: SEGMENT:PREPARE:CHECK (cut): {folder}/cut.tif: the TIFF file is"
    )
    assert said[1].startswith("terapose: SEGMENT:RESULTS:WHOLE (holed")
    assert "voxels that are not finite numbers" in said[1]
    assert said[2] == (
        "terapose: some samples failed, 1 finished; finished work is kept for -resume"
    )
    assert run.last == said[2] and f"Results: {launch.out}" in lines
    assert results(launch.out / "good") == segment(folder / "good.tif", tmp_path / "out", *WORDS)
    assert not (launch.out / "holed").exists() or not any((launch.out / "holed").iterdir())
    said_of = ask(ROOT / "bin" / "terapose.py", "status", launch.path)
    assert f"failed    SEGMENT:PREPARE:CHECK (cut), exit status 2, {launch.work}/" in said_of
    assert "voxels that are not finite numbers" in said_of
    assert "\nexport              1 of 1 tasks" in said_of
    # what may go is what the finished sample has left
    (kept, going), *_ = cleaned(launch.out, launch.work)
    assert len(going) == 1 and "no results of this run are here" in kept[0]
    assert len(kept) == 2 and "the last run has not finished every sample" in kept[1]
    assert not (launch.out / "pipeline_info" / "finished.json").exists()
    # mended, and run again: only what failed runs
    for name in ("cut", "holed"):
        write_tiff(folder / f"{name}.tif", plane)
    again = launch.done("--input", folder, *WORDS, "-resume")
    assert "terapose: " not in again.said and "WHOLE" in again.cached
    for name in ("good", "cut", "holed"):
        assert (launch.out / name / "provenance.json").exists()
    what_is_left_goes(launch)
    assert results(launch.out / "good") == results(tmp_path / "out")
    again = launch.done("--input", folder, *WORDS, "-resume")
    assert "WHOLE" in again.submitted - again.cached
    assert results(launch.out / "good") == results(tmp_path / "out")


def what_is_left_goes(launch: Launch) -> None:
    """`terapose clean` after a run whose sample ``holed`` was mended and run again."""
    # a task that has not ended may still read its store; that of a task which failed is kept anyway
    begun = next(
        path
        for path in launch.work.glob("*/*/.exitcode")
        if uses_store(path.parent) and path.read_bytes().strip() == b"0"
    )
    status, ended = begun.read_bytes(), begun.stat().st_mtime
    begun.unlink()
    (begun.parent / ".command.begin").touch()
    (kept, _), *_ = cleaned(launch.out, launch.work)
    assert any(str(begun.parent) in line for line in kept), kept
    begun.write_bytes(status)
    os.utime(begun, (ended, ended))
    (kept, gone), stores = cleaned(launch.out, launch.work, "--yes")
    # of the sample that failed there is the store of its first run, too
    assert len(gone) >= 3 and not stores - {line.split()[1].rstrip(",") for line in kept}
    # folders of tasks have gone, too, but for those of the first run that name no store that goes
    assert f"{launch.work} (tasks: " in gone[-1]
    left = [path.read_text() for path in launch.work.glob("*/*/.command.run")]
    names = sorted(line for text in left for line in text.splitlines() if "### name: " in line)
    assert len(names) == 5 and all(
        "PREPARE:CHECK (" in name or "(holed)" in name for name in names
    ), names
    ask(ROOT / "bin" / "terapose.py", "verify", launch.out)


GOOD = [f"good{n}" for n in range(4)]


@pytest.fixture(scope="module")
def shared(launches: Launches, plane: np.ndarray) -> tuple[Launch, tuple[object, ...]]:
    """A run of samples that share tasks, two at a time: one cannot be read, one has a hole."""
    launch = launches("together")
    folder = launch.path / "images"
    folder.mkdir()
    for n, name in enumerate(GOOD):
        write_tiff(folder / f"{name}.tif", np.roll(plane, 3 * n, axis=2))
    (folder / "cut.tif").write_bytes((folder / "good0.tif").read_bytes()[:3000])
    holed = plane.astype(np.float32)
    holed[0, 30, 30] = np.nan
    write_tiff(folder / "holed.tif", holed)
    words = ("--input", folder, *WORDS)
    launch.run(*words)
    return launch, words


def test_samples_that_share_tasks(
    shared: tuple[Launch, tuple[object, ...]], plane: np.ndarray, tmp_path: Path
) -> None:
    """Each fails alone, whatever finds the fault: CHECK or WHOLE."""
    launch, words = shared
    (run,) = launch.runs
    folder = launch.path / "images"
    assert run.process.returncode == 1 and "Execution is retried" not in run.said
    for process in ("PREPARE:CHECK", "RESULTS:WHOLE", "RESULTS:PUBLISH"):
        assert f"SEGMENT:{process} (good1, good2)" in run.said
    assert "LOOK:PICTURE (good1, good2)" in run.said
    first, second, last = (line for line in run.said.splitlines() if line.startswith("terapose: "))
    cut = f"terapose: SEGMENT:PREPARE:REFUSE (cut): {folder}/cut.tif: the TIFF file is"
    assert first.startswith(cut)
    assert second.startswith("terapose: SEGMENT:RESULTS:REFUSE (holed): ")
    assert "voxels that are not finite numbers" in second
    assert last.startswith("terapose: some samples failed, 4 finished; ")
    wanted = {name: segment(folder / f"{name}.tif", tmp_path / name, *WORDS) for name in GOOD}
    assert {name: results(launch.out / name) for name in GOOD} == wanted
    assert len({*wanted.values()}) == len(GOOD)
    pictures = {(launch.out / name / "picture.png").read_bytes() for name in GOOD}
    assert len(pictures) == len(GOOD)
    # what was wrong may be mended outside of all inputs: such a task is not taken for done
    tasks = [fault.parents[1] for fault in launch.work.glob("*/*/out*/fault")]
    assert len(tasks) == 2 and not [task for task in tasks if (task / "complete").exists()]
    assert any(f"(task in {task})" in second for task in tasks)

    # mended: those that were together with one that failed run again, from their stores
    mend(launch, plane)
    again = launch.done(*words, "-resume")
    assert "Cached process > SEGMENT:RESULTS:WHOLE (good1, good2)" in again.said
    assert {name: results(launch.out / name) for name in GOOD} == wanted
    assert results(launch.out / "cut") == results(launch.out / "holed")


def mend(launch: Launch, plane: np.ndarray) -> None:
    """Put whole images in the place of those that are not."""
    for name in ("cut", "holed"):
        write_tiff(launch.path / "images" / f"{name}.tif", plane)


@pytest.mark.thorough(shorter="tests/workflow/test_failures.py::test_samples_that_share_tasks")
def test_damage_to_one_of_several(
    shared: tuple[Launch, tuple[object, ...]], plane: np.ndarray
) -> None:
    """What was laid out is damaged: so is that sample alone."""
    launch, words = shared
    mend(launch, plane)
    launch.done(*words, "-resume")
    before = {name: results(launch.out / name) for name in GOOD}
    laid = next(
        file.parent
        for file in launch.work.glob("*/*/out*/results/provenance.json")
        if file.read_bytes() == (launch.out / "good2" / "provenance.json").read_bytes()
        and "stage whole" in (file.parents[2] / ".command.sh").read_text()
    )
    next(p for p in (laid / "labels.zarr/cells/0/c").rglob("*") if p.is_file()).write_bytes(b"0")
    run = launch.run(*words, "-resume")
    said = [line for line in run.said.splitlines() if line.startswith("terapose: ")]
    assert run.process.returncode == 1 and len(said) == 2, run.said
    assert said[0].startswith("terapose: SEGMENT:RESULTS:REFUSE (good2): ")
    assert "the results have changed since they were written" in said[0]
    launch.done(*words, "-resume")
    assert {name: results(launch.out / name) for name in GOOD} == before


def uses_store(folder: Path) -> bool:
    """Whether a task reads a store."""
    return "/store'" in (folder / ".command.sh").read_text()


def ask(*words: object) -> str:
    """What a command prints that succeeds."""
    command = [str(word) for word in words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cleaned(out: Path, work: Path, *more: str) -> tuple[tuple[list[str], list[str]], set[str]]:
    """What `terapose clean` keeps and removes, and the stores that are there afterwards."""
    command = (ROOT / "bin" / "terapose.py", "clean", out, "--work", work, *more)
    lines = ask(*command).splitlines()
    going = [line for line in lines if line.startswith(("removable ", "removed "))]
    stores = {str(path) for path in work.glob("*/*/store")}
    return ([line for line in lines if line.startswith("kept ")], going), stores


@pytest.mark.thorough(
    shorter="tests/workflow/test_kill.py::test_killed_run_resumes_to_the_same_bytes"
)
def test_a_kill_while_the_network_is_fetched(launches: Launches, plane: np.ndarray) -> None:
    launch = launches("fetching")
    write_tiff(launch.path / "image.tif", plane)
    words = ("--input", launch.path / "image.tif", *WORDS)
    started = launch.start(*words)
    assert started.wait_for(process="FETCH")
    # the task has made its folder, and Nextflow does not know of it
    wait_until(lambda: any(launch.work.glob("*/*/network")))
    started.kill_all()
    again = launch.start(*words, "-resume")
    assert again.wait_for(process="WHOLE"), again.said
    again.kill_all()
