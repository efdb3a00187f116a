"""The recipe for a normalisation, followed in a copy: a module, and a line in three files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
from tests.synthetic import nuclei, write_tiff
from tests.workflow.launch import copy_of_workflow, environment, network

from terapose.core.normalizing import NORMALIZATIONS
from terapose.core.params import Parameters
from terapose.intermediates.normalizing.modes import MODES
from terapose.io.labels.ome_zarr import open_level

MODULE = '''"""``normalize: minmax``: between the smallest and the largest voxel of the image."""

from terapose.intermediates.normalizing import histograms, limits, unscaled

measure, find = unscaled.measure, unscaled.find
keep, scaled = histograms.keep, limits.scaled
'''
EDITS = {
    "core/params.py": {'"none", "lowhigh"]': '"minmax", '},
    "core/normalizing.py": {
        '    "none": Normal': '    "minmax": Normalization("image", ("invert",)),\n',
    },
    "intermediates/normalizing/modes.py": {
        "planes, tiles, unscaled": "minmax, ",
        '    "none": unscaled,\n': '    "minmax": minmax,\n',
    },
}
"""In front of what, and what is put there."""


def test_all_modes_are_described() -> None:
    modes = get_args(Parameters.model_fields["normalize"].annotation)
    assert {*modes} == {*NORMALIZATIONS} == {*MODES}
    taken = {name for described in NORMALIZATIONS.values() for name in described.takes}
    assert taken <= {*Parameters.model_fields}


def test_a_normalisation_needs_three_files(tmp_path: Path) -> None:
    copy = copy_of_workflow(tmp_path / "workflow")
    package = copy / "bin" / "terapose"
    (package / "intermediates" / "normalizing" / "minmax.py").write_text(MODULE)
    for file, edits in EDITS.items():
        text = (package / file).read_text()
        for before, added in edits.items():
            assert text.count(before) == 1, (file, before)
            text = text.replace(before, added + before)
        (package / file).write_text(text)
    image = nuclei((1, 96, 120), seed=4)[0].astype(np.uint16)
    write_tiff(tmp_path / "image.tif", image)

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, copy / "bin" / "terapose.py", *words]
        return subprocess.run(
            [*map(str, command)], env=environment(), capture_output=True, text=True
        )

    def cells(name: str, *words: object) -> np.ndarray:
        given = ("--model", network(), "--diameter", 17, "--block-shape", "1,40,50", *words)
        done = run("segment", tmp_path / "image.tif", tmp_path / name, *given)
        assert done.returncode == 0, done.stderr
        return np.asarray(open_level(str(tmp_path / name / "labels.zarr"), 0)[:])

    # a region is scaled as it is in the whole image
    part = ("--region", "0:60,0:120")
    found = cells("new", "--normalize", "minmax", *part)
    given = f"{image.min()},{image.max()}"
    assert found.max() > 3
    np.testing.assert_array_equal(
        found, cells("given", "--normalize", "lowhigh", "--lowhigh", given, *part)
    )
    record = json.loads((tmp_path / "new" / "provenance.json").read_text())
    told = record["stages"]["percentiles"]
    assert (told["low"], told["high"]) == ([image.min()], [image.max()])
    # what does not go with it is refused, or said to have no effect
    check = ("check", tmp_path / "image.tif", "--normalize", "minmax", "--model", network())
    refused = run(*check, "--foreground-min", 3)
    assert refused.returncode == 2
    assert "foreground_min: given, allowed: only with normalize 'global' or" in refused.stderr
    said = run(*check, "--percentiles", "2,98")
    assert said.returncode == 0
    assert "percentiles 2.0,98.0 has no effect with normalize minmax" in said.stdout
