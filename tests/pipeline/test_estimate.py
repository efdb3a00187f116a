"""What is projected of work on the whole image does not shrink with a region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.synthetic import write_tiff

from terapose.core.params import check
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import STAGES, memory_of
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan

SHAPE = (20, 60, 70)
REGION = {"region": "3:13,11:41,8:58"}
CHANNEL = 20 * 60 * 70 * 2
"""Bytes of a channel of 16 bits."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Compressed strips: it is copied into the store before anything else reads it."""
    values = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)
    return write_tiff(tmp_path / "a.tif", values, kind="strips", axes="ZYX")


def planned(image: Path, model: Path, **params: Any) -> Plan:
    checked = check({"model": str(model), **params})
    plan = make_plan(open_checked(str(image), checked), identify(model), checked)
    assert plan.image.convert and plan.image.whole == SHAPE
    return plan


def unconverted(plan: Plan) -> Plan:
    return plan.model_copy(update={"image": plan.image.model_copy(update={"convert": False})})


def test_planes_of_the_whole_image_are_decoded(image: Path, tiny_model: Path) -> None:
    whole, part = (planned(image, tiny_model, **more) for more in ({}, REGION))
    assert memory_of(part)["convert"] == memory_of(whole)["convert"]
    # a task has at least a few planes of both: what is read and what is written
    memory = STAGES["convert"].memory
    assert memory is not None
    smaller = part.model_copy(
        update={"image": part.image.model_copy(update={"whole": part.image.shape})}
    )
    assert memory(part) > memory(smaller)


def test_the_copy_of_the_whole_image_is_in_the_store(image: Path, tiny_model: Path) -> None:
    for more in ({}, REGION):
        plan = planned(image, tiny_model, **more)
        assert of_store(plan) - of_store(unconverted(plan)) == CHANNEL
