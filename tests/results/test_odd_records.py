"""Records of results that were made to mislead whoever verifies them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from terapose.core.errors import InputError
from terapose.io.checksums import sealed
from terapose.results.earlier import RECORD
from terapose.results.verify import faults

LABELS: dict[str, Any] = {"files": {}, "regions": [], "coarse": {}, "metadata": {}}


def written(folder: Path, checksums: Any) -> Path:
    (folder / RECORD).write_text(json.dumps(sealed({"checksums": checksums})))
    return folder


@pytest.mark.parametrize("name", ["/dev/zero", "../victim", "a/b", "..", "", "a\0b"])
def test_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="got a name that leads out of the folder"):
        faults(written(tmp_path, {"labels.zarr": LABELS, name: 1}))


@pytest.mark.parametrize(
    "checksums", [{}, [], None, {"labels.zarr": None}, {"labels.zarr": {"files": {"odd": 1}}}]
)
def test_records_without_checksums_are_refused(tmp_path: Path, checksums: Any) -> None:
    with pytest.raises(InputError, match="contains no checksums of results"):
        faults(written(tmp_path, checksums))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(InputError, match="is not a regular file; got a pipe"):
        faults(tmp_path)
