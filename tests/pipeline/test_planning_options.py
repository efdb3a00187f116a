"""What plans a run takes the words of the run itself, and refuses what the run would refuse."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

from terapose.core.params import Parameters
from terapose.networks.weights import sha256

VALUES = {
    "mode": "stitch",
    "level": "0",
    "axes": "CZYX",
    "series": "1",
    "time": "1",
    "region": ":,:,:",
    "channels": "1,2",
    "channel_merge": "max",
    "identity": "content",
    "voxel_size": "2,0.5,0.5",
    "diameter": "12",
    "anisotropy": "3",
    "normalize": "plane",
    "normalize_tile": "50",
    "percentiles": "2,98",
    "percentile_sampling": "cellpose",
    "foreground_min": "1",
    "tile_overlap": "0.2",
    "skip_empty": "0",
    "precision": "float32",
    "block_shape": "6,12,28",
    "slab_planes": "2",
    "rectangle": "64",
    "max_memory": "6",
    "max_tasks": "2",
    "ome_zarr_version": "0.4",
    "label_files": "chunks",
    "flow_precision": "float16",
    "batch_size": "2",
    "flow3d_smooth": "0",
    "flow_scaling": "cellpose",
    "cellprob_threshold": "1",
    "niter": "5",
    "flow_threshold": "0.5",
    "stitch_threshold": "0.5",
    "min_size": "5",
    "max_size_fraction": "0.5",
    "min_median_fraction": "0.1",
    "border": "drop",
    "cell_model": "nuclei-small",
    "cell_channels": "2",
    "cell_diameter": "20",
    "measure": "1",
    "table": "csv",
    "thumbnails": "16",
    "mask_tiff": "mask.ome.tif",
    "keep_intermediates": "all",
}
"""A value of each parameter that goes with all others."""
FLAGS = ("invert", "augment", "use_gpu", "upscale")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A volume of two channels."""
    one = nuclei((6, 24, 28))[0]
    tifffile.imwrite(tmp_path / "two.ome.tif", np.stack([one, one + 7]), metadata={"axes": "CZYX"})
    return tmp_path / "two.ome.tif"


@pytest.mark.parametrize("name", ["plan", "check", "segment"])
def test_every_parameter_is_an_option(name: str) -> None:
    found = import_module(f"terapose.cli.{name}").command.params
    options = {flag for option in found for flag in option.opts}
    assert {f"--{p.replace('_', '-')}" for p in Parameters.model_fields} <= options


@pytest.mark.parametrize("name", ["plan", "check"])
def test_nearly_all_at_once(command: Terapose, two: Path, name: str) -> None:
    words = [w for k, v in VALUES.items() for w in (f"--{k.replace('_', '-')}", v)]
    words += [f"--{'no-' * (k == 'use_gpu')}{k.replace('_', '-')}" for k in FLAGS]
    said = command(name, two, *words)
    assert said.code == 0, said.err


def test_what_comes_later_does_not_change_the_plan(
    command: Terapose, tmp_path: Path, tiny_model: Path
) -> None:
    image = write_ome_zarr(tmp_path / "nuclei.zarr", nuclei((6, 24, 28))[0])
    plain, later = tmp_path / "plain.json", tmp_path / "later.json"
    planned = ("plan", image, "--model", tiny_model)
    assert command(*planned, "--output", plain).code == 0
    words = ("--min-size", 5, "--niter", 0, "--flow-threshold", 0.3, "--cellprob-threshold", -1)
    assert command(*planned, *words, "--output", later).code == 0
    assert json.loads(plain.read_text()) == json.loads(later.read_text())


@pytest.mark.parametrize(
    "words",
    [
        ("--min-size", "small"),
        ("--flow-threshold", "-1"),
        ("--stitch-threshold", "0.0", "--mode", "stitch"),
        ("--niter", "-3"),
        ("--expand", "2", "--mode", "2d", "--cell-diameter", "3"),
        ("--table", "geojson"),
        ("--measure", "5"),
        ("--model-digest", "0" * 64),
        ("--channel", "1", "9"),
        ("--quux", "1"),
    ],
    ids=lambda words: words[0],
)
def test_all_three_refuse_in_the_same_words(
    command: Terapose, two: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    said = [
        command.refuses(name, two, *more, *words).replace(f"terapose {name} --help", "HELP")
        for name, more in (("plan", ()), ("check", ()), ("segment", (tmp_path / "out",)))
    ]
    assert len(set(said)) == 1, said


def test_digest(command: Terapose, two: Path, tiny_model: Path) -> None:
    right = sha256(tiny_model)
    for how in (("--model", tiny_model), ("--model-file", tiny_model)):
        assert command("plan", two, *how, "--model-digest", right).code == 0
        said = command.refuses("plan", two, *how, "--model-digest", "0" * 64)
        assert said == (
            f"{tiny_model}: the file does not match its digest; got sha256 {right}; "
            f"allowed: sha256 {'0' * 64}; correct the digest, or find out why the file has changed"
        )


def test_what_a_plan_has_no_use_for(command: Terapose, two: Path, tiny_model: Path) -> None:
    said = command.refuses("plan", two, "--model", "nuclei-large", "--model-file", tiny_model)
    assert said == "--model: has no use with --model-file; leave it out"
    said = command.refuses("plan", two, "--workers", 3)
    assert said == "--workers: is only used with --price; add --price"
    said = command.refuses("plan", two, "--time", "all")
    assert said.startswith("time: this command takes one time point; got all")
    idle = ("--mode", "2d", "--normalize-tile", 50)
    lines = command("plan", two, "--model", tiny_model, *idle).out.splitlines()
    assert lines.count("note      normalize_tile 50 has no effect with normalize global") == 1


def test_channels_as_mcmicro_gives_them(command: Terapose, two: Path, tmp_path: Path) -> None:
    words = ("--channel-merge", "max", "--channel", 1, 2)
    assert command("check", two, *words, "--lines", tmp_path / "lines.tsv").code == 0
    assert '"channels":[1,2]' in (tmp_path / "lines.tsv").read_text()
    assert command("plan", two, *words).code == 0
