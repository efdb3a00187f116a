"""How far runs are: from the markers in their stores, and from the folders of tasks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_zarr

from terapose.api.status import progress_of
from terapose.cli.status import duration
from terapose.io.store.store import Store


def test_a_run_that_stopped_half_way(command: Terapose, tmp_path: Path, tiny_model: Path) -> None:
    image = write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0].astype(np.uint16))
    words = ("--model", tiny_model, "--block-shape", "3,12,28", "--max-tasks", 4, "--jobs", 1)
    out = tmp_path / "out"
    assert "no run has begun here" in command.refuses("status", tmp_path)
    assert command("segment", image, out, *words).code == 0
    said = command("status", out)
    assert said.code == 0, said.err
    assert said.out.startswith(f"image     {image}\nstore     {out}/.terapose/")
    assert re.search(r"\nfollow +4 of 4 tasks, \d+ s\n", said.out)
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
    assert re.search(r"\nfollow +1 of 4 tasks, \d+ s, \d+ s left\n", said.out)
    assert re.search(r"\nmasks +0 of 4 tasks\n", said.out)
    assert re.search(r"\ncombine +4 of 4 tasks", said.out)

    (store / "plan.json").write_bytes(b"{")
    said = command("status", out)
    assert said.code == 0 and "plan.json: is damaged" in said.out
    # as another version may have written it
    Store(str(store)).put_json("plan.json", {"mode": "3d"})
    said = command("status", out)
    assert said.code == 0 and "plan.json: is not a plan of this version" in said.out


def test_seconds_in_words() -> None:
    given = (0.4, 99.4, 100, 3000, 3590, 12_000, 400_000)
    wanted = ["0 s", "99 s", "2 min", "50 min", "1 h 0 min", "3 h 20 min", "4 d 15 h"]
    assert [duration(seconds) for seconds in given] == wanted
