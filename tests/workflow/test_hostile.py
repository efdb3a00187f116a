"""Names and values that would be commands, were they given to a shell as they are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from tests.synthetic import nuclei, write_tiff
from tests.workflow.conftest import Launches
from tests.workflow.launch import Launch, copy_of_workflow, network, results, segment

from terapose.io.checksums import sealed, unsealed

pytestmark = pytest.mark.slow

EVIL = 'it\'s; touch X; $(touch X) `touch X` "&" {a,b} [1] $HOME | \\ * ? #'
"""Quotes, substitutions, separators, wildcards: all that a shell takes for something."""
SECRET = "cr3d3nt1als"


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    """A plane with a few nuclei."""
    volume = nuclei((9, 40, 44), spacing=12, seed=5)[0]
    return np.asarray(volume[4])


def in_quotes(cell: object) -> str:
    """A cell of CSV."""
    return '"{}"'.format(str(cell).replace('"', '""'))


def touched(launch: Launch) -> list[Path]:
    """Files that only a command smuggled in would have made."""
    return [p for p in launch.path.rglob("*") if p.name == "X" or p.name.startswith("X;")]


def sample_of(mask: Path, plane: np.ndarray, server: str) -> dict[str, Any]:
    """Write an image, its markers and a mask to a folder; a line of a samplesheet."""
    folder = mask.parent
    folder.mkdir()
    image, markers = folder / f"{EVIL}.tif", folder / "markers '$(touch X)'.csv"
    write_tiff(image, plane[None])
    markers.write_text("marker_name\nDNA '; touch X; '\n")
    write_tiff(mask, np.ones_like(plane)[None])
    return {
        "sample": "one & (only)",
        "image": image,
        "markers": markers,
        "model": f"{server}/net.pth?sig={SECRET}&x='; touch X; $(touch X) `touch X` \"",
        "region": f"file://{quote(str(mask))}?sig={SECRET}&x='; touch X; $(touch X) \"",
        "channels": "DNA '; touch X; '",
    }


def test_files_folders_and_values_of_every_kind(
    launches: Launches,
    plane: np.ndarray,
    tmp_path: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Addresses of a mask and of a network, too, with credentials in them."""
    monkeypatch.setenv("TERAPOSE_CACHE", str(tmp_path / "cache"))
    launch = launches("hostile")
    launch.workflow = copy_of_workflow(launch.path / "a work'flow [1] & {a,b}")
    shutil.copy2(network(), tmp_path / "net.pth")
    mask = launch.path / f"images {EVIL}" / "mask '$(touch X)'.tif"
    cells = sample_of(mask, plane, server)
    sheet = launch.path / "samples.csv"
    lines = [",".join(in_quotes(cell) for cell in line) for line in (cells, cells.values())]
    sheet.write_text("\n".join(lines))
    outdir = f"out {EVIL}"
    work = launch.path / "wo'rk \" (1); touch X"
    words = (
        *("--input", sheet.name, "--outdir", outdir, "-work-dir", work),
        *("--mode", "2d", "--diameter", 12, "--single_task", "false"),
    )
    run = launch.done(*words, "--table", "csv,h5ad", "--mask_tiff", "mask.tif")
    assert "WARN" not in run.said
    out = launch.path / outdir / str(cells["sample"])
    tables = {"cells.csv", "cells.h5ad"}
    written = {"labels.zarr", *tables, "mask.tif", "provenance.json", "picture.png"}
    assert {p.name for p in out.iterdir()} == written
    whole = segment(
        cells["image"],
        tmp_path / "whole",
        *("--model", tmp_path / "net.pth", "--region", mask),
        *("--markers", cells["markers"], "--channels", cells["channels"]),
        *("--mode", "2d", "--diameter", 12),
    )
    assert results(out) == whole

    assert not told_secret(launch)

    # fewer results: the others are of an earlier run, but not all that its record names is
    victim = out.parent / "victim.tif"
    victim.touch()
    record = unsealed((out / "provenance.json").read_text(), out)
    record["masks"] += ["../victim.tif", str(victim), "picture.png"]
    record["thumbnails"] = ".."
    (out / "provenance.json").write_text(json.dumps(sealed(record)))
    run = launch.done(*words, "--table", "csv", "-resume")
    removed = "removed files of an earlier run that this one does not write: cells.h5ad, mask.tif"
    assert f"{out}: {removed}" in run.said.splitlines()
    assert {p.name for p in out.iterdir()} == written - {"cells.h5ad", "mask.tif"}
    assert victim.exists() and results(out) == whole
    assert not touched(launch)


def told_secret(launch: Launch) -> list[Path]:
    """Files that Nextflow shows or keeps of a run, and results, in which the credentials stand."""
    kept = [p for name in ("command.*", "nextflow.log*") for p in launch.path.rglob(f".{name}")]
    results = [p for p in launch.path.glob("out*/**/*") if p.suffix in (".json", ".html", ".txt")]
    shown = [p for p in (*kept, *results, *launch.path.glob("*.log")) if p.name != ".command.in"]
    names = {".command.sh", ".command.run", "trace.txt", "report.html", "provenance.json"}
    assert names <= {p.name for p in shown}
    return [p for p in shown if p.is_file() and SECRET.encode() in p.read_bytes()]


