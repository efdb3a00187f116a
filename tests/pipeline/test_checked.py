"""Sizes and choices that do not go with an image are refused or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import nuclei, write_ome_zarr, write_tiff

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.pipeline.checked import open_checked, without_use

SENTENCE = r"pixels are not square; got voxel size \(.*; resample the image, or give its true"


@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize("mode", ["auto", "2d", "stitch"])
@pytest.mark.parametrize("size", [(2.0, 0.5, 0.25), (1.0, 2.0, 1.0)])
def test_pixels_that_are_not_square(tmp_path: Path, depth: int, mode: str, size: Any) -> None:
    array = nuclei((depth, 30, 40))[0]
    if depth == 1 and mode == "stitch":
        return
    told = [
        write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=size),
        write_tiff(tmp_path / "a.ome.tif", array, kind="ome", axes="ZYX", voxel_size=size),
    ]
    square = ",".join(map(str, (size[0], size[1], size[1])))
    for path in told:
        with pytest.raises(InputError, match=SENTENCE):
            open_checked(str(path), check({"mode": mode, "anisotropy": ""}))
        if depth == 1 or mode != "auto":
            open_checked(str(path), check({"mode": mode, "voxel_size": square}))
    plain = write_ome_zarr(tmp_path / "b.zarr", array)
    with pytest.raises(InputError, match=SENTENCE):
        open_checked(str(plain), check({"mode": mode, "voxel_size": list(size)}))


@pytest.mark.parametrize(
    ("depth", "given", "notes"),
    [
        (1, {"stitch_threshold": 0.5}, ["stitch_threshold 0.5 has no effect in mode 2d"]),
        (6, {"stitch_threshold": 0.5}, ["stitch_threshold 0.5 has no effect in mode 3d"]),
        (6, {"stitch_threshold": 0.5, "mode": "stitch"}, []),
        (1, {"flow_scaling": "cellpose"}, ["flow_scaling cellpose has no effect in mode 2d"]),
        (6, {"flow_scaling": "cellpose", "anisotropy": 2}, []),
        (
            6,
            {"flow_scaling": "cellpose"},
            ["flow_scaling cellpose has no effect with anisotropy 1"],
        ),
        (1, {"normalize_tile": 50}, ["normalize_tile 50 has no effect with normalize global"]),
        (1, {"normalize_tile": 50, "normalize": "tile", "percentiles": "2,98"}, []),
        (
            1,
            {"percentiles": "2,98", "percentile_sampling": "cellpose", "normalize": "none"},
            [
                "percentiles 2.0,98.0 has no effect with normalize none",
                "percentile_sampling cellpose has no effect with normalize none",
            ],
        ),
        (
            1,
            {"tile_overlap": 0.2, "augment": True, "batch_size": 2, "use_gpu": True},
            [
                "tile_overlap 0.2 has no effect with augment: tiles overlap by half",
                "batch_size 2 has no effect on a GPU",
            ],
        ),
        (1, {"upscale": True}, ["upscale has no effect at level 0"]),
        (6, {"anisotropy": 3, "mode": "2d"}, ["anisotropy 3.0 has no effect in mode 2d"]),
        (6, {"anisotropy": 3}, []),
        (6, {"anisotropy": 2, "voxel_size": "2,1,1"}, []),
        (
            6,
            {"anisotropy": 3, "voxel_size": "2,1,1"},
            ["anisotropy 3 overrides the 2 computed from voxel_size"],
        ),
    ],
)
def test_choices_without_use_are_told(
    tmp_path: Path, depth: int, given: dict[str, Any], notes: list[str]
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", nuclei((depth, 30, 40))[0])
    params = check(given)
    assert without_use(open_checked(str(path), params), params) == notes
