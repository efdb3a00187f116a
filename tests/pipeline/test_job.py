"""Tasks that run once, twins that run twice, receipts that lack or double an item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fields import balls, prepared, scatter, segment_field, to_centres

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.intermediates.flows import sums
from terapose.io.checksums import sealed
from terapose.io.store.store import Store
from terapose.pipeline.graph import SCATTERED
from terapose.pipeline.job import AlreadyDoneError, Job, stage_key
from terapose.pipeline.local import stage_params
from terapose.pipeline.plan import Plan
from terapose.pipeline.repair import read_receipts
from terapose.pipeline.running import run, sum_up
from terapose.pipeline.state import State
from terapose.stages import combine, intensities

IMAGE = np.random.default_rng(0).integers(0, 500, (20, 21, 22)).astype(np.uint16)


@pytest.fixture
def planned(tmp_path: Path, tiny_model: Path) -> tuple[Plan, Store]:
    return prepared(tmp_path, tiny_model, IMAGE, block_shape=(10, 11, 12), max_tasks=3)


def counted(plan: Plan, store: Store) -> list[dict[str, Any]]:
    return scatter(plan, store, "intensities", {}, State())


def test_a_gather_takes_receipts_in_any_order(planned: tuple[Plan, Store]) -> None:
    receipts = counted(*planned)
    assert len(receipts) == 3
    tasks = sum_up(planned[0], "intensities", receipts, "")
    assert tasks.step.tasks == 3
    assert tasks.results == [r["result"] for r in sorted(receipts, key=lambda r: r["task"])]
    assert sum_up(planned[0], "intensities", receipts[::-1], "") == tasks


def test_a_gather_refuses_what_is_not_whole(planned: tuple[Plan, Store]) -> None:
    plan = planned[0]
    receipts = sorted(counted(*planned), key=lambda r: r["task"])
    cases = [
        (receipts[:2], r"no receipt for 3 of 8: \[5, 6, 7\]"),
        ([], "no receipt for 8 of 8"),
        ([*receipts, receipts[0]], r"more than one receipt for \[0, 1\]"),
        ([*receipts[:2], {**receipts[2], "plan": "other"}], "receipts of another run or stage"),
        ([*receipts[:2], {**receipts[2], "stage": "masks"}], "receipts of another run or stage"),
        ([*receipts[:2], {**receipts[2], "key": "k"}], "receipts made with different parameters"),
        ([{**r, "key": "k"} for r in receipts], r"receipts made by other code or .* \['k'\]"),
    ]
    for given, message in cases:
        with pytest.raises(StoreError, match=message) as caught:
            sum_up(plan, "intensities", given, "")
        assert "stage intensities" in str(caught.value)
    # all that is wrong is said at once
    with pytest.raises(StoreError, match=r"no receipt for .* more than one receipt"):
        sum_up(plan, "intensities", [receipts[0], receipts[0]], "")


def test_a_stage_without_items_leaves_the_key_of_its_upstream(planned: tuple[Plan, Store]) -> None:
    """So the key of its gather follows from what was done before."""
    plan = planned[0]
    assert not plan.tasks["overlaps"]
    tasks = sum_up(plan, "overlaps", [], "upstream")
    assert (tasks.step.key, tasks.results) == ("upstream", [])


def test_receipts_are_read_from_files_and_folders(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    for n in range(3):
        (tmp_path / f"part{n}").mkdir()
        (tmp_path / f"part{n}" / "receipt.json").write_text(json.dumps(sealed({"task": n})))
    receipts = read_receipts(
        [tmp_path / "part2" / "receipt.json", tmp_path / "part0", tmp_path], store, "peaks"
    )
    assert [r["task"] for r in receipts] == [2, 0, 0, 1, 2]


def test_a_task_runs_once(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    job = Job(plan, store, "intensities", 0, {}, State())
    receipt = run(job)
    assert receipt["items"] == [0, 2]
    assert receipt["plan"] == plan.digest
    table = receipt["result"]["table"]
    store.drop(table)
    assert run(job) == receipt
    assert not store.has(table)
    store.drop(job.marker)
    again = run(job)
    assert again["result"] == receipt["result"]
    assert store.has(table)


def test_each_item_is_done_once(planned: tuple[Plan, Store]) -> None:
    job = Job(*planned, "combine", 0, {}, State())
    calls = []

    def work() -> int:
        calls.append(1)
        return 7

    assert [job.each(4, work), job.each(4, work)] == [7, 7]
    assert len(calls) == 1
    with pytest.raises(AlreadyDoneError):
        job.confirm(4)
    job.confirm(5)


@pytest.mark.parametrize("fault", [AlreadyDoneError(), StoreError("its chunk was dropped")])
def test_a_slower_twin_takes_what_the_faster_one_left(
    planned: tuple[Plan, Store], fault: Exception
) -> None:
    slow, fast = (Job(*planned, "combine", 0, {}, State()) for _ in range(2))

    def overtaken() -> int:
        assert fast.each(4, lambda: 11) == 11
        raise fault

    assert slow.each(4, overtaken) == 11

    def nobody_else() -> int:
        raise fault

    with pytest.raises(StoreError):
        slow.each(5, nobody_else)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\0" * 40, b'{"done": 1}', b'{"done": 1, "crc32c": "00000000"}'],
)
def test_an_item_whose_marker_is_damaged_is_done_again(
    text: bytes, planned: tuple[Plan, Store]
) -> None:
    """Whoever repeats it and `Job.confirm` read the marker alike."""
    job = Job(*planned, "combine", 0, {}, State())

    def work() -> int:
        job.confirm(0)
        return 7

    assert job.each(0, work) == 7
    Path(job.store.where(job.item_marker(0))).write_bytes(text)
    assert job.left(0) is None
    assert job.each(0, work) == 7
    assert job.left(0) == {"done": 7}


def test_an_item_whose_marker_never_stays_is_given_up(planned: tuple[Plan, Store]) -> None:
    job = Job(*planned, "combine", 0, {}, State())
    calls = []

    def work() -> None:
        calls.append(1)
        raise AlreadyDoneError

    with pytest.raises(StoreError, match="is still missing after 3 attempts"):
        job.each(0, work)
    assert len(calls) == 3


def test_what_a_reader_has_to_read_again_is_not_dropped(planned: tuple[Plan, Store]) -> None:
    """A block whose marker is damaged needs the sum once more."""
    plan, store = planned
    params = {"flow3d_smooth": [0.0], "flow_scaling": "cellpose"}
    job = Job(plan, store, "combine", 0, params, State())
    last = sums(plan.axes[-1])
    store.write(last, Box.whole(plan.network_shape), np.zeros((4, *plan.network_shape), np.float32))
    for item in range(len(plan.grid)):
        job.each(item, lambda: 0)
    marker = Path(store.where(job.item_marker(0)))
    whole = marker.read_bytes()
    marker.write_bytes(whole[:-1])
    combine.drop(job, 0)
    assert store.missing(last, Box.whole(plan.network_shape)) == []
    marker.write_bytes(whole)
    combine.drop(job, 0)
    assert store.missing(last, Box.whole(plan.network_shape)) != []


def test_a_twin_that_lost_its_input_does_not_write(tmp_path: Path, tiny_model: Path) -> None:
    """A block whose sum was dropped under it: the finished block stays as it is."""
    field = to_centres(balls((12, 12, 12), seed=1, count=3, radius=4))
    params = {"flow3d_smooth": [1.0], "block_shape": (6, 12, 12)}
    result = segment_field(tmp_path, tiny_model, field, **params)
    combine = stage_params(check(params), "combine")
    job = Job(result.plan, result.store, "combine", 0, combine, State())
    flows = result.states["combine"].flows
    before = result.store.read(flows, Box.whole((12, 12, 12)))
    with pytest.raises(StoreError, match="gradients-zy"):
        result.store.read("gradients-zy", Box.whole((12, 12, 12)))
    receipt = result.store.get_json(job.marker)
    result.store.drop(job.marker)
    assert run(job)["result"] == receipt["result"]
    np.testing.assert_array_equal(result.store.read(flows, Box.whole((12, 12, 12))), before)
    # without the items' markers the sum is really needed: a sentence, not zeros
    result.store.drop(job.marker)
    for item in job.items:
        result.store.drop(job.item_marker(item))
    with pytest.raises(StoreError, match="is no longer in the store"):
        run(job)


def test_a_twin_whose_input_was_dropped_takes_the_receipt_of_the_faster_one(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is done is forgotten for one that comes too late, in stages without markers
    of items, too."""
    job = Job(*planned, "intensities", 0, {}, State())
    done = run(job)
    receipt = job.store.get_json(job.marker)
    job.store.drop(job.marker)

    def overtaken(late: Job) -> dict[str, Any]:
        late.store.put_json(late.marker, receipt)
        raise StoreError("is no longer in the store", where="ends")

    monkeypatch.setattr(intensities, "run", overtaken)
    assert run(job)["result"] == done["result"]


