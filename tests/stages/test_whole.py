"""All stages in one task: the results are those of a run that writes everything to its store."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_zarr

from terapose.core.params import check
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.arguments import arguments
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import WHOLE
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.results.verify import check as verify
from terapose.stages import plan as plan_stage

GIVEN = {
    "block_shape": (3, 24, 28),
    "cellprob_threshold": -0.5,  # the network is a random one: something is found
    "max_size_fraction": 1.0,
    "diameter": 30,  # that of the network: none is looked for
    "table": ("csv",),
}


@pytest.fixture
def planned(tmp_path: Path, tiny_model: Path) -> Iterator[Plan]:
    """A plan beside its store, as the workflow has them."""
    write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0].astype(np.uint16))
    params = check({"model": str(tiny_model), **GIVEN})
    image = open_checked(str(tmp_path / "image.zarr"), params)
    plan = make_plan(image, identify(tiny_model), params)
    plan_stage.run(plan, Store(str(tmp_path / "store"), plan.digest))
    (tmp_path / "plan.json").write_text(plan.dump())
    yield plan


def words_of(folder: Path, model: Path, name: str, **params: Any) -> list[object]:
    """The command line of a task that lays results out in a folder."""
    given = arguments(check({**GIVEN, **params}), WHOLE.parameters)
    return [
        *("stage", "whole", "--plan", folder / "plan.json", "--store", folder / "store"),
        *("--model-file", model, "--output", folder / name, "--code", WHOLE.code),
        *("--summary", folder / f"{name}.json", *shlex.split(given)),
    ]


def results(folder: Path) -> dict[str, bytes]:
    """Labels and table."""
    found = [*(folder / "labels.zarr").rglob("*"), folder / "cells.csv"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.is_file()}


def test_the_bytes_and_the_store_of_a_run_on_one_machine(
    command: Terapose, planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    said = command(*words_of(tmp_path, tiny_model, "one"))
    assert said.code == 0, said.err
    written = check({**GIVEN, "keep_intermediates": "all"})
    alone = ("--model", tiny_model, *shlex.split(arguments(written, written.model_fields_set)))
    said = command("segment", tmp_path / "image.zarr", tmp_path / "alone", *alone, "--jobs", 1)
    assert said.code == 0, said.err
    assert results(tmp_path / "one") == results(tmp_path / "alone")
    stores = (tmp_path / "store", tmp_path / "alone" / ".terapose" / planned.digest)
    names = [{p.relative_to(s) for p in s.rglob("*") if p.is_file()} for s in stores]
    assert names[0] < names[1]
    held = {"/".join(path.parts[:2]) for path in names[1] - names[0]}
    stages = {place.removeprefix("done/").partition("-")[0] for place in held}
    assert {"follow", "peaks", "masks"} <= stages <= {"follow", "peaks", "masks", "gradients"}
    # the workflow compares what is published with the plan and the summary
    given = ("--store", stores[0], "--plan", tmp_path / "plan.json")
    said = command("verify", tmp_path / "one", *given, "--before", tmp_path / "one.json")
    assert said.code == 0, said.err


def test_it_goes_on_from_what_is_in_the_store(
    command: Terapose, planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    assert command(*words_of(tmp_path, tiny_model, "first")).code == 0
    done = tmp_path / "store" / "done"
    before = {p: p.stat().st_mtime_ns for p in done.glob("gradients-*/*")}
    assert before
    assert command(*words_of(tmp_path, tiny_model, "other", max_size_fraction=1e-6)).code == 0
    assert {p: p.stat().st_mtime_ns for p in done.glob("gradients-*/*")} == before
    assert results(tmp_path / "other") != results(tmp_path / "first")
    # what is damaged is made again in the same task
    chunks = [p for p in tmp_path.glob("store/gradients-zy/c/**/*") if p.is_file()]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(b"damaged")
    for marker in done.glob("export-*/*"):
        marker.unlink()
    said = command(*words_of(tmp_path, tiny_model, "again"))
    assert said.code == 0, said.err
    assert all(chunk.read_bytes() != b"damaged" for chunk in chunks)
    assert results(tmp_path / "again") == results(tmp_path / "first")
    verify(tmp_path / "again")


def test_other_code_is_refused(
    command: Terapose, planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    words = [w if w != WHOLE.code else "1-0" for w in words_of(tmp_path, tiny_model, "one")]
    assert "the code has changed since the run began" in command.refuses(*words)
