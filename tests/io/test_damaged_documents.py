"""What tasks of the workflow leave in their own folders, damaged: plans, receipts, summaries.

Commands are called as Nextflow calls them. What cannot be read is never a result, and after one
more call of what is counted in the store (`again/`, which Nextflow looks at) all goes on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.fields import prepared

from terapose.core.errors import StoreError
from terapose.io.checksums import sealed
from terapose.io.store.store import Store
from terapose.pipeline.plan import Plan, load
from terapose.pipeline.repair import read_receipts

IMAGE = np.random.default_rng(0).integers(0, 500, (20, 21, 22)).astype(np.uint16)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a digit": lambda data: data.replace(b"1", b"2", 1),
    "cut off": lambda data: data[: len(data) // 2],
    "empty": lambda _data: b"",
}
damaged = pytest.mark.parametrize("how", DAMAGE)


@pytest.fixture
def planned(tmp_path: Path, tiny_model: Path) -> tuple[Plan, Store]:
    plan, store = prepared(tmp_path, tiny_model, IMAGE, block_shape=(10, 11, 12), max_tasks=2)
    (tmp_path / "plan.json").write_text(plan.dump())
    return plan, store


def spoil(path: Path, how: str) -> None:
    path.write_bytes(DAMAGE[how](path.read_bytes()))


def words(folder: Path, store: Store, stage: str, *more: object) -> tuple[object, ...]:
    """A stage's command, with a store's address as the workflow gives it after damage."""
    notes = store.names("again")
    address = f"{store.address}?again={len(notes)}" if notes else store.address
    return "stage", stage, "--plan", folder / "plan.json", "--store", address, *more


@damaged
def test_receipts(command: Terapose, planned: tuple[Plan, Store], tmp_path: Path, how: str) -> None:
    _, store = planned
    receipts = [tmp_path / "receipts" / f"{task}.json" for task in range(2)]
    receipts[0].parent.mkdir()

    def count(task: int) -> None:
        more = ("--task", task, "--output", receipts[task])
        assert command(*words(tmp_path, store, "intensities", *more)).code == 0

    for task in range(2):
        count(task)
    gather = ("percentiles", "--output", tmp_path / "whole.json", receipts[0].parent)
    assert command(*words(tmp_path, store, *gather)).code == 0
    before = [path.read_bytes() for path in receipts]
    for path in receipts:
        spoil(path, how)
    said = command.refuses(*words(tmp_path, store, *gather))
    assert said.startswith(f"{receipts[0]}: is damaged") and "-resume" in said
    # both at one go
    assert store.names("again") == ["again/intensities.0", "again/intensities.1"]
    for task in range(2):
        count(task)
    assert [path.read_bytes() for path in receipts] == before
    assert command(*words(tmp_path, store, *gather)).code == 0


def test_receipts_of_several_stages(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    for stage in ("export", "measure"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "3.json").write_text("{}")
    with pytest.raises(StoreError, match=r"export/3\.json: is damaged"):
        read_receipts([tmp_path], store, None)
    assert store.names("again") == ["again/export.3", "again/measure.3"]


@damaged
@pytest.mark.parametrize(
    ("name", "note"),
    [("seeds", "seeds"), ("follow", "gather.follow"), ("gradients-zy", "gather.gradients-zy")],
)
def test_summaries(
    command: Terapose,
    planned: tuple[Plan, Store],
    tmp_path: Path,
    how: str,
    name: str,
    note: str,
) -> None:
    _, store = planned
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(sealed({"key": "1"})))
    spoil(path, how)
    more = ("--before", path, "--task", 0, "--output", tmp_path / "0.json")
    said = command.refuses(*words(tmp_path, store, "masks", *more))
    assert said.startswith(f"{path}: is damaged") and "-resume" in said
    assert store.names("again") == [f"again/{note}"]


@damaged
def test_plans(
    planned: tuple[Plan, Store], tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    plan, store = planned
    path = tmp_path / "plan.json"
    spoil(path, how)
    with caplog.at_level(logging.WARNING):
        assert load(path, store) == plan
    assert caplog.messages == [f"{path} is damaged: the store's copy of it is used"]
    spoil(Path(store.where("plan.json")), how)
    with pytest.raises(StoreError, match=r"is damaged.*without -resume"):
        load(path, store)


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device or socket"])
def test_what_is_no_file_is_damage_and_nobody_waits_for_it(
    command: Terapose, planned: tuple[Plan, Store], tmp_path: Path, kind: str
) -> None:
    plan, store = planned
    odd = tmp_path / "odd" / "0.json"
    odd.parent.mkdir()
    if kind == "a pipe":
        os.mkfifo(odd)
    elif kind == "a folder":
        odd.mkdir()
    else:
        odd.symlink_to("/dev/zero")
    wanted = f"{odd}: is damaged; got {kind}; run again"
    gather = words(tmp_path, store, "percentiles", "--output", tmp_path / "whole.json", odd.parent)
    if kind != "a folder":
        # a folder of receipts may have others in it
        assert command.refuses(*gather).startswith(wanted)
        assert store.names("again") == ["again/intensities.0"]
        more = ("--before", odd, "--task", 0, "--output", tmp_path / "1.json")
        assert command.refuses(*words(tmp_path, store, "masks", *more)).startswith(wanted)
    assert load(odd, store) == plan
    with pytest.raises(StoreError, match=f"is damaged; got {kind}"):
        load(odd)


def test_a_number_that_is_no_task(
    command: Terapose, planned: tuple[Plan, Store], tmp_path: Path
) -> None:
    """Its table is damaged, or was made by hand."""
    plan, store = planned
    count = len(plan.tasks["peaks"])
    before = tmp_path / "follow.json"
    before.write_text(json.dumps(sealed({"key": "1", "plan": store.run})))
    for task, stage, allowed in (
        (count, "peaks", f"allowed: 0 to {count - 1}"),
        (0, "overlaps", "allowed: none: this plan has no tasks of it"),
    ):
        more = ("--before", before, "--task", task, "--output", tmp_path / "0.json")
        said = command.refuses(*words(tmp_path, store, stage, *more))
        assert said == f"stage {stage}: is not a task of this stage; got {task}; {allowed}"
