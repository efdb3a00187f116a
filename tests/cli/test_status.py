"""How far runs are, from the markers in their stores."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_zarr

from terapose.api import status
from terapose.api.status import Progress, StageProgress, _stage, progress_of
from terapose.cli.status import duration
from terapose.io.store.store import Store

TIME = r"\d+ (?:s|min)"
"""As a busy machine takes."""


def test_a_run_that_stopped_half_way(command: Terapose, tmp_path: Path, tiny_model: Path) -> None:
    image = write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0].astype(np.uint16))
    words = ("--model", tiny_model, "--block-shape", "3,12,28", "--max-tasks", 4, "--jobs", 1)
    out = tmp_path / "out"
    assert "no run has begun here" in command.refuses("status", tmp_path)
    assert command("segment", image, out, *words).code == 0
    said = command("status", out)
    assert said.code == 0, said.err
    assert said.out.startswith(f"image     {image}\nstore     {out}/.terapose/")
    assert "in all" not in said.out
    assert re.search(rf"\nfollow +4 of 4 tasks, {TIME}\n", said.out)
    assert "\nexport " in said.out and " left" not in said.out
    # nobody asked for these
    assert "flow_errors" not in said.out and "outlines" not in said.out

    (store,) = (out / ".terapose").iterdir()
    markers = sorted(store.glob("done/follow-*/task-*.json"))
    for marker in markers[1:]:
        marker.unlink()
    for name in ("peaks", "masks", "export", "measure"):
        for marker in store.glob(f"done/{name}-*/task-*.json"):
            marker.unlink()
    follow = next(s for s in progress_of(store).stages if s.name == "follow")
    assert (follow.done, follow.tasks) == (1, 4) and follow.seconds > 0
    assert follow.left == pytest.approx(3 * follow.seconds)
    # a store above which it is named, as well
    said = command("status", tmp_path)
    assert re.search(rf"\nfollow +1 of 4 tasks, {TIME}, {TIME} left\n", said.out)
    assert re.search(r"\nmasks +0 of 4 tasks\n", said.out)
    assert re.search(r"\ncombine +4 of 4 tasks", said.out)
    assert re.search(rf"\nin all    about {TIME} left \(an estimate\)\n", said.out)

    (store / "plan.json").write_bytes(b"{")
    said = command("status", out)
    assert said.code == 0 and "plan.json: is damaged" in said.out
    # as another version may have written it
    Store(str(store)).put_json("plan.json", {"mode": "3d"})
    said = command("status", out)
    assert said.code == 0 and "plan.json: is not a plan of this version" in said.out


@pytest.mark.parametrize("store", ["", "shared"])
def test_runs_of_a_second_network(
    command: Terapose, tmp_path: Path, tiny_model: Path, store: str
) -> None:
    """It runs first: while it does, there is nothing else to see."""
    image = write_zarr(tmp_path / "image.zarr", nuclei((5, 24, 28))[0][2:3].astype(np.uint16))
    words = ("--model", tiny_model, "--cell-model", tiny_model, "--cell-diameter", 12)
    out, shared = tmp_path / "out", tmp_path / store if store else None
    more = () if shared is None else ("--store", shared)
    said = command("segment", image, out, *words, "--jobs", 1, *more)
    assert said.code == 0, said.err
    place = out if shared is None else shared
    (cells,) = (place / ".terapose").glob("cells*")
    assert cells.name == "cells" if shared is None else cells.name.startswith("cells-")
    assert command("status", place).out.count("\nstore ") == 2
    (own,) = (one for one in (place / ".terapose").iterdir() if one != cells)
    shutil.rmtree(own)
    for folder in (place, tmp_path):
        said = command("status", folder)
        assert said.code == 0 and said.out.count("\nstore ") == 1, said.err
        assert f"store     {cells}/.terapose/" in said.out and "\ncombine " in said.out


def test_a_pass_of_the_network_within_a_task(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0].astype(np.uint16))
    words = ("--model", tiny_model, "--slab-planes", 1, "--max-tasks", 2, "--jobs", 1)
    assert command("segment", image, tmp_path / "out", *words).code == 0
    (store,) = (tmp_path / "out" / ".terapose").iterdir()
    for name in ("gradients-zx", "gradients-zy"):
        for marker in store.glob(f"done/{name}-*/*.json"):
            marker.unlink()
    (folder,) = (path.parent for path in store.glob("done/gradients-yx-*/task-1.json"))
    for name in ("task-1.json", "5.json", "4.json"):
        (folder / name).unlink()

    def pass_() -> StageProgress:
        return next(s for s in progress_of(store).stages if s.name == "gradients-yx")

    found = pass_()
    assert (found.done, found.tasks, found.parts, found.of_parts) == (1, 2, 4, 6)
    # what the first part of a task has taken is not known before the task has ended
    assert found.left == pytest.approx(found.seconds / 3 * 2) and found.seconds > 0
    said = command("status", store)
    wanted = rf"\ngradients-yx +1 of 2 tasks, 4 of 6 parts, {TIME}, {TIME} left\n"
    assert re.search(wanted, said.out)
    # none is done, and the first has begun long ago: the pace is that between parts
    (folder / "task-0.json").unlink()
    (folder / "4.json").write_bytes((folder / "3.json").read_bytes())
    for number in range(5):
        os.utime(folder / f"{number}.json", (0, 1000 * (number + 1)))
    found = pass_()
    assert (found.done, found.parts, found.seconds, found.left) == (0, 5, 3000, 1000)
    said = command("status", store)
    assert re.search(r"\ngradients-yx +0 of 2 tasks, 5 of 6 parts, 50 min, 17 min left\n", said.out)


def marked(folder: Path, name: str, ended: float, seconds: float | None = None) -> None:
    """Leave a marker of a task, or of an item, as at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"done": 1} if seconds is None else {"seconds": seconds}))
    os.utime(path, (ended, ended))


