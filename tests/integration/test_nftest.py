"""nf-test itself on the tests of the module in contrib/nf-core, against their snapshot.

Runs where NFTEST_JAR names `nf-test.jar`, made by `mvn package` in a clone of askimed/nf-test, and
TERAPOSE_DATA (or ../shared/data) has the slide that these tests read.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workflow.launch import PATIENCE, ROOT, environment, needs_engine, program
from tests.workflow.test_nfcore_module import FIELDS, MODULE

JAR = os.environ.get("NFTEST_JAR")
CONFIG = """
config {
    testsDir = "."
    workDir = ".nf-test"
    configFile = "settings.config"
}
"""
SETTINGS = """
params.modules_testdata_base_path = 'FOLDER/data/'
process {
    cpus = 1
    memory = 3.GB
}
"""
# Nextflow 24.10 needs the flag in the script that includes the module, which nf-test writes
ENGINE = """#!/bin/sh
for word in "$@"; do
    case "$word" in *.nf) sed -i '1i nextflow.preview.topic = true' "$word" ;; esac
done
exec NEXTFLOW "$@"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not JAR, reason="NFTEST_JAR names no nf-test.jar"),
    pytest.mark.skipif(not FIELDS.exists(), reason=f"no {FIELDS}"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the snapshot is of x86-64"),
]


def test_the_tests_of_the_module_pass(tmp_path: Path) -> None:
    needs_engine()
    shutil.copytree(MODULE, tmp_path / "segment")
    data = tmp_path / "data" / "imaging" / "ome-tiff"
    data.mkdir(parents=True)
    shutil.copy(FIELDS, data)
    (tmp_path / "nf-test.config").write_text(CONFIG)
    (tmp_path / "settings.config").write_text(SETTINGS.replace("FOLDER", str(tmp_path)))
    commands = tmp_path / "commands"
    commands.mkdir()
    program(commands / "terapose", sys.executable, ROOT / "bin" / "terapose.py")
    known = environment()
    engine = shutil.which("nextflow", path=known["PATH"])
    (commands / "nextflow").write_text(ENGINE.replace("NEXTFLOW", str(engine)))
    (commands / "nextflow").chmod(0o755)
    known["PATH"] = f"{commands}{os.pathsep}{known['PATH']}"
    # with --ci a snapshot that is missing fails, and none is written
    words = ["java", "-jar", str(JAR), "test", "segment/tests/main.nf.test", "--ci", "--verbose"]
    done = subprocess.run(
        words, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=3 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Executed 3 tests" in done.stdout
    noted = "tests/main.nf.test.snap"
    assert (tmp_path / "segment" / noted).read_text() == (MODULE / noted).read_text()
