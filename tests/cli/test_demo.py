"""`make demo` as it calls the workflow: with the demo's parameters, or none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# stands for Nextflow: notes its words, and leaves a result
NEXTFLOW = """#!/bin/sh
for word in "$@"; do echo "$word"; done > "{words}"
mkdir -p "{outdir}/sample"
echo '{{}}' > "{outdir}/sample/provenance.json"
"""


def demo(tmp_path: Path, *words: object) -> tuple[list[str], str]:
    """Run the demo; the words that Nextflow was called with, and what was printed."""
    nextflow = tmp_path / "bin" / "nextflow"
    nextflow.parent.mkdir()
    nextflow.write_text(NEXTFLOW.format(words=tmp_path / "words", outdir=tmp_path / "out"))
    nextflow.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "demo.py", "--outdir", "out", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{nextflow.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return (tmp_path / "words").read_text().splitlines(), done.stdout


def test_the_simulated_volume_has_its_parameters(tmp_path: Path) -> None:
    words, said = demo(tmp_path)
    assert words[words.index("-params-file") + 1] == str(ROOT / "params.json")
    assert "--input" not in words and "diameter" not in said
    assert set(json.loads((ROOT / "params.json").read_text())) >= {"simulate", "diameter"}
    assert f"labels:  {tmp_path / 'out' / 'sample' / 'labels.zarr'}\n" in said


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("my.tif", "{0}/my.tif"),
        ("a b/[1] my.tif", "{0}/a b/[1] my.tif"),
        ("data/*.tif", "{0}/data/*.tif"),
        ("/data/my.zarr", "/data/my.zarr"),
        ("s3://bucket/my.zarr", "s3://bucket/my.zarr"),
    ],
)
def test_an_image_of_ones_own_has_none_of_them(tmp_path: Path, image: str, expected: str) -> None:
    words, said = demo(tmp_path, "--input", image)
    assert "-params-file" not in words and not any("diameter" in word for word in words)
    assert words[words.index("--input") + 1] == expected.format(tmp_path)
    assert said.startswith("no diameter is given: it is looked for in the image")


@pytest.mark.parametrize("given", [["--diameter", "12"], ["--diameter=12"]])
def test_its_diameter_is_passed_on(tmp_path: Path, given: list[str]) -> None:
    words, said = demo(tmp_path, "--input", "my.tif", *given)
    assert words[-len(given) :] == given and "no diameter" not in said