def test_time_in_which_a_run_was_interrupted_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "done" / "follow-abc"
    tasks = [(n * 4, n * 4 + 4) for n in range(10)]
    # two at a time, 100 s each, and the second pair a day later
    for number, ended in enumerate((1100, 1100, 87_600, 87_650)):
        marked(folder, f"task-{number}", ended, 100)
    found = _stage(tmp_path, "follow", tasks, needed=True)
    assert (found.done, found.parts, found.paced) == (4, 16, 16)
    assert found.seconds == 100 + 150 and found.left == pytest.approx(250 / 16 * 24)
    # so does that of a task that was interrupted
    for item, ended in ((16, 87_660), (17, 87_690), (18, 187_000)):
        marked(folder, f"{item}", ended)
    found = _stage(tmp_path, "follow", tasks, needed=True)
    assert (found.done, found.parts, found.paced) == (4, 19, 18)
    steps = (30 + 187_000 - 87_690) / 2
    assert found.seconds == pytest.approx(250 + 2 * steps)
    marked(folder, "19", 187_030)
    found = _stage(tmp_path, "follow", tasks, needed=True)
    assert found.seconds == 250 + 3 * 30


def test_few_markers_of_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "done" / "gradients-yx-abc"
    tasks = [(n * 50, n * 50 + 50) for n in range(100)]
    for number in range(60):
        marked(folder, f"task-{number}", 10 * (number + 1), 10)
        for item in range(*tasks[number]):
            (folder / f"{item}.json").touch()
    for item in range(3000, 3040):
        marked(folder, f"{item}", 600 + (item - 3000) / 4)
    timed: list[str] = []
    read: list[str] = []
    time_of, seconds_of = status._ended, status._seconds

    def ended(marker: Path | os.DirEntry[str]) -> float:
        timed.append(marker.name)
        return time_of(marker)

    def seconds(marker: Path) -> float:
        read.append(marker.name)
        return seconds_of(marker)

    monkeypatch.setattr(status, "_LOOKED_AT", 10)
    monkeypatch.setattr(status, "_ended", ended)
    monkeypatch.setattr(status, "_seconds", seconds)
    found = _stage(tmp_path, "gradients-yx", tasks, needed=True)
    assert (found.done, found.parts, found.of_parts) == (60, 3040, 5000)
    # ten tasks, and the last ten parts of the one that has not ended; and the folder
    assert sorted(read) == [f"task-{number}.json" for number in range(50, 60)]
    assert len(timed) == 60 + 10 + 1
    assert (found.seconds, found.paced) == (100 + 9 / 4, 10 * 50 + 9)


