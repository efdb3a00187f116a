"""Networks of each family through the whole workflow, on a small volume and a small slide."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from tests.synthetic import nuclei, write_ome_zarr
from tests.unets import random_unet, save
from tests.workflow.conftest import Launches
from tests.workflow.launch import results, segment

pytestmark = pytest.mark.slow

LARGE = pytest.mark.skipif(
    os.environ.get("TERAPOSE_LARGE") != "1", reason="writes and runs 1.2 GB of weights"
)
# as Cellpose names what it has trained; the name has to come along
NAME = "cellpose_residual_on_style_on_concatenation_off_lab_2026"


def lively(state: dict[str, torch.Tensor], output: str) -> dict[str, torch.Tensor]:
    """Random weights with outputs large enough for some cells, and of either sign."""
    weight = state[f"{output}.weight"]
    state[f"{output}.weight"] = 40 * (weight - weight.mean(dim=(1, 2, 3), keepdim=True))
    state[f"{output}.bias"] = torch.zeros_like(state[f"{output}.bias"])
    return state


def of_cellpose3(folder: Path) -> Path:
    """A file as Cellpose 3 writes it: two inputs, a prefix of several GPUs, its diameter."""
    net = random_unet((2, 8, 12), diameter=22.0)
    state = lively(net.state_dict(), "output.2")
    return save({f"module.{name}": value for name, value in state.items()}, folder / NAME)


def of_cellpose4(folder: Path) -> Path:
    """The real architecture with random weights."""
    from cellpose import vit

    torch.manual_seed(0)
    return save(lively(vit.CPSAM(dtype=torch.float32).state_dict(), "out"), folder / "sam.pth")


MAKERS = {"unet": of_cellpose3, "cellpose4": of_cellpose4}
# a plane of the volume is a tile, and a tile of Cellpose 4 takes seconds
VOLUMES = {"unet": (6, 26, 30), "cellpose4": (2, 5, 6)}
BLOCKS = {"unet": "4,20,40", "cellpose4": "2,3,4"}
# random flows: whatever they lead to counts as a cell
RULES = ("--cellprob_threshold", -99, "--flow_threshold", 0, "--max_size_fraction", 1)


def alone(image: Path, out: Path, *words: object) -> tuple[str, bytes]:
    """Results of `terapose segment` with the workflow's words."""
    return segment(image, out, *(str(word).replace("_", "-") for word in RULES), *words)


@pytest.mark.thorough(shorter="tests/workflow/test_families.py::test_an_ensemble_goes_through")
@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("volume", "unet"),
        # that of a slide is one of the ensemble below
        *(pytest.param(kind, "cellpose4", marks=LARGE) for kind in ("volume", "slide")),
    ],
)
def test_a_network_goes_through(launches: Launches, tmp_path: Path, family: str, kind: str) -> None:
    model = MAKERS[family](tmp_path)
    volume, _ = nuclei(VOLUMES["unet"], seed=2)
    volume = volume[tuple(slice(n) for n in VOLUMES[family])]
    plane, _ = nuclei((3, 70, 150), seed=3)
    image = (
        write_ome_zarr(tmp_path / "volume.zarr", np.stack([volume, volume[::-1]]), axes="czyx")
        if kind == "volume"
        else write_ome_zarr(tmp_path / "slide.zarr", np.stack([plane[1], plane[0]]), axes="cyx")
    )
    launch = launches(f"{family}-{kind}")
    words = ("--model", model, "--channels", "2,1")
    # a volume in a task for each stage, cut into blocks; a slide in one
    apart = ("--block_shape", BLOCKS[family], "--single_task", "false")
    cut = apart if kind == "volume" else ()
    run = launch.done("--input", image, *words, *RULES, *cut)
    out = launch.out / image.stem
    record = json.loads((out / "provenance.json").read_text())
    assert record["model"]["family"] == family and record["image"]["channels"] == [2, 1]
    licence = {"unet": "not stated", "cellpose4": "CC-BY-NC-4.0"}[family]
    assert f"{family}, licence {licence}" in run.said
    assert record["cells"] > 0
    assert family != "unet" or record["model"]["diam_mean"] == 22
    assert results(out) == alone(image, tmp_path / "alone", *words)


def test_an_ensemble_goes_through(launches: Launches, tmp_path: Path) -> None:
    """Two files of one name, and a card beside one of them."""
    models = [of_cellpose3(Path(mkdtemp(dir=tmp_path))) for _ in range(2)]
    state = torch.load(models[1])
    state["module.output.2.weight"] = state["module.output.2.weight"].roll(1, dims=1)
    save(state, models[1])
    models[1].with_suffix(".md").write_text("---\nlicense: MIT\n---\n")
    plane, _ = nuclei((3, 60, 80), seed=3)
    slide = np.stack([plane[1], plane[0]])
    image = write_ome_zarr(tmp_path / "slide.zarr", slide, axes="cyx")
    launch = launches("ensemble")
    model = f"{models[0]},{models[1]}"
    words = ("--model", model, "--channels", "2,1")
    run = launch.done("--input", image, *words, *RULES)
    assert f"{model}: unet, licence not stated, MIT" in run.said
    record = json.loads((launch.out / "slide" / "provenance.json").read_text())
    assert record["cells"] > 0
    members = record["model"]["members"]
    assert [(one["name"], one["licence"]) for one in members] == [(NAME, None), (NAME, "MIT")]
    assert record["image"]["channels"] == [2, 1]
    assert results(launch.out / "slide") == alone(image, tmp_path / "alone", *words)
