"""The image of Terapose that tests of containers share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration import charliecloud


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """The image of what is in the repository, a folder that belongs to another user.

    It is made once, under TERAPOSE_IMAGES if that names a folder.
    """
    named = os.environ.get("TERAPOSE_IMAGES")
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        yield charliecloud.image(Path(named).resolve())
        return
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        Path(folder).chmod(0o755)
        yield charliecloud.image(Path(folder))
