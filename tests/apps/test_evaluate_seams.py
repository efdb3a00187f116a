"""Cells at the seams of a run are as good as any others; cells that were cut there are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from tests.command import Terapose

from terapose.apps.simulate.scene import slide

SIDE, BLOCK = 512, 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated slide, its reference, and results of 64 blocks."""
    from terapose.api.runner import segment_file
    from terapose.core.params import check

    folder = tmp_path_factory.mktemp("seams")
    image, nuclei = slide((SIDE, SIDE), seed=5, diameter=7)  # 14 pixels
    tifffile.imwrite(folder / "slide.tif", image[0])
    tifffile.imwrite(folder / "reference.tif", nuclei.astype(np.uint16))
    params = check(
        {"diameter": 14, "mode": "2d", "model": "nuclei-small", "block_shape": f"1,{BLOCK},{BLOCK}"}
    )
    record = segment_file(str(folder / "slide.tif"), folder / "results", params)
    assert record["block"] == [1, BLOCK, BLOCK]
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Terapose:
    return Terapose(monkeypatch, capsys)


def differences(command: Terapose, run: Path, labels: Path, *words: str) -> dict[str, Any]:
    """What the command says of cells that touch seams alone and of those halfway alone."""
    report = run / "scores.json"
    said = command("evaluate", run / "reference.tif", labels, "--json", report, *words)
    assert said.code == 0, said
    assert "Only seams minus only halfway" in said.out
    found: dict[str, Any] = json.loads(report.read_text())["seams"]
    assert found["only_seams"]["reference"] > 80
    assert found["only_halfway"]["reference"] > 80
    assert found["difference_from_halfway"].keys() == {"recall", "average_precision"}
    return found


def test_a_run_in_64_blocks_has_no_seams(run: Path, command: Terapose) -> None:
    found = differences(command, run, run / "results" / "labels.zarr")
    assert found["at_seams"]["recall"] > 0.8
    for name, score in found["difference_from_halfway"].items():
        assert score["low"] < 0 < score["high"], name


def test_cells_that_are_cut_at_seams_are_noticed(run: Path, command: Terapose) -> None:
    labels = np.squeeze(zarr.open_array(str(run / "results" / "labels.zarr" / "cells" / "0"))[:])
    y, x = (np.arange(SIDE) // BLOCK for _ in range(2))
    numbers = labels.astype(np.uint32) * 64 + y[:, None] * 8 + x
    cut = run / "cut.tif"
    tifffile.imwrite(cut, np.where(labels > 0, numbers, 0).astype(np.uint32))
    found = differences(command, run, cut, "--block", f"1,{BLOCK},{BLOCK}")
    for name, score in found["difference_from_halfway"].items():
        assert score["high"] < 0, name


def test_labels_that_were_measured_in_blocks_have_no_seams(
    run: Path, tmp_path: Path, command: Terapose
) -> None:
    labels, measured = run / "results" / "labels.zarr", tmp_path / "measured"
    blocks = ("--block-shape", f"1,{BLOCK},{BLOCK}", "--allow-pieces")
    said = command("measure", run / "slide.tif", labels, measured, *blocks)
    assert said.code == 0, said
    assert json.loads((measured / "provenance.json").read_text())["block"] == [1, BLOCK, BLOCK]
    report = tmp_path / "scores.json"
    said = command("evaluate", run / "reference.tif", measured / "labels.zarr", "--json", report)
    assert said.code == 0 and "seams" not in said.out, said
    assert json.loads(report.read_text())["seams"] is None