def test_keys_follow_what_shapes_a_result() -> None:
    params = {"cellprob_threshold": 0.0, "niter": None}
    key = stage_key("follow", params, "a")
    assert key != stage_key("follow", {**params, "niter": 3}, "a")
    assert key != stage_key("follow", params, "b")
    assert key != stage_key("peaks", params, "a")
    silent = {"batch_size": 4, "use_gpu": True, "keep_intermediates": "all", "model_files": ("x",)}
    assert key == stage_key("follow", {**params, **silent}, "a")


CPU_STAGES = [
    *sorted({s.split("-")[0] for s in SCATTERED}),
    *("check", "plan", "percentiles", "seeds", "relabel", "finish"),
]


def test_cpu_stages_import_neither_torch_nor_cellpose() -> None:
    """Importing them costs ten seconds a task; ``gradients`` imports them when it runs."""
    modules = ["terapose.cli", "terapose.api.runner", *(f"terapose.stages.{s}" for s in CPU_STAGES)]
    code = (
        f"import importlib, sys\nfor name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'cellpose'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    root = Path(__file__).parents[2] / "bin"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_numba_and_zarr() -> None:
    code = "import sys, terapose.cli\nprint(sorted({'numba', 'zarr', 'scipy'} & set(sys.modules)))"
    root = Path(__file__).parents[2] / "bin"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr
