"""Planes, stitched planes and volumes through the real Nextflow: the bytes of one block."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.conftest import Launches
from tests.workflow.launch import SHIPPED, Launch, results, segment

from terapose.results.verify import check as verify

pytestmark = pytest.mark.slow

CASES: dict[str, tuple[tuple[object, ...], tuple[tuple[object, ...], ...]]] = {
    "plane": (
        (
            *("--mode", "2d", "--normalize", "tile", "--normalize_tile", 40),
            *("--diameter", 14, "--model", "auto"),
            *("--mask_tiff", "cell.ome.tif", "--expand", 3, "--table", "csv,h5ad,geojson"),
        ),
        (
            ("--block_shape", "1,19,33", "--rectangle", 40, "--max_tasks", 2),
            ("--block_shape", "1,96,31", "--rectangle", 70),
        ),
    ),
    "cells": (
        (
            *("--cell_channels", 2, "--cell_diameter", 20, "--diameter", 14, "--measure", "2,1"),
            *("--model", "auto"),
        ),
        # those of the second network in one task, the nuclei never
        (("--block_shape", "1,19,33"),),
    ),
    "stitch": (
        (*SHIPPED, "--mode", "stitch", "--normalize", "plane", "--stitch_threshold", 0.2),
        (("--block_shape", "3,14,50", "--slab_planes", 2, "--max_tasks", 2),),
    ),
    "volume": (
        ("--flow_threshold", 0.6, "--anisotropy", 1.5, "--flow3d_smooth", 1, "--diameter", 20),
        (("--block_shape", "7,40,17", "--slab_planes", 5, "--max_tasks", 2),),
    ),
}
EXTRA = {
    "plane": {"FLOW_ERRORS", "OUTLINES"},
    "cells": {"CELL_OVERLAPS", "MATCH", "VERIFY", "WHOLE"},
    "stitch": {"FLOW_ERRORS", "STITCH", "CELL_HOLES"},
    "volume": {"FLOW_ERRORS"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plane and a volume of touching balls."""
    folder = tmp_path_factory.mktemp("images")
    volume, _ = nuclei((14, 60, 72), spacing=12, seed=4)
    plane, _ = nuclei((9, 90, 100), spacing=12, seed=5)
    return {
        "plane": write_ome_zarr(folder / "plane.zarr", plane[4], axes="yx"),
        "cells": write_ome_zarr(
            folder / "cells.zarr", np.stack([plane[4], gaussian_filter(plane[4], 3)]), axes="cyx"
        ),
        "stitch": write_ome_zarr(folder / "stack.zarr", volume),
        "volume": write_ome_zarr(folder / "volume.zarr", volume),
    }


@pytest.mark.parametrize("name", CASES)
def test_same_bytes_however_it_is_cut(
    launches: Launches, images: dict[str, Path], tmp_path: Path, name: str
) -> None:
    image = images[name]
    rules, cuts = CASES[name]
    options = [word.replace("_", "-") if str(word).startswith("--") else word for word in rules]  # type: ignore[attr-defined]
    whole = segment(image, tmp_path / "whole", *options, "--block-shape", "999,999,999")
    for number, cut in enumerate(cuts):
        launch = launches(f"{name}-{number}")
        run = launch.done("--input", image, *rules, *cut)
        assert run.submitted >= (EXTRA[name] if number == 0 else {"WHOLE"})
        out = launch.out / image.stem
        assert results(out) == whole
        for pattern in ("*.ome.tif", "*.csv", "*.geojson"):
            for file in tmp_path.glob(f"whole/{pattern}"):
                assert (out / file.name).read_bytes() == file.read_bytes(), file.name
        if name == "cells":
            _damage_cells(launch, "--input", image, *rules, *cut, "-resume")
            assert results(out) == whole
    assert bool(list(out.glob("*.ome.tif"))) == ("--mask_tiff" in rules)
    cells = np.loadtxt(out / "cells.csv", delimiter=",", skiprows=1, usecols=0)
    assert len(cells) > 5


def _damage_cells(launch: Launch, *words: object) -> None:
    """What the second network has found is no result that is published, but is verified as one."""
    (laid,) = (p for p in launch.work.glob("*/*/laid") if not (p.parent / "results").exists())
    chunk = next(p for p in (laid / "labels.zarr").resolve().rglob("cells/0/c/*/*"))
    chunk.write_bytes(b"damaged")
    run = launch.run(*words)
    assert run.process.returncode != 0
    assert "the results have changed since they were written" in run.last
    assert "CELL_OVERLAPS" not in run.submitted | run.cached
    assert "WHOLE" in launch.done(*words).submitted


@pytest.mark.thorough(
    shorter="tests/pipeline/test_upscale.py::test_labels_masks_and_tables_are_those_of_level_0"
)
def test_a_coarser_level_and_then_level_0(launches: Launches, tmp_path: Path) -> None:
    plane, _ = nuclei((9, 121, 133), spacing=24, seed=5)
    image = write_ome_zarr(tmp_path / "slide.zarr", plane[4], axes="yx", factors=(1, 2))
    launch = launches("level")
    rules = ("--level", 1, "--diameter", 12, "--table", "csv,geojson")
    words = ("--input", image, *rules, "--mask_tiff", "cell.ome.tif", "--thumbnails", 15)
    run = launch.done(*words)
    note = "WARNING: cell.ome.tif: 61 x 67 pixels of level 1, where the image has 121 x 133"
    assert note in run.said
    before = _passes(launch)
    run = launch.done(*words, "--upscale", "-resume")
    assert "WARNING" not in run.said
    assert before and _passes(launch) == before
    options = (*rules, "--mask-tiff", "cell.ome.tif", "--upscale")
    whole = segment(image, tmp_path / "whole", *options)
    out = launch.out / "slide"
    assert results(out) == whole
    for name in ("cell.ome.tif", "cells.csv", "cells.geojson"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (out / "picture.png").exists()
    record = json.loads((out / "provenance.json").read_text())
    assert "thumbnails.zarr" in record["checksums"]
    verify(out)


def _passes(launch: Launch) -> dict[Path, int]:
    """When the network has left what."""
    markers = (p for store in launch.stores() for p in store.glob("done/gradients-*/*"))
    return {path: path.stat().st_mtime_ns for path in markers}
