"""MCMICRO's own workflow with Terapose as its segmenter, on both routes, and what reads its table.

Runs where MCMICRO_HOME names a checkout of labsyspharm/mcmicro, and MCQUANT_HOME one of
labsyspharm/quantification or `mcquant` is on PATH. The files are those of docs/mcmicro.md, which
take segmentation out of its container; here quantification leaves its own, too. SCIMAP_PYTHON may
name a Python that has scimap: then scimap itself loads the table.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tests.synthetic import nuclei
from tests.workflow.launch import PATIENCE, ROOT, environment, needs_engine, program

pytestmark = pytest.mark.slow

MARKERS = ("DNA 1", "CD3", "PD-1")
SAMPLE = "core-7"
CUTS = (
    *(("", ""), ("1,40,50", ""), ("1,45,110", 2), ("1,90,55", 1), ("1,31,29", 1)),
    *(("1,17,110", 1), ("1,90,13", 1), ("1,64,64", 1), ("1,23,71", 1), ("1,89,109", 1)),
)
"""Shapes of blocks, and the most tasks of a stage: with one, all stages are one task."""
PAGE = ROOT / "docs" / "mcmicro.md"
SCIMAP = """
import sys, scimap
cells = scimap.pp.mcmicro_to_scimap([sys.argv[1]], remove_dna=False)
print("loaded", cells.n_obs, ",".join(cells.var_names))
"""


def block(language: str) -> str:
    """The file that the page gives in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def checkout(variable: str, file: str) -> Path | None:
    """The checkout that an environment variable names, if it is one."""
    place = os.environ.get(variable)
    if not place:
        return None
    assert (Path(place) / file).is_file(), f"{variable}={place}: there is no {file}"
    return Path(place)


@pytest.fixture(scope="module")
def mcmicro() -> Path:
    found = checkout("MCMICRO_HOME", "main.nf")
    if found is None:
        pytest.skip("MCMICRO_HOME names no checkout of labsyspharm/mcmicro")
    needs_engine()
    return found / "main.nf"


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which tasks find `terapose` and `mcquant`."""
    folder = tmp_path_factory.mktemp("commands")
    program(folder / "terapose", sys.executable, ROOT / "bin" / "terapose.py")
    home = checkout("MCQUANT_HOME", "mcquant/cli.py")
    if home is not None:
        start = (
            f"import sys; sys.path.insert(0, {str(home)!r}); from mcquant.cli import main; main()"
        )
        program(folder / "mcquant", sys.executable, "-c", start)
    elif shutil.which("mcquant") is None:
        pytest.skip("MCQUANT_HOME names no checkout of labsyspharm/quantification, no mcquant here")
    # mcmicro is written in the syntax that newer engines call v1
    known = {**environment(), "NXF_SYNTAX_PARSER": "v1"}
    return {**known, "PATH": f"{folder}{os.pathsep}{known['PATH']}"}


@pytest.fixture(scope="module")
def slide() -> np.ndarray:
    """Three channels with different nuclei, (C, Y, X)."""
    return np.stack([nuclei((3, 90, 110), seed=n)[0][1] for n in range(len(MARKERS))])


def project(folder: Path, slide: np.ndarray, params: str) -> Path:
    """A project as MCMICRO leaves it after registration."""
    (folder / "registration").mkdir(parents=True)
    image = folder / "registration" / f"{SAMPLE}.ome.tif"
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.65, "PhysicalSizeY": 0.65}
    tifffile.imwrite(image, slide, metadata=metadata, tile=(64, 64), photometric="minisblack")
    lines = [f"{n},1,{name}" for n, name in enumerate(MARKERS, 1)]
    (folder / "markers.csv").write_text("\n".join(["channel_number,cycle,marker_name", *lines]))
    (folder / "params.yml").write_text(params)
    return folder


def nextflow(launch: Path, environ: dict[str, str], *words: object) -> str:
    """Run Nextflow in a folder; it has to succeed. Returns what it said."""
    launch.mkdir(exist_ok=True)
    command = ["nextflow", "run", "-ansi-log", "false", *map(str, words)]
    done = subprocess.run(
        command, cwd=launch, env=environ, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_mcmicro(main: Path, folder: Path, environ: dict[str, str], *words: object) -> str:
    """Run MCMICRO on a project, with the page's configuration."""
    tools = environ["PATH"].partition(os.pathsep)[0]
    config = block("groovy").replace("/path/to/terapose/.venv/bin", tools)
    file = folder.parent / "terapose.config"
    file.write_text(
        f"{config}process.memory = 2.GB\nprocess {{ withName: mcquant {{ container = null }} }}\n"
    )
    return nextflow(folder.parent / "launch", environ, main, "-c", file, "--in", folder, *words)


