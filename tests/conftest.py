"""What tests of several modules share and make only once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from tests.unets import random_unet, save

settings.register_profile(
    "terapose",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("terapose")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a U-Net of one input that costs 20 ms a tile; its weights are random."""
    state = random_unet((1, 2)).state_dict()
    # flows of either sign and a probability around 0, so that some voxels belong to cells
    state["output.2.weight"] *= 40
    state["output.2.bias"] = torch.zeros(3)
    path: Path = save(state, tmp_path_factory.mktemp("model") / "tiny.pth")
    return path


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch's number of threads is put back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
