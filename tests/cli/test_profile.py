"""`terapose profile`: tables, files and the trace of the workflow."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.apps.test_profile_parts import TRACE
from tests.command import Terapose
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core.params import check


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Results of two images, the one four times as large as the other, and a trace of one."""
    folder = tmp_path_factory.mktemp("profile")
    params = check({"model": str(tiny_model), "diameter": 30, "mode": "2d"})
    for name, edge in (("s", 40), ("t", 80)):
        image = write_zarr(folder / f"{name}.zarr", nuclei((3, edge, edge))[0][1])
        segment_file(str(image), folder / "results" / name, params)
    (folder / "results/pipeline_info").mkdir()
    (folder / "results/pipeline_info/trace.txt").write_text(TRACE)
    return folder / "results"


def test_steps_are_shown_and_written(runs: Path, tmp_path: Path, command: Terapose) -> None:
    files = [tmp_path / name for name in ("a.csv", "a.json", "a.png")]
    said = command("profile", runs, "--csv", files[0], "--json", files[1], "--plot", files[2])
    assert said.code == 0, said.err
    assert "t, 1 x 80 x 80 voxels, the largest of 2" in said.out
    assert "all steps" in said.out and "gradients-yx" in said.out

    rows = list(csv.DictReader(files[0].open()))
    records = {n: json.loads((runs / n / "provenance.json").read_text()) for n in "st"}
    for name, record in records.items():
        own = {row["step"]: row for row in rows if row["result"] == name}
        for stage, known in record["stages"].items():
            assert float(own[stage]["seconds"]) == known["seconds"]
            assert int(own[stage]["memory"]) == known["peak_memory"]
        assert {row["voxels"] for row in own.values()} == {"1600" if name == "s" else "6400"}
    follow = next(row for row in rows if (row["result"], row["step"]) == ("s", "follow"))
    # both of the trace and of the record
    assert float(follow["task_seconds"]) == 150 and follow["seconds"]
    assert [row["step"] for row in rows if not row["seconds"]] == ["check", "gather of yx"]

    numbers = json.loads(files[1].read_text())
    assert len(numbers["steps"]) == len(rows)
    assert {one["largest"] for one in numbers["growth"]} == {"t"}
    memory = next(one["memory"] for one in numbers["growth"] if one["step"] == "all steps")
    assert -1 < memory["exponent"] < 2
    with Image.open(files[2]) as picture:
        assert picture.width > 800


def test_a_single_result_has_no_exponents(runs: Path, command: Terapose) -> None:
    said = command("profile", runs / "t")
    assert said.code == 0 and "time ~" not in said.out and "the largest" not in said.out


def test_what_is_no_result_is_refused(tmp_path: Path, command: Terapose) -> None:
    assert "there are no complete results" in command.refuses("profile", tmp_path)


def test_a_changed_record_is_refused(runs: Path, tmp_path: Path, command: Terapose) -> None:
    record = (runs / "t/provenance.json").read_text()
    (tmp_path / "provenance.json").write_text(record.replace('"seconds": ', '"seconds": 1', 1))
    assert "is not as it was written" in command.refuses("profile", tmp_path)


@pytest.mark.parametrize("name", ["[", "[red]", "[bold", "=1+1", "@x", "a\x1b[31m"])
def test_names_are_text(runs: Path, tmp_path: Path, command: Terapose, name: str) -> None:
    shutil.copytree(runs / "s", tmp_path / name)
    said = command("profile", tmp_path / name, "--csv", tmp_path / "a.csv")
    assert said.code == 0 and "\x1b" not in said.out
    assert f" {name}, ".replace("\x1b", "\\x1b") in said.out
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert {row["result"] for row in rows} == {f"'{name}" if name[0] in "=@" else name}


def test_markup_in_a_name_is_text(runs: Path, tmp_path: Path, command: Terapose) -> None:
    (tmp_path / "a[").mkdir()
    shutil.copytree(runs, tmp_path / "a[" / "b]")
    assert command("profile", tmp_path / "a[/b]").code == 0
