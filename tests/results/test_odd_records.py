"""Records of results that were made to mislead whoever verifies them."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.command import Terapose

from terapose import measure, open_result
from terapose.core.errors import InputError
from terapose.io.checksums import read_sealed, sealed
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


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing in it": lambda r: [r.pop(name) for name in list(r)],
    "image": lambda r: r.update(image="x"),
    "stages": lambda r: r.update(stages=None),
    "seconds": lambda r: r["stages"]["export"].update(seconds="x"),
    "seconds that are none": lambda r: r["stages"]["export"].update(seconds=math.nan),
    "tables": lambda r: r.update(tables=5),
    "compartments": lambda r: r.update(compartments=["../../x"]),
    "no compartments": lambda r: r.update(compartments=[]),
    "selection": lambda r: r["output"].update(selection={"region": 5}),
    "voxel size": lambda r: r["output"].update(voxel_size=["a", None, 1]),
    "offset": lambda r: r["output"].update(offset=["q", 1, 2]),
    "shape": lambda r: r["image"].update(shape=[10**30, 1, 1]),
    "model": lambda r: r.update(model=7),
    "name of the model": lambda r: r.update(model={"name": None}),
    "cells": lambda r: r.update(cells="many"),
    "channels": lambda r: r["image"].update(channels=["x", None]),
}
READERS: dict[str, tuple[object, ...]] = {
    "profile": ("out",),
    "view": ("out", "--static", "static", "--client", "https://server/client"),
    "crate": ("out",),
    "spatialdata": ("out", "store.zarr"),
    "report": ("out",),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results without a network."""
    folder = tmp_path_factory.mktemp("measured")
    labels = np.zeros((20, 24), np.uint8)
    labels[3:9, 4:12] = 1
    tifffile.imwrite(folder / "image.tif", labels * np.uint16(90) + 7)
    tifffile.imwrite(folder / "labels.tif", labels)
    image, given = folder / "image.tif", folder / "labels.tif"
    measure(image, given, folder / "out", table="csv,h5ad", workers=1)
    return folder


@pytest.fixture
def copied(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record in a copy of them, which is here."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out" / RECORD


def spoil(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a record, and seal it again; what `verify` compares first stays right."""
    record = read_sealed(path)
    sums = record["checksums"]
    change(record)
    path.write_text(json.dumps(sealed({"tables": [], **record, "checksums": sums})))


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_record_is_one_sentence_for_every_reader(
    copied: Path, odd: str, command: Terapose
) -> None:
    spoil(copied, ODD[odd])
    for name, words in READERS.items():
        fault = "is not a complete record of results"
        if name == "report":
            fault = "does not hold what a report needs"
        assert command.refuses(name, *words).startswith(f"out/{RECORD}: {fault}; got ")
    with pytest.raises(InputError, match="is not a complete record of results"):
        open_result("out")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "a", "digest": "b"}},
        {"model": None},
        {"intensity": 5},
        {"intensity": dict.fromkeys(map(str, range(2000)))},
        {"diameter": "wide"},
        {"compartments": ["../x"]},
        {"masks": 5},
    ],
)
def test_what_a_report_draws_is_as_it_draws_it(
    copied: Path, command: Terapose, change: dict[str, Any]
) -> None:
    spoil(copied, lambda record: record.update(change))
    said = command.refuses("report", "out")
    assert said.startswith(
        f"out/{RECORD}: does not hold what a report needs; got {next(iter(change))}"
    )


def test_text_that_is_not_utf8_is_named(copied: Path, command: Terapose) -> None:
    spoil(copied, lambda record: record["image"].update(address="/data/im\udcff.tif"))
    for name in ("profile", "view", "report"):
        said = command.refuses(name, *READERS[name])
        assert f"out/{RECORD}: holds text that is not UTF-8; got " in said
        assert "im\\udcff.tif" in said and said.endswith("rename it, and run again")


def test_results_in_a_folder_that_is_not_utf8(copied: Path, command: Terapose) -> None:
    place = copied.parent.rename("o\udcff")
    lines: list[tuple[object, ...]] = [(name, place, *w[1:]) for name, w in READERS.items()]
    lines += [
        ("verify", place),
        ("clean", place),
        ("crop", place / "labels.zarr/cells", "part.zarr"),
    ]
    for words in lines:
        said = command(*words)
        assert said.code == 0, said.err
    assert json.loads((place / "report.json").read_text())["sample"] == "o?"


@pytest.mark.parametrize("odd", ["shape", "channels", "voxel size", "selection"])
def test_who_can_do_without_a_record_does(copied: Path, odd: str, command: Terapose) -> None:
    spoil(copied, ODD[odd])
    assert command("evaluate", "out/labels.zarr", "labels.tif").code == 0
    assert command("picture", "image.tif", "out/labels.zarr", "picture.png").code == 0


def test_a_missing_and_a_changed_record_are_said_alike(copied: Path, command: Terapose) -> None:
    copied.write_text(copied.read_text().replace('"cells": 1', '"cells": 7'))
    for name in ("profile", "view", "report"):
        said = command.refuses(name, *READERS[name])
        assert said.startswith(f"out/{RECORD}: the record of the results is not as it was written")
    copied.unlink()
    for name in ("profile", "view", "report"):
        said = command.refuses(name, *READERS[name])
        assert said.startswith(f"out: there are no complete results; got no {RECORD}; give the ")


def test_labels_that_were_given_have_no_network(copied: Path, command: Terapose) -> None:
    assert command("crate", "out").code == 0
    crate = json.loads(copied.with_name("ro-crate-metadata.json").read_text())["@graph"]
    assert any(one.get("description", "").startswith("1 cells, measured") for one in crate)
    assert not any(one["@id"].startswith("#network") for one in crate)
    said = command("profile", "out")
    assert said.code == 0 and "measure" in said.out


@pytest.mark.parametrize("name", ["report", "view"])
@pytest.mark.parametrize("column", ["X_centroid", "BoundingBox_y1"])
def test_text_where_numbers_should_be(
    copied: Path, name: str, column: str, command: Terapose
) -> None:
    table = copied.parent / "cells.csv"
    header, row = (line.split(",") for line in table.read_text().splitlines())
    row[header.index(f'"{column}"')] = "7;5"
    table.write_text("".join(f"{','.join(line)}\n" for line in (header, row)))
    if (name, column) == ("view", "BoundingBox_y1"):
        # a viewer leaves columns of text out
        assert command(name, *READERS[name]).code == 0
    else:
        said = command.refuses(name, *READERS[name])
        assert said.startswith("out/cells.csv: ") and f"{column} is not a column of numbers" in said


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder where root cannot write")
def test_folders_where_nothing_can_be_made(copied: Path, command: Terapose) -> None:
    assert "choose another folder" in command.refuses("report", "out", "--output", "/proc/x")
    words = ("view", "out", "--client", "https://server/client", "--static", "/proc/x")
    assert "choose another folder" in command.refuses(*words)


def test_a_table_without_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Terapose
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", np.arange(480, dtype=np.uint16).reshape(20, 24))
    tifffile.imwrite("labels.tif", np.zeros((20, 24), np.uint8))
    measure("image.tif", "labels.tif", "out", table="csv", workers=1)
    assert command("report", "out").code == 0
    assert command("view", *READERS["view"]).code == 0