def test_images_of_odd_names_go_through_all_stages_or_are_refused(launches: Launches) -> None:
    """As stubs; tests/workflow/test_listed_inputs.py has more names, in folders and patterns."""
    launch = launches("odd")
    folder = launch.path / "odd & (1)"
    folder.mkdir()
    names = ("x[1]{1,2}*?", "a b & (c);~#!")
    for name in names:
        (folder / f"{name}.tif").touch()
    for name in ("notes.txt", "other.png"):
        (folder / name).touch()
    run = launch.done("--input", f"{folder.name}/*.tif", "-stub-run")
    assert "WARN" not in run.said
    assert {p.name for p in launch.out.iterdir()} == {*names, "pipeline_info"}
    tables = {"cells.csv", "cells.parquet", "provenance.json"}
    reports = {"report.html", "report.json", "report_mqc.json"}
    for name in names:
        found = {p.name for p in (launch.out / name).iterdir()}
        assert found == {"labels.zarr", "picture.png", *tables, *reports}
    # a stub plans two tasks of each scattered stage, but no conversion
    started = re.findall(r"Submitted process > [\w:]*FOLLOW \((.*) \w+\)", run.said)
    assert sorted(started) == sorted(3 * names) and "CONVERT" not in run.submitted

    (folder / "it's $(touch X).tif").touch()
    run = launch.run("--input", folder.name, "-stub-run")
    assert run.process.returncode != 0 and not run.submitted
    assert "cannot be the name of a sample; got it's $(touch X)" in run.last
    assert not touched(launch)


def test_containers_see_images_of_odd_names_and_behind_links(
    launches: Launches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = launches("containers")
    real = tmp_path / "odd {a,b} $HOME"
    real.mkdir()
    (real / "image.tif").touch()
    (launch.path / "link.tif").symlink_to(real / "image.tif")
    # a stand-in for the engine: what it is called with is what is looked at
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{tmp_path}/called'\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = launch.run("--input", "link.tif", "-with-docker", "image", "-stub-run")
    assert run.submitted == {"CHECK"}
    called = (tmp_path / "called").read_text().splitlines()
    mounted = [Path(b.partition(":")[0]) for a, b in pairwise(called) if a == "-v"]
    assert any(real.is_relative_to(path) for path in mounted), called
    (asked,) = launch.work.glob("*/*/.command.in")
    folder, command, address, *_ = shlex.split(asked.read_text())
    assert (folder, command, address) == ("out1", "check", f"{real}/image.tif")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--simulate", "8,32,32; touch X; false"),
            "simulate: got 8,32,32; touch X; false, allowed: Z,Y,X in voxels, such as 48,160,160",
        ),
        (
            ("--input", "x.tif", "--outdir", "out\ntouch X"),
            "outdir: got 'out\\ntouch X', allowed: no control characters",
        ),
        (
            ("--input", "x.tif", "--markers", "a\ttouch X"),
            "markers: got 'a\\ttouch X', allowed: no control characters",
        ),
        (
            ("--input", "x.tif", "--publish_mode", "move; touch X"),
            "publish_mode: got move; touch X, allowed: copy, link, move, symlink, rellink",
        ),
        (
            ("--simulate", "8,0,32"),
            "simulate: got 8,0,32, allowed: Z,Y,X in voxels, such as 48,160,160",
        ),
        (("--input", "x.tif", "--outdir"), "outdir: got no value, or true; allowed: a name"),
        (
            ("--input", "x.tif", "--container", "image"),
            "container: got image, and no profile that runs it; allowed: with -profile docker, "
            "podman, apptainer, singularity, charliecloud, or that of a cloud service",
        ),
        (
            ("--input", "x.tif", "-work-dir", "work$(touch X)"),
            "work-dir: work$(touch X) cannot be used by Nextflow; got $ in its path; "
            "rename a folder",
        ),
    ],
    ids=[
        *("simulate", "outdir", "markers", "publish_mode", "zero", "no value", "no engine"),
        "work-dir",
    ],
)
def test_values_that_are_refused(launches: Launches, words: tuple[str, ...], sentence: str) -> None:
    launch = launches("refused")
    run = launch.run(*words)
    assert run.process.returncode != 0 and not run.submitted
    assert run.last.replace(f"{launch.path}/", "") == f"terapose: {sentence}"
    assert not touched(launch)


def test_hard_links_into_another_file_system_are_refused_at_once(launches: Launches) -> None:
    launch = launches("disks")
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == launch.path.stat().st_dev:
        pytest.skip("no second file system")
    with TemporaryDirectory(dir=memory) as other:
        given = ("--input", "x.tif", "--outdir", f"{other}/out")
        run = launch.run(*given, "--publish_mode", "link")
        assert not run.submitted and not [*Path(other).rglob("*.partial")]
    assert run.last == (
        f"terapose: publish_mode: got link, but there can be no hard links in {other}/out to files "
        f"in {launch.work} (Invalid cross-device link); choose a work folder on the same disk "
        "(-work-dir), or copy or move, which also work between disks"
    )
    assert not [*launch.work.rglob("*.partial")]


def test_workflow_in_a_folder_that_nextflow_does_not_quote(launches: Launches) -> None:
    launch = launches("project")
    launch.workflow = copy_of_workflow(launch.path / 'work"flow $(touch X)')
    run = launch.run("--input", "x.tif")
    assert run.process.returncode != 0 and not run.submitted
    assert 'cannot be used by Nextflow; got " $ in its path; rename a folder' in run.last
    assert not touched(launch)
