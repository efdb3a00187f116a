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
from terapose.results.outputs import named
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


WHOLE: dict[str, Any] = {
    "files": {
        "names": ["cells"],
        "version": "0.5",
        "shape": [1, 4, 4],
        "chunks": [1, 4, 4],
        "region": [1, 4, 4],
        "dimensions": 2,
        "factors": [[1, 1, 1]],
    },
    "regions": [1],
    "coarse": 0,
    "metadata": 0,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("names", None), ("names", 3), ("shape", [10**9] * 3), ("shape", [10**6] * 3)),
        *(("dimensions", "2"), ("factors", [[0, 0, 0]]), ("chunks", [0, 0, 0])),
        # files without end: each of them would be looked for
        *(("names", [f"n{n}" for n in range(1000)]), ("names", ["cells"] * 2), ("names", [])),
        *(("factors", [[1, 1, 1]] * 1000), ("factors", [[1, 1, 1], [1, 8, 8]]), ("factors", [])),
        *(("region", [1, 10**6, 10**6]), ("version", "9")),
    ],
)
def test_odd_values_are_one_sentence(tmp_path: Path, name: str, value: Any) -> None:
    known = WHOLE | {"files": WHOLE["files"] | {name: value}}
    (tmp_path / RECORD).write_text(json.dumps(sealed({"checksums": {"labels.zarr": known}})))
    with pytest.raises(InputError, match="contains no checksums of results"):
        faults(tmp_path)


def test_more_names_than_there_are_results(tmp_path: Path) -> None:
    names = [f"{n}.tif" for n in range(1000)]
    assert named({"masks": names[:3]}) == names[:3] and named({"masks": names}) == []
    with pytest.raises(InputError, match="contains no checksums of results; got 1001 names"):
        faults(written(tmp_path, {"labels.zarr": WHOLE, **dict.fromkeys(names, 1)}))


def test_a_record_without_the_checksum_of_a_table_is_refused(tmp_path: Path) -> None:
    record = {"tables": ["cells.csv"], "checksums": {"labels.zarr": WHOLE}}
    (tmp_path / RECORD).write_text(json.dumps(sealed(record)))
    with pytest.raises(InputError, match=r"contains no checksums of results.* none of cells\.csv"):
        faults(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_another_file(tmp_path: Path, kind: str) -> None:
    chunk = tmp_path / "labels.zarr/cells/0/c/0/0"
    chunk.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(chunk)
    elif kind == "device":
        chunk.symlink_to("/dev/zero")
    else:
        chunk.mkdir()
    (tmp_path / RECORD).write_text(json.dumps(sealed({"checksums": {"labels.zarr": WHOLE}})))
    assert "labels.zarr: region 0-0-0" in faults(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(InputError, match="is not a regular file; got a pipe"):
        faults(tmp_path)