@pytest.fixture(scope="module")
def segmented(
    mcmicro: Path,
    commands: dict[str, str],
    slide: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A project that MCMICRO took from registration to the table, with Terapose on one node."""
    params = block("yaml").replace("segmentation-channel: 1", "segmentation-channel: 2")
    folder = project(tmp_path_factory.mktemp("one") / "project", slide, params)
    run_mcmicro(mcmicro, folder, commands)
    return folder


def mask_of(folder: Path) -> Path:
    return folder / "segmentation" / f"terapose-{SAMPLE}" / "cell.ome.tif"


def table_of(folder: Path) -> Path:
    return folder / "quantification" / f"{SAMPLE}--terapose_cell.csv"


def test_masks_pictures_and_the_call(segmented: Path, slide: np.ndarray) -> None:
    mask = tifffile.imread(mask_of(segmented))
    assert mask.dtype == np.uint32 and mask.shape == slide.shape[1:]
    cells = int(mask.max())
    assert cells > 5
    np.testing.assert_array_equal(np.unique(mask), np.arange(cells + 1))
    # the second channel, counted from 1: bright where the cells are
    means = [float(plane[mask > 0].mean() - plane[mask == 0].mean()) for plane in slide]
    assert means[1] == max(means)
    # nothing but the mask, and what is kept of the rest lies in qc
    assert [p.name for p in mask_of(segmented).parent.iterdir()] == ["cell.ome.tif"]
    kept = {p.name for p in (segmented / "qc" / "terapose" / SAMPLE).iterdir()}
    assert kept == {"outlines.png", "cells.csv", "cells.parquet", "provenance.json"}
    call = (segmented / "qc" / "provenance" / "terapose-1.sh").read_text()
    words = f"terapose segment --outdir . --input {SAMPLE}.ome.tif --channel 2 --diameter 12"
    assert words in " ".join(call.split())


def test_the_table_is_of_all_cells_and_markers(segmented: Path, slide: np.ndarray) -> None:
    table = pd.read_csv(table_of(segmented))
    mask = tifffile.imread(mask_of(segmented))
    np.testing.assert_array_equal(table["CellID"], np.arange(1, mask.max() + 1))
    # scimap takes what stands before X_centroid for markers
    markers = [*table.columns[: table.columns.get_loc("X_centroid")]]
    assert markers == ["CellID", *MARKERS]
    sizes = np.bincount(mask.ravel())[1:]
    np.testing.assert_array_equal(table["Area"], sizes)
    for name, plane in zip(MARKERS, slide, strict=True):
        sums = np.bincount(mask.ravel(), plane.ravel().astype(float))[1:]
        np.testing.assert_allclose(table[name], sums / sizes)


def test_scimap_loads_the_table(segmented: Path) -> None:
    python = os.environ.get("SCIMAP_PYTHON")
    if not python:
        pytest.skip("SCIMAP_PYTHON names no Python with scimap")
    command = [python, "-c", SCIMAP, str(table_of(segmented))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    cells = len(pd.read_csv(table_of(segmented)))
    assert f"loaded {cells} {','.join(MARKERS)}" in done.stdout


def test_reentry_after_a_distributed_run(
    mcmicro: Path, commands: dict[str, str], segmented: Path, slide: np.ndarray, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", slide, "workflow: {}\n")
    images = folder / "registration" / "*.ome.tif"
    words = ("--outdir", folder, "--publish_layout", "mcmicro", "--diameter", 12)
    channel = ("--markers", folder / "markers.csv", "--channels", MARKERS[1])
    cut = ("--block_shape", "1,40,50", "--slab_planes", 1)
    nextflow(tmp_path / "launch", commands, ROOT, "--input", images, *words, *channel, *cut)
    # the distributed run gives the bytes of the run on one node
    assert mask_of(folder).read_bytes() == mask_of(segmented).read_bytes()
    said = run_mcmicro(mcmicro, folder, commands, "--start-at", "quantification")
    assert "mcquant" in said and "worker" not in said
    assert table_of(folder).read_bytes() == table_of(segmented).read_bytes()


def test_ten_cuts_give_the_mask_of_one_node(
    segmented: Path, commands: dict[str, str], slide: np.ndarray, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", slide, "workflow: {}\n")
    image = folder / "registration" / f"{SAMPLE}.ome.tif"
    rows = [f'cut-{n},{image},"{shape}",{tasks}' for n, (shape, tasks) in enumerate(CUTS)]
    sheet = tmp_path / "samples.csv"
    sheet.write_text("\n".join(["sample,image,block_shape,max_tasks", *rows]))
    words = ("--outdir", folder, "--publish_layout", "mcmicro", "--diameter", 12, "--channels", 2)
    nextflow(tmp_path / "launch", commands, ROOT, "--input", sheet, *words)
    masks = [*folder.glob("segmentation/terapose-cut-*/cell.ome.tif")]
    assert len(masks) == len(CUTS) == 10
    assert {mask.read_bytes() for mask in masks} == {mask_of(segmented).read_bytes()}


def test_a_hyphen_in_the_name_of_the_module(
    mcmicro: Path, commands: dict[str, str], slide: np.ndarray, tmp_path: Path
) -> None:
    """docs/mcmicro.md warns of it: MCMICRO then finishes without a table, and says nothing."""
    params = re.sub(r"terapose(?! segment)", "tera-pose", block("yaml"))
    folder = project(tmp_path / "project", slide, params)
    said = run_mcmicro(mcmicro, folder, commands)
    assert "worker" in said and "mcquant" not in said
    assert not table_of(folder).parent.exists()
