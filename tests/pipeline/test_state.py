"""What travels between stages: nothing unknown, nothing missing, and nothing that is lost."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fields import balls, scatter, segment_field, to_centres

from terapose.core.errors import StoreError
from terapose.core.params import check
from terapose.io.checksums import sealed
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES
from terapose.pipeline.job import Job
from terapose.pipeline.local import stage_params
from terapose.pipeline.repair import read_summary
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import Added, State, Step, after, read_state

STEP = Step(stage="follow", key="k", params={"niter": None}, tasks=3, seconds=1.5, peak_memory=7)


def test_a_stage_adds_to_what_those_before_it_said() -> None:
    before = after(State(), STEP, Added(State(ends="a", displacements="b"), {"halo": 24}))
    step = STEP.model_copy(update={"stage": "peaks", "key": "l"})
    state = after(before, step, Added(State(seeds="c")))
    assert (state.ends, state.displacements, state.seeds, state.key) == ("a", "b", "c", "l")
    assert [(s.stage, s.told) for s in state.history] == [("follow", {"halo": 24}), ("peaks", {})]
    assert not before.document().keys() & {"seeds"}
    assert state.history[0].record() == {
        **{"key": "k", "params": {"niter": None}, "tasks": 3},
        **{"seconds": 1.5, "peak_memory": 7, "halo": 24},
    }


def test_a_stage_that_replaces_a_table_is_heard() -> None:
    before = after(State(), STEP, Added(State(object_table="a", last=3)))
    assert after(before, STEP, Added(State(object_table="b"))).document() | {"history": []} == {
        **{"key": "k", "history": []},
        **{"object_table": "b", "last": 3},
    }


@pytest.mark.parametrize("carry", [pickle.dumps, json.dumps])
def test_other_processes_know_what_was_written_and_what_not(carry: Any) -> None:
    state = after(State(), STEP, Added(State(low=(0.5,), upscale=True, second={"a": 1})))
    if carry is json.dumps:
        other = read_state(json.loads(carry(state.document())), "x.json")
    else:
        other = pickle.loads(carry(state))
    assert other == state
    assert not other.is_named and not other.is_matched
    with pytest.raises(StoreError, match=r"^summary of follow: lacks flows, which this "):
        _ = other.flows
    with pytest.raises(StoreError, match=r"^no summary: lacks low"):
        _ = State().low


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"flowz": "a"}, "flowz"),
        ({"found": "many"}, "found"),
        ({"history": [{"stage": "follow"}]}, "history.0.key"),
        ({"history": [STEP.model_dump() | {"more": 1}]}, "history.0.more"),
    ],
)
def test_a_summary_of_something_else_is_refused(
    tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    path, store = tmp_path / "seeds.json", Store(str(tmp_path / "store"))
    path.write_text(json.dumps(sealed(document)))
    with pytest.raises(
        StoreError, match=rf"seeds\.json: is not the summary.* got {said} \("
    ) as caught:
        read_summary(path, store)
    # the gather runs again
    assert caught.value.is_forgotten and store.names("again") == ["again/seeds"]


def test_the_summary_of_another_run_is_refused(tmp_path: Path) -> None:
    path, store = tmp_path / "seeds.json", Store(str(tmp_path / "store"), "mine")
    for run in ("mine", "other", ""):
        path.write_text(json.dumps(sealed(State(plan=run).document())))
        if run == "mine":
            assert read_summary(path, store).plan == run
            continue
        with pytest.raises(StoreError, match=r"seeds\.json: is damaged.* summary of another run"):
            read_summary(path, store)
    assert store.names("again") == ["again/seeds"]


def test_the_key_of_a_gather_follows_from_its_tasks(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code of ``masks`` makes other objects: what came of the earlier ones is not theirs."""
    field = to_centres(balls((12, 12, 12), seed=1, count=3, radius=4))
    result = segment_field(tmp_path, tiny_model, field, keep_intermediates="all")
    before = result.states["seeds"]
    receipts = scatter(result.plan, result.store, "masks", {}, before)
    params = stage_params(check({"keep_intermediates": "all"}), "objects")
    job = Job(result.plan, result.store, "objects", 0, params, before)
    found = run_gather(job, receipts)
    assert found.key == result.states["objects"].key
    assert found.labels == f"masks-{receipts[0]['key']}/labels"
    # of a run whose seeds were others, of another version, and of nothing that is known
    other = before.model_copy(update={"key": "earlier"})
    earlier = scatter(result.plan, result.store, "masks", {}, other)
    edited = replace(STAGES["masks"], version=2)
    with monkeypatch.context() as patched:
        patched.setitem(STAGES, "masks", edited)
        later = scatter(result.plan, result.store, "masks", {}, before)
    for others in (earlier, later, [{**r, "key": "other"} for r in receipts]):
        with pytest.raises(StoreError, match="stage masks: receipts made by other code or from "):
            run_gather(job, others)
    monkeypatch.setitem(STAGES, "masks", edited)
    assert run_gather(job, later).key != found.key
