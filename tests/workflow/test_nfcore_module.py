"""The module in contrib/nf-core, included by a workflow as its README says: stub and real runs."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from tests.synthetic import nuclei
from tests.workflow.conftest import Launches
from tests.workflow.launch import ROOT, Launch, program, segment

import terapose
from terapose.io.labels.ome_zarr import open_level

pytestmark = pytest.mark.slow

MODULE = ROOT / "contrib" / "nf-core" / "modules" / "nf-core" / "terapose" / "segment"
FIELDS = (
    Path(os.environ.get("TERAPOSE_DATA", ROOT / "../shared/data"))
    / "slide_tonsil"
    / "cycif-tonsil-cycle1.ome.tif"
)
"""The same file as nf-core's, nine fields of view."""
# the topic is a preview in 24.10, and no more from 25.04 on
SCRIPT = f"""
nextflow.preview.topic = true
include {{ TERAPOSE_SEGMENT }} from '{MODULE}/main'
include {{ TERAPOSE_SEGMENT as EXPANDED }} from '{MODULE}/main'
workflow {{
    slide = channel.of([[id: 'slide'], file(params.image)])
    TERAPOSE_SEGMENT(slide, [])
    EXPANDED(slide, file(params.network))
    channel.topic('versions').view {{ process, tool, version -> "$process ran $tool $version." }}
}}
"""
CONFIG = """
process {
    publishDir = [path: { "${params.outdir}/${task.process}" }, mode: 'copy']
    beforeScript = 'export PATH=COMMANDS:$PATH'
    cpus = 1
    memory = 3.GB
    withName: 'TERAPOSE_SEGMENT' {
        ext.args = '--channels 2'
    }
    withName: 'EXPANDED' {
        ext.args = '--channels 2 --expand 2 --table csv,h5ad'
        ext.prefix = 'grown'
    }
}
"""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plane of two channels."""
    planes = np.stack([nuclei((3, 90, 110), seed=n)[0][1] for n in range(2)])
    path = tmp_path_factory.mktemp("slide") / "plane.ome.tif"
    tifffile.imwrite(path, planes, metadata={"axes": "CYX"}, photometric="minisblack")
    return path


@pytest.fixture
def launch(launches: Launches, slide: Path, request: pytest.FixtureRequest) -> Launch:
    """A folder with a workflow that includes the module twice."""
    launch = launches(request.node.name)
    commands = launch.path / "commands"
    commands.mkdir()
    program(commands / "terapose", sys.executable, ROOT / "bin" / "terapose.py")
    launch.workflow = launch.path / "main.nf"
    launch.workflow.write_text(SCRIPT)
    config = CONFIG.replace("COMMANDS", str(commands))
    (launch.path / "nextflow.config").write_text(config)
    return launch


def words(slide: Path) -> tuple[object, ...]:
    return "--image", slide, "--network", ROOT / "assets" / "nuclei-large.pth"


def test_stub(launch: Launch, slide: Path) -> None:
    run = launch.done(*words(slide), "-stub")
    names = {"labels.zarr", "mask.ome.tif", "cells.csv", "provenance.json"}
    for process, prefix in (("TERAPOSE_SEGMENT", "slide"), ("EXPANDED", "grown")):
        found = {path.name for path in (launch.out / process).iterdir()}
        assert found == {f"{prefix}_{name}" for name in names}
        assert f"{process} ran terapose {terapose.__version__}." in run.said
    _assert_snapshot(launch.out / "TERAPOSE_SEGMENT")


def _assert_snapshot(out: Path) -> None:
    """What nf-test will compare is what the stub leaves, as nf-test writes it, and the version."""

    def told(path: Path) -> object:
        if path.is_dir():
            return [told(one) for one in sorted(path.iterdir())]
        return f"{path.name.replace('slide_', 'test_')}:md5,{md5(path.read_bytes()).hexdigest()}"

    snapshot = json.loads((MODULE / "tests" / "main.nf.test.snap").read_text())
    versions = [["TERAPOSE_SEGMENT", "terapose", terapose.__version__]]
    assert snapshot["versions"]["content"] == [{"versions_terapose": versions}]
    (content,) = snapshot["cycif tonsil - stub"]["content"]
    meta: dict[str, Any] = yaml.safe_load((MODULE / "meta.yml").read_text())
    for number, (name, channel) in enumerate(meta["output"].items()):
        assert content[str(number)] == content[name]
        if name == "versions_terapose":
            assert content[name] == versions
            continue
        (pattern,) = channel[0][-1]
        assert content[name] == [[{"id": "test"}, told(one)] for one in out.glob(pattern)], name
    assert len(content) == 2 * len(meta["output"])


def test_the_module_gives_what_the_command_gives(
    launch: Launch, slide: Path, tmp_path: Path
) -> None:
    run = launch.done(*words(slide))
    assert f"TERAPOSE_SEGMENT ran terapose {terapose.__version__}." in run.said

    out = launch.out / "TERAPOSE_SEGMENT"
    given = ("--channels", 2, "--diameter", "auto", "--model", "auto")
    _, table = segment(slide, tmp_path / "command", *given)
    labels = np.asarray(open_level(str(tmp_path / "command" / "labels.zarr"), 0)[:])
    mask = tifffile.imread(out / "slide_mask.ome.tif")
    assert mask.dtype == np.uint32
    np.testing.assert_array_equal(mask, labels)
    np.testing.assert_array_equal(np.unique(mask), np.arange(mask.max() + 1))
    assert mask.max() > 5 and (out / "slide_cells.csv").read_bytes() == table
    np.testing.assert_array_equal(open_level(str(out / "slide_labels.zarr"), 0)[:], labels)

    grown = launch.out / "EXPANDED"
    cells, nucleus = (
        tifffile.imread(grown / f"grown_{name}.ome.tif") for name in ("mask", "nucleus")
    )
    np.testing.assert_array_equal(nucleus, labels)
    np.testing.assert_array_equal(cells[labels > 0], labels[labels > 0])
    assert (cells > 0).sum() > (labels > 0).sum()
    assert len(pd.read_csv(grown / "grown_cells.csv")) == labels.max()
    assert (grown / "grown_cells.h5ad").exists()
    record = json.loads((grown / "grown_provenance.json").read_text())
    assert record["model"]["name"] == "nuclei-large.pth"
    # none is given: it is found in the image, here as on the command line
    assert record["diameter"]["origin"] == "found"


@pytest.mark.skipif(not FIELDS.exists(), reason=f"no {FIELDS}")
@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the snapshot is of x86-64: docs/exactness.md"
)
def test_the_snapshot_has_the_checksums_of_the_command(tmp_path: Path) -> None:
    """What nf-test noted of mask and table, with the options of its tests."""
    snapshot = json.loads((MODULE / "tests" / "main.nf.test.snap").read_text())
    tests = (MODULE / "tests" / "main.nf.test").read_text()
    assert FIELDS.name in tests
    first, second = (text.split() for text in re.findall(r"module_args = '(.+)'", tests))
    noted = {name: snapshot[name]["content"] for name in ("mask", "cells", "expanded mask")}
    options = ("--mask-tiff", "mask.ome.tif", "--table", "csv", "--model", "auto")
    for words, name in ((first, "mask"), (second, "expanded mask")):
        out = tmp_path / name
        segment(FIELDS, out, *options, *words)
        mask = md5((out / "mask.ome.tif").read_bytes()).hexdigest()
        assert noted[name] == [[[{"id": "test"}, f"test_mask.ome.tif:md5,{mask}"]]]
    # columns of the network have other last digits on other processors
    table = [line.split(",") for line in (tmp_path / "mask/cells.csv").read_text().splitlines()]
    stable = table[0].index('"CellProbability"')
    text = "\n".join(",".join(cells[:stable]) for cells in table)
    assert noted["cells"] == [md5(text.encode()).hexdigest()]


def test_meta_yml_is_in_step_with_the_module() -> None:
    """Each channel is described under its name, each file under its pattern."""
    text = (MODULE / "main.nf").read_text()
    meta: dict[str, Any] = yaml.safe_load((MODULE / "meta.yml").read_text())
    inputs, outputs = text.split("    output:\n")[0], text.split("    output:\n")[1]
    lines = outputs.split("    when:")[0].strip().splitlines()
    assert list(meta["output"]) == [line.split("emit: ")[1].split(",")[0] for line in lines]
    for line, channel in zip(lines, meta["output"].values(), strict=True):
        described = [name for entry in channel[0] for name in entry]
        assert all(name == "meta" or name in line for name in described), line
    described = [name for entry in (*meta["input"][0], meta["input"][1]) for name in entry]
    assert described == ["meta", "image", "model"]
    assert all(f"{name}" in inputs for name in described)
    assert meta["topics"]["versions"] == meta["output"]["versions_terapose"]
