"""What check hands on to plan, as text: of one line, whole, and the same as long as the plan is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.command import EXECUTABLE
from tests.synthetic import write_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.networks.files import identify
from terapose.pipeline import planning
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import PLAN, STAGES
from terapose.pipeline.handover import Draft, Handed
from terapose.pipeline.plan import Plan


def plan_of(image: Path, model: Path) -> Plan:
    params = check({"model": str(model), "block_shape": (4, 8, 9), "diameter": 17.3})
    return planning.make_plan(open_checked(str(image), params), identify(model), params)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A volume whose name would end a line or a column."""
    return write_zarr(tmp_path / "Zellkerne, größer \N{LINE SEPARATOR}.zarr", np.ones((5, 9, 10)))


def test_a_plan_comes_back_as_it_was(image: Path, tiny_model: Path) -> None:
    plan = plan_of(image, tiny_model)
    text = Handed(work=plan).text
    assert text.isascii() and text.isprintable() and len(text.splitlines()) == 1
    back = Handed.read(text).plan(tiny_model)
    assert back == plan and back.digest == plan.digest


def test_a_plan_that_is_handed_on_is_not_made_again(
    image: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(image, tiny_model)
    text = Handed(work=plan).text
    for name in ("plan_of", "open_checked"):
        monkeypatch.delattr(f"terapose.pipeline.handover.{name}")
    # nor is the image looked at
    shutil.rmtree(image)
    assert Handed.read(text).plan(tiny_model) == plan


def test_a_release_that_plans_the_same_hands_on_the_same(
    image: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nextflow takes what is on a task's input into its key: another text would be another run."""
    before = Handed(work=plan_of(image, tiny_model)).text
    monkeypatch.setattr("terapose.core.version.__version__", "99.0")
    monkeypatch.setattr("terapose.pipeline.estimate.BASE", 1)
    assert Handed(work=plan_of(image, tiny_model)).text == before
    assert "version" not in Plan.model_fields


def test_a_draft_has_what_is_given_and_no_more() -> None:
    params = check({"diameter": 12, "min_size": 40, "region": "0:3,0:4,0:5"})
    draft = Draft.of("a.zarr", params, ["x"])
    assert draft.params == {"diameter": 12.0, "region": "0:3,0:4,0:5"}
    assert Handed.read(Handed(work=draft).text).work == draft


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"work": {}}', '{"work": {"address": "a"}}'])
def test_anything_else_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"^standard input: is not the output of terapose check"):
        Handed.read(text)


def test_what_other_code_has_checked_is_not_planned(image: Path, tiny_model: Path) -> None:
    """`terapose stage plan` takes no option for its code: that is in what it is given."""
    plan = plan_of(image, tiny_model)
    draft = Draft.of(str(image), check({}), ["x"])
    for work in (plan, draft):
        assert work.code == PLAN.code
        other = Handed.read(Handed(work=work.model_copy(update={"code": "1-abc"})).text)
        with pytest.raises(InputError, match=r"^stage plan: the code has changed since .*1-abc"):
            other.plan(tiny_model)
        with pytest.raises(InputError, match=r"^stage plan: the code has changed since .*1-abc"):
            other.found(STAGES["seeds"], tiny_model)


def test_what_only_checks_or_plans_loads_no_kernels() -> None:
    """A run does both for each sample, mostly to load what it needs."""
    script = (
        "import sys, terapose.stages.check, terapose.pipeline.handover\n"
        "assert not {'numba', 'scipy', 'torch'} & {*sys.modules}"
    )
    environment = {**os.environ, "PYTHONPATH": str(EXECUTABLE.parent)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
