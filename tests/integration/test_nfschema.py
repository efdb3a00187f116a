"""nf-schema itself reads nextflow_schema.json: checks, a summary and help by it.

Runs where NFSCHEMA_HOME names a clone of nextflow-io/nf-schema with its tags. The plugin is
compiled from it, with the libraries that it names from Maven, and loaded by the Nextflow of `make
engine`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.workflow.launch import PATIENCE, ROOT, called, environment, needs_engine

HOME = os.environ.get("NFSCHEMA_HOME")
VERSION = "2.3.0"
"""The newest that Nextflow 24.10 loads and that was tried."""
ENGINE = ROOT / ".engine" / "nextflow-24.10.0"
COMPILER = "org.codehaus.groovy.tools.FileSystemCompiler"
PIPELINE = """
include { validateParameters; paramsSummaryLog } from 'plugin/nf-schema'
workflow {
    validateParameters()
    print paramsSummaryLog(workflow)
}
"""
CONFIG = f"""
plugins {{ id 'nf-schema@{VERSION}' }}
validation {{
    monochromeLogs = true
    failUnrecognisedParams = true
    help.enabled = true
}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HOME, reason="NFSCHEMA_HOME names no clone of nextflow-io/nf-schema"),
    pytest.mark.skipif(not ENGINE.is_dir(), reason="no jars of Nextflow 24.10.0: make engine"),
    pytest.mark.skipif(not shutil.which("mvn"), reason="no Maven client"),
]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Nextflow's plugins with this one."""
    work = tmp_path_factory.mktemp("nf-schema")
    called("git", "archive", "--output", work / "a.tar", VERSION, cwd=Path(str(HOME)))
    shutil.unpack_archive(work / "a.tar", work / "clone", filter="data")
    home = work / "clone" / "plugins" / "nf-schema"
    plugin = work / "plugins" / f"nf-schema-{VERSION}"
    named = re.findall(r"^ +implementation '([^']+)'", (home / "build.gradle").read_text(), re.M)
    assert len(named) == 3
    for name in named:
        out = f"-DoutputDirectory={plugin / 'lib'}"
        called("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={name}", out, cwd=work)
    shutil.copytree(home / "src" / "resources", plugin / "classes")
    path = f"{ENGINE}/*{os.pathsep}{plugin / 'lib'}/*"
    scripts = sorted((home / "src" / "main").rglob("*.groovy"))
    called("java", "-cp", path, COMPILER, "-d", plugin / "classes", *scripts, cwd=work)
    return plugin.parent


class Said:
    """What the pipeline prints when it is called with these words."""

    def __init__(self, folder: Path, plugins: Path) -> None:
        self._folder, self._plugins = folder, plugins

    def __call__(self, *words: str, code: int = 0) -> str:
        home = {"NXF_PLUGINS_DIR": str(self._plugins), "NXF_HOME": str(self._folder / "engine")}
        done = subprocess.run(
            ["nextflow", "run", ".", *words],
            cwd=self._folder,
            env={**environment(), **home, "NXF_OFFLINE": "true"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def said(plugins: Path, tmp_path: Path) -> Said:
    """A pipeline of two calls that has this repository's schema."""
    needs_engine()
    shutil.copy(ROOT / "nextflow_schema.json", tmp_path)
    (tmp_path / "main.nf").write_text(PIPELINE)
    (tmp_path / "nextflow.config").write_text(CONFIG)
    return Said(tmp_path, plugins)


def test_parameters_are_taken_and_summed_up(said: Said) -> None:
    summary = said("--input", "a.tif", "--diameter", "12", "--voxel_size", "2,0.5,0.5")
    for group, name, value in (
        ("Workflow (nextflow run only)", "input", "a.tif"),
        ("Image", "voxel_size", "2,0.5,0.5"),
        ("Network", "diameter", "12"),
    ):
        _, found, lines = summary.partition(f"\n{group}\n")
        assert found
        assert re.search(rf"^  {name} *: {value}$", lines.partition("\n\n")[0], re.MULTILINE)


def test_lists_and_numbers_of_a_file_are_taken(said: Said, tmp_path: Path) -> None:
    text = '{"input": "a.tif", "diameter": 7.5, "channels": [1, "DNA"], "voxel_size": [2, 0.5, 1]}'
    (tmp_path / "params.json").write_text(text)
    assert re.search(r"^  channels *: \[1, DNA\]$", said("-params-file", "params.json"), re.M)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--diametre", "3"), "* --diametre: 3"),
        (("--diameter", "big"), "* --diameter (big): "),
        (("--tile_overlap", "7"), "* --tile_overlap (7): 7 is greater than 0.5"),
        (("--mode", "4d"), "* --mode (4d): "),
    ],
)
def test_what_is_wrong_is_refused(said: Said, words: tuple[str, ...], fault: str) -> None:
    assert fault in said("--input", "a.tif", *words, code=1)


def test_help_lists_the_groups(said: Said) -> None:
    page = said("--help")
    for name in (
        "Workflow (nextflow run only)",
        "Image",
        "Network",
        "--voxel_size",
        "--publish_mode",
    ):
        assert name in page
