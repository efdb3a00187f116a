"""The recipe for an output, followed in a copy: four files by hand, and all else follows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = (
    *("main.nf", "pyproject.toml", "nextflow_schema.json", "bin/terapose", "modules", "tools"),
    *("docs/parameters.md", "docs/hpc.md", "docs/coming-from.md", "docs/architecture.md"),
    *("tests/sources.py", "tests/pipeline/test_graph.py"),
)
PACKAGE = "bin/terapose"
EDITS = {
    f"{PACKAGE}/core/params.py": {
        "    upscale: bool = Field(": (
            '    count_file: bool = Field(False, description="Also write the number of cells.")\n'
        )
    },
    f"{PACKAGE}/pipeline/graph.py": {'"thumbnails", "keep_intermediates"': '"count_file", '},
    f"{PACKAGE}/results/outputs.py": {
        ')\n"""All kinds of results': """\
    Output(
        "counts",
        re.compile("cells[.]txt"),
        lambda params, parts: ["cells.txt"] if params["count_file"] else [],
    ),
"""
    },
    f"{PACKAGE}/stages/finish.py": {
        "    _masks(job, staging, identity)\n": (
            '    if job.params["count_file"]:\n'
            '        (staging / "cells.txt").write_text(f"{job.before.cells}\\n")\n'
        )
    },
}
"""In front of what, and what is put there."""
CHECKS = """
import sys

import pytest
import schema

for words in ([], ["--check"]):
    sys.argv = ["schema.py", *words]
    assert schema.main() == 0

from terapose.core.params import check
from terapose.results.outputs import named, recorded, result_names

params = check({"count_file": True, "table": "csv"})
assert result_names(params) == ["labels.zarr", "cells.csv", "cells.txt"]
assert named(recorded(dict(params), ["cells"])) == ["cells.csv", "cells.txt"]

# tests that make a plan need a network, and tell nothing of an output
words = ["-q", "-p", "no:cacheprovider", "--noconftest", "-k", "not what_runs"]
sys.exit(pytest.main([*words, "tests/pipeline/test_graph.py"]))
"""


def test_an_output_needs_four_files(tmp_path: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    for file, edits in EDITS.items():
        text = (tmp_path / file).read_text()
        for before, added in edits.items():
            assert text.count(before) == 1, (file, before)
            text = text.replace(before, added + before)
        (tmp_path / file).write_text(text)
    paths = [str(tmp_path), *(str(tmp_path / name) for name in ("bin", "tools"))]
    done = subprocess.run(
        [sys.executable, "-c", CHECKS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "nextflow_schema.json").read_text())
    assert "count_file" in document["$defs"]["results"]["properties"]
    page = (tmp_path / "docs" / "parameters.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| `count_file` |")]
    assert row.endswith("| finish |")
