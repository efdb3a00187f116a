"""The command line: quick help with an example everywhere, exit codes, results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

import terapose
from terapose.cli import GROUPS
from terapose.io.labels.ome_zarr import open_level
from terapose.pipeline.graph import AFTER, GRAPH, WHOLE
from terapose.pipeline.handover import Handed
from terapose.pipeline.needs import LEAST
from terapose.pipeline.plan import load

BIN = Path(terapose.__file__).parents[1]


USED = """
import sys
from terapose.cli import main
sys.argv = ["terapose", *sys.argv[1:]]
main()
import numba, torch
print(torch.get_num_threads(), numba.get_num_threads())
"""


def test_threads_of_libraries() -> None:
    words = ("--threads", "1", "stage", "--help")
    env = {**os.environ, "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(BIN)}
    done = subprocess.run(
        [sys.executable, "-c", USED, *words], env=env, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "1 1", done.stderr


PEOPLE = [name for names in GROUPS.values() for name in names]
STAGES = sorted({stage.command for stage in GRAPH} | {WHOLE.name, "gather"})


@pytest.mark.parametrize("name", [*PEOPLE, *(f"stage {name}" for name in STAGES)])
def test_every_command_has_help_with_an_example(command: Terapose, name: str) -> None:
    said = command(*name.split(), "--help")
    assert said.code == 0 and not said.err
    assert said.out.startswith(f"Usage: terapose {name} ")
    assert f"\n    terapose {name} " in said.out.split("Example")[1]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("check", ["--sample", "--lines", "--second", "--own"]),
        ("verify", ["--store", "--plan", "--before"]),
    ],
)
def test_help_leaves_out_what_only_the_workflow_gives(
    command: Terapose, tmp_path: Path, monkeypatch: Any, name: str, own: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command(name, "--help").out
    assert not [option for option in own if f"  {option} " in said]
    assert "no such option" not in command.refuses(name, "nothing", own[0], "x").lower()


def test_help_lists_all_commands_and_needs_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['terapose', '--help']\n"
        "from terapose.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'cellpose', 'zarr', 'numba', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BIN, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n"), done.stdout
    assert all(f"\n  {name} " in done.stdout for name in PEOPLE)
    titles = re.findall(r"^([A-Z][a-z ]+):$", done.stdout, re.M)
    groups = ["Segment", "Look and judge", "Data", "Train", "Cluster"]
    assert [title for title in titles if title not in ("Options", "Usage")] == groups
    # one of these is of people, too
    hidden = set(STAGES) - set(PEOPLE)
    assert len(hidden) == len(STAGES) - 1
    assert not any(f"\n  {name} " in done.stdout for name in hidden)


def test_stages_import_no_network_library() -> None:
    stages = sorted(p.stem for p in (BIN / "terapose" / "stages").glob("[a-z]*.py"))
    modules = ", ".join(f"terapose.stages.{name}" for name in stages)
    code = f"import sys, {modules}; print({{'torch', 'cellpose'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BIN, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_version(command: Terapose) -> None:
    assert command("--version").out == f"terapose, version {terapose.__version__}\n"


def test_unknown_command_and_option_are_one_sentence(command: Terapose) -> None:
    assert command.refuses("segmnet") == (
        "No such command 'segmnet'; terapose --help lists the options"
    )
    assert command.refuses("segment", "a", "b", "--blok-shape", "3") == (
        "No such option '--blok-shape'. Did you mean '--block-shape'?; "
        "terapose segment --help lists the options"
    )
    assert command.refuses("simulate", "out", "--shape", "1_0,24,28").startswith(
        "Invalid value for '--shape': '1_0,24,28' is not 2 or 3 whole numbers with commas between"
    )
    assert command.refuses("segment", "a") == (
        "give IMAGE and OUT, or --input and --outdir; terapose segment --help lists the options"
    )


def test_executable_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "terapose.py", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == f"terapose, version {terapose.__version__}\n", done.stderr


def test_segment_says_where_the_results_are(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_ome_zarr(tmp_path / "nuclei.zarr", nuclei((6, 24, 28))[0])
    out = tmp_path / "out"
    words = ("--model", tiny_model, "--jobs", 1, "--table", "parquet")
    said = command("segment", image, out, *words)
    assert said.code == 0, said.err
    assert said.out == f"labels: {out / 'labels.zarr'}\ntable:  {out / 'cells.parquet'}\n"
    assert "gradients-zy: 1 of 1\n" in said.err
    labels = np.asarray(open_level(str(out / "labels.zarr"), 0)[:])
    cells = len(pd.read_parquet(out / "cells.parquet"))
    assert labels.max() == cells
    assert f"cells:  {cells}\n" in said.err
    (took,) = (line for line in said.err.splitlines() if line.startswith("seconds: "))
    stages = json.loads((out / "provenance.json").read_text())["stages"]
    assert took.split()[1::2] == [*stages]
    assert took.split()[2].rstrip(",") == f"{stages[took.split()[1]]['seconds']:.1f}"
    record = json.loads((out / "provenance.json").read_text())
    assert record["cells"] == cells
    sought = record["diameter"]
    assert sought["note"]
    origin = {"found": "found in the image", "network": "as of the network"}[sought["origin"]]
    assert f"diameter: {sought['pixels']:g} pixels, {origin}: {sought['note']}\n" in said.err


def test_plan_tells_the_needs_and_writes_the_tasks(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_ome_zarr(tmp_path / "nuclei.zarr", nuclei((6, 24, 28))[0])
    words = ("--model-file", tiny_model, "--block-shape", "6,12,28", "--max-tasks", 2)
    said = command("plan", image, *words, "--tasks", tmp_path / "tasks")
    assert said.code == 0, said.err
    assert said.out.startswith(f"image     {image}\nformat    ome-zarr-0.5\naxes      ZYX ")
    assert "\nshape     6 x 24 x 28 (Z, Y, X), uint16\n" in said.out
    needs = r"up to \d+\.\d MB of memory each, requested: 500\.0 MB, 1 core, 31 min"
    assert re.search(rf"\nfollow             2 tasks, {needs}\n", said.out)
    assert "all of them are one task" not in said.out
    said = command("plan", image, "--model-file", tiny_model)
    assert said.out.splitlines()[-1].startswith("in the workflow all of them are one task")
    tables = {name: tmp_path / "tasks" / f"{name}.csv" for name in ("follow", "convert")}
    columns, *rows = tables["follow"].read_text().splitlines()
    assert columns == "task,first,stop,memory,seconds,cpus,gpus"
    assert re.fullmatch(r"0,0,1,(\d+,\d+,1,0) 1,1,2,\1 all,0,2,\1", " ".join(rows))
    assert tables["convert"].read_text() == f"{columns}\nall,0,0,0,0,0,0\n"


@pytest.mark.parametrize(("limit", "several"), [(1.1, True), (2.0, False)])
def test_one_task_for_all_stages_keeps_the_limit_too(
    command: Terapose, tmp_path: Path, tiny_model: Path, limit: float, several: bool
) -> None:
    """It holds the network while it does what other stages do in a task of their own."""
    image = write_ome_zarr(tmp_path / "nuclei.zarr", nuclei((6, 24, 28))[0])
    words = ("--model-file", tiny_model, "--max-memory", limit, "--tasks", tmp_path / "tasks")
    said = command("plan", image, *words)
    assert said.code == 0, said.err
    assert ("all of them are one task" not in said.out) == several
    # what it would need is in the table in any case: the workflow compares
    _, row, _ = (tmp_path / "tasks" / "whole.csv").read_text().splitlines()
    assert (int(row.split(",")[3]) > limit * 1e9) == several


@pytest.mark.parametrize("folder", [".", "./", "out", "../out", "a/.."])
def test_check_looks_at_any_folder(
    command: Terapose, tmp_path: Path, tiny_model: Path, folder: str, monkeypatch: Any
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "a").mkdir()
    monkeypatch.chdir(here)
    image = write_ome_zarr(tmp_path / "n.zarr", np.stack([nuclei((6, 24, 28))[0]] * 2), axes="tzyx")
    for time in (1, "all"):
        words = ("--model", tiny_model, "--time", time, "--output", folder)
        said = command("check", image, *words)
        assert said.code == 0, said.err
        assert "\nsegments  channel 1 (channel 1)" in said.out
    # a folder for each time point, beside
    name = os.path.abspath(folder)
    assert Path(f"{name}-t001").is_dir() and Path(f"{name}-t002").is_dir()


def test_check_answers_with_the_line_of_the_sample(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_ome_zarr(tmp_path / "nuclei.zarr", nuclei((6, 24, 28))[0])
    given = tmp_path / "params.json"
    given.write_text(json.dumps({"model": str(tiny_model), "diameter": 12, "min_size": 40}))

    def row(*words: object) -> dict[str, str]:
        lines = tmp_path / "sample.tsv"
        known = ("--sample", "one", "--params-file", given, "--lines", lines)
        said = command("check", image, *known, *words)
        assert said.code == 0, said.err
        names, values = lines.read_text().splitlines()
        return dict(zip(names.split("\t"), values.split("\t"), strict=True))

    first = row()
    # the columns of a stub (modules/processes/check.nf), and those of stages
    stages = {*STAGES, *(stage.name for stage in AFTER)}
    others = {name for name in first if name.removeprefix("gather-") not in stages}
    known = {"sample", "source", "address", "identity", "plan", "network", "fetch", "runs", "stale"}
    assert others == {*known, "max_memory", "memory"}
    assert first["sample"] == "one" and first["address"] == str(image)
    plan = tmp_path / "plan.json"
    words = ("--model", tiny_model, "--diameter", 12, "--output", plan)
    assert command("plan", image, *words).code == 0
    assert Handed.read(first["plan"]).work == load(plan)
    assert "--min-size 40" in first["relabel"]
    assert first["memory"] == f"combine={LEAST}"
    # thresholds and filters are no part of the identity or of the plan; the image is
    other = row("--min-size", 50)
    assert (other["identity"], other["plan"]) == (first["identity"], first["plan"])
    assert "--min-size 50" in other["relabel"]
    # nor is a limit that changes nothing
    other = row("--max-memory", 16)
    assert (other["identity"], other["plan"]) == (first["identity"], first["plan"])
    assert (first["max_memory"], other["max_memory"]) == ("8.0", "16.0")
    write_ome_zarr(tmp_path / "new.zarr", nuclei((6, 24, 28), seed=1)[0])
    (tmp_path / "nuclei.zarr").rename(tmp_path / "old.zarr")
    (tmp_path / "new.zarr").rename(tmp_path / "nuclei.zarr")
    assert row()["identity"] != first["identity"]