@pytest.mark.parametrize("in_waves", [True, False])
def test_more_tasks_at_once_than_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_waves: bool
) -> None:
    """All that ran meanwhile count, whatever their numbers; a standstill does not."""
    monkeypatch.setattr(status, "_LOOKED_AT", 20)
    folder = tmp_path / "done" / "follow-abc"
    tasks = [(n * 3, n * 3 + 3) for n in range(800)]
    workers, seconds = 80, 100.0
    order = np.random.default_rng(3).permutation(400)
    for nth, number in enumerate(order):
        begun = nth // workers * seconds + (0 if in_waves else nth % workers * seconds / workers)
        # a day without workers, after which the last waves come
        marked(folder, f"task-{number}", begun + seconds + 86_400 * (nth >= 240), seconds)
    found = _stage(tmp_path, "follow", tasks, needed=True)
    assert (found.done, found.parts) == (400, 1200) and found.seconds < 400
    # 400 tasks are left, 80 at a time
    assert found.left == pytest.approx(400 / workers * seconds, rel=0.02)


def test_more_tasks_that_have_begun_than_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_LOOKED_AT", 10)
    folder = tmp_path / "done" / "gradients-yx-abc"
    tasks = [(n * 10, n * 10 + 10) for n in range(40)]
    for first, _ in tasks:
        for part in range(5):
            marked(folder, f"{first + part}", 30.0 * (part + 1))
    found = _stage(tmp_path, "gradients-yx", tasks, needed=True)
    assert (found.done, found.parts, found.left) == (0, 200, 5 * 30)


def stage_at(name: str, parts: int, seconds: float = 0) -> StageProgress:
    """A stage of 100 tasks of one part each, so many of which are done."""
    return StageProgress(name, parts, 100, parts, 100, seconds, parts if seconds else 0, True)


def test_time_left_of_all_stages_is_from_paces_and_rates() -> None:
    work = {"intensities": 100.0, "gradients-yx": 4000.0, "gradients-zx": 8000.0, "masks": 300.0}

    def left(*stages: StageProgress) -> float | None:
        return Progress(Path("store"), "image", "3d", [*stages], work).left

    masks, zx, export = stage_at("masks", 0), stage_at("gradients-zx", 0), stage_at("export", 0)
    # nothing was timed
    assert left(stage_at("intensities", 0), zx, masks) is None
    # ten workers, and the network alone on 40
    begun = stage_at("intensities", 100, 10), stage_at("gradients-yx", 50, 50)
    assert left(*begun, zx, masks) == pytest.approx(50 + 8000 / 40 + 300 / 10)
    # the best there is, while the network has no pace of its own
    assert left(begun[0], stage_at("gradients-yx", 0), masks) == pytest.approx(430)
    # parts that have no time yet; a stage without a rate
    assert left(*begun, stage_at("masks", 50), export) == pytest.approx(50 + 150 / 10)
    # a rate says nothing of a stage that was slow
    assert left(begun[0], stage_at("masks", 50, 9000)) == pytest.approx(9000)
    assert left(*(stage_at(name, 100, 10) for name in work)) == 0


def test_stages_that_were_held_in_memory_are_done(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_zarr(tmp_path / "image.zarr", nuclei((4, 20, 20))[0].astype(np.uint16))
    out = tmp_path / "out"
    words = ("--model", tiny_model, "--jobs", 1, "--keep-intermediates", "flows")
    assert command("segment", image, out, *words).code == 0
    (store,) = (out / ".terapose").iterdir()
    assert not [*store.glob("done/masks-*")]
    assert re.search(r"\nmasks +1 of 1 tasks\n", command("status", out).out)
    for name in ("export", "measure"):
        for marker in store.glob(f"done/{name}-*/*.json"):
            marker.unlink()
    # while they are at work, or after a run was killed, nothing is known of them
    said = command("status", out).out
    assert re.search(r"\nmasks +0 of 1 tasks\n", said) and "\nin all    about " in said


def test_what_runs_beside_a_stage_that_has_begun_is_listed() -> None:
    names = ("combine", "flow_errors", "export", "measure", "outlines")
    stages = [stage_at(name, 10 * (name in ("combine", "measure"))) for name in names]
    listed = [stage.name for stage in status._possible(stages)]
    assert listed == ["combine", "export", "measure", "outlines"]


def test_seconds_in_words() -> None:
    given = (0.4, 99.4, 100, 3000, 3590, 12_000, 400_000)
    wanted = ["0 s", "99 s", "2 min", "50 min", "1 h 0 min", "3 h 20 min", "4 d 15 h"]
    assert [duration(seconds) for seconds in given] == wanted
