"""The module of contrib/nf-core by nf-core's own rules, and in nf-core/mcmicro.

`nf-core modules lint` runs on it in a folder laid out as nf-core/modules is.
`make test-integration` runs it where NFCORE_MODULES_HOME names a clone of nf-core/modules, whose
schemas and settings it takes. It installs nf-core's tools in an environment of their own, in the
folder that TERAPOSE_NFCORE names. They fetch nf-core/modules to begin with; here a repository with
this one module stands in its place, so nothing is needed from the network. Containers they resolve
with Nextflow from 25.04.4 on: with an older one, these two tests fail and say so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.asked import only_if_asked
from tests.workflow.launch import PATIENCE, ROOT, called, environment, needs_engine

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(shutil.which("git") is None, reason="no git"),
]

TOOLS = "nf-core==4.2.1"
CONTAINERS = {"docker_tag", "singularity_tag"}
INSPECTS = (25, 4, 4)
SHARED = (".nf-core.yml", "modules/environment-schema.json", "modules/meta-schema.json", "tests")
"""What every module of nf-core/modules needs."""
ORIGIN = "https://github.com/nf-core/modules.git"


@pytest.fixture(scope="module")
def modules_home() -> Path:
    """A clone of nf-core/modules, with or without its files."""
    named = os.environ.get("NFCORE_MODULES_HOME")
    if not named:
        pytest.skip("NFCORE_MODULES_HOME names no clone of nf-core/modules")
    return Path(named)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `nf-core`."""
    named = os.environ.get("TERAPOSE_NFCORE")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("tools")
    if not (folder / "bin" / "nf-core").exists():
        called(sys.executable, "-m", "venv", folder)
        words = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", TOOLS)
        done = subprocess.run([*map(str, words)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{TOOLS} cannot be installed: {done.stderr[-300:]}")
    return folder / "bin" / "nf-core"


def test_the_module_passes(modules_home: Path, tools: Path, tmp_path: Path) -> None:
    needs_engine()
    remote = tmp_path / "remote"
    shutil.copytree(ROOT / "contrib" / "nf-core" / "modules", remote / "modules")
    called("git", "init", "--quiet", "--initial-branch", "master", remote)
    shared = tmp_path / "shared.tar"
    called("git", "archive", "--output", shared, "HEAD", "--", *SHARED, cwd=modules_home)
    shutil.unpack_archive(shared, remote, filter="data")
    called("git", "add", "--all", cwd=remote)
    author = ("-c", "user.name=terapose", "-c", "user.email=terapose@localhost")
    called("git", *author, "commit", "--quiet", "--message", "module", cwd=remote)
    # where the tools keep what they have fetched, and where they are to look
    config = tmp_path / "config"
    called("git", "clone", "--quiet", remote, config / "nfcore" / "nf-core" / "modules")
    called("git", "clone", "--quiet", remote, tmp_path / "clone")
    called("git", "remote", "set-url", "origin", ORIGIN, cwd=tmp_path / "clone")
    words = (tools, "modules", "lint", "--dir", ".", "--plain-text", "terapose/segment")
    known = {
        **{name: value for name, value in environment().items() if name != "PYTHONPATH"},
        **{"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(config), "NO_COLOR": "1"},
        **{"XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "150"},
    }
    done = subprocess.run(
        [*map(str, words)],
        cwd=tmp_path / "clone",
        env=known,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    said = done.stdout + done.stderr
    passed = re.search(r"(\d+) Tests? Passed", said)
    assert passed and int(passed[1]) >= 46, said
    _, _, failures = said.partition("Tests Failed\n")
    failed = set(re.findall(r"^terapose/segment (\w+)$", failures, re.MULTILINE))
    assert failed == (set() if _version(known) >= INSPECTS else CONTAINERS), said


def test_the_lines_for_mcmicro_fit(tmp_path: Path) -> None:
    """Those of the README, in the files of a clone of nf-core/mcmicro 2.0.0."""
    named = os.environ.get("NFCORE_MCMICRO_HOME")
    if not named:
        pytest.skip("NFCORE_MCMICRO_HOME names no clone of nf-core/mcmicro")
    needs_engine()
    shared = tmp_path / "shared.tar"
    called("git", "archive", "--output", shared, "HEAD", cwd=Path(named))
    home = tmp_path / "mcmicro"
    shutil.unpack_archive(shared, home, filter="data")
    page = (ROOT / "contrib" / "nf-core" / "README.md").read_text().partition("## In nf-core")[2]
    include, call, settings = re.findall(r"```groovy\n(.*?)```", page, re.DOTALL)
    pattern = re.search(r'```json\n("pattern": .*?),\n```', page)
    assert pattern
    flow, config = home / "workflows" / "mcmicro.nf", home / "conf" / "modules.config"
    _replace(flow, "include { MCQUANT ", f"{include}include {{ MCQUANT ")
    _replace(flow, "    // Run Quantification\n", f"{call}\n    // Run Quantification\n")
    _replace(config, '    withName: "CELLPOSE" {', f'{settings}\n    withName: "CELLPOSE" {{')
    module = ROOT / "contrib" / "nf-core" / "modules" / "nf-core" / "terapose"
    shutil.copytree(module, home / "modules" / "local" / "terapose")
    # a mask of every segmenter goes on to MCQuant, under the name of the segmenter
    text = flow.read_text()
    declared = 'tuple val(meta), path("*_mask.ome.tif"), emit: mask'
    assert declared in (module / "segment" / "main.nf").read_text()
    assert text.count("ch_masks = ch_masks.mix(") == 3
    assert "quantification/mcquant/${meta2.segmenter}" in config.read_text()
    known = {**environment(), "NXF_HOME": str(tmp_path / "engine")}
    shown = called("nextflow", "config", home, env=known)
    assert "segmentation = 'mesmer'" in shown
    told = r"withName:'?TERAPOSE_SEGMENT'? \{\s+ext \{\s+args = '--channels 1"
    assert re.search(told, shown), shown
    schema = json.loads((home / "nextflow_schema.json").read_text())
    old = _pattern(schema)
    (new,) = json.loads(f"{{{pattern[1]}}}").values()
    for names in ("terapose", "mesmer,terapose", "cellpose,mesmer", "mesmer"):
        assert re.fullmatch(new, names) and bool(re.fullmatch(old, names)) != ("terapose" in names)
    assert not re.fullmatch(new, "terapose,") and not re.fullmatch(new, "other")


def _pattern(schema: dict[str, Any]) -> str:
    (found,) = (
        group["properties"]["segmentation"]["pattern"]
        for group in schema.get("$defs", schema.get("definitions", {})).values()
        if "segmentation" in group["properties"]
    )
    return str(found)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new))


def _version(known: dict[str, str]) -> tuple[int, ...]:
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", called("nextflow", "-version", env=known))
    assert found
    return tuple(map(int, found.groups()))
