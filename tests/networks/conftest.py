"""A weight file that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unets import random_unet, save


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = random_unet(diameter=19.5).state_dict()
    return save(state, tmp_path_factory.mktemp("weights") / "lab.pth")
