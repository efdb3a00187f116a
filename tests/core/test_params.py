"""Parameters: every fault in one message, and each parameter in the stage that it shapes."""

from __future__ import annotations

from typing import Any

import pytest

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.pipeline.arguments import arguments, as_option
from terapose.pipeline.graph import PARAMETERS

ODD_NUMBERS: list[tuple[str, str, list[Any]]] = [
    ("diameter", "a number", [True, False, "1_4", "\uff11\uff14", "1e1_0", "\u0663"]),
    ("level", "a whole number", [True, "1_0", "\uff11"]),
    ("time", "a whole number", [True, "1_0"]),
    ("niter", "a whole number", ["1_000"]),
    ("percentiles", "two numbers", [[True, 99], "1_0,99", ["1_0", 99]]),
    ("voxel_size", "three numbers", [[True, 1, 1], "1,1,\uff11"]),
    ("flow3d_smooth", "one number", [True]),
    ("channels", "up to eight numbers", [True, [1, True]]),
    ("measure", "all, shape", [True, [True]]),
]
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"diameter": -1}, "diameter: got -1, allowed: greater than or equal to 0"),
    ({"diameter": "wide"}, "diameter: got 'wide', allowed: a number, or auto"),
    ({"cell_diameter": "Auto"}, "cell_diameter: got 'Auto', allowed: a number, or auto"),
    ({"cell_diameter": -1}, "cell_diameter: got -1, allowed: greater than or equal to 0"),
    *(
        ({name: odd}, f"{name}: got {odd!r}, allowed: {kind}")
        for name, kind, several in ODD_NUMBERS
        for odd in several
    ),
    ({"region": "0:\uff114,0:9"}, "region: got 0:\uff114,0:9, allowed: z0:z1,y0:y1,x0:x1"),
    *(
        ({"series": f"a{sign}b"}, f"series: got {f'a{sign}b'!r}, allowed: no control characters")
        for sign in "\n\x7f\x85\u200b\u2028\u2029\u202e\u2066\ufeff"
    ),
    ({"series": "a\udcff"}, "series: got 'a\\udcff', allowed: UTF-8"),
    ({"channels": ["a", "\ud800"]}, "channels: got ['a', '\\ud800'], allowed: UTF-8"),
    ({"augment": "perhaps"}, "augment: got 'perhaps', allowed: true or false"),
    ({"region": "20-128,0-128"}, "region: got 20-128,0-128, allowed: z0:z1,y0:y1,x0:x1"),
    ({"region": "20,128"}, "region: got 20,128, allowed: z0:z1,y0:y1,x0:x1"),
    ({"min_sise": 3}, "min_sise: no such parameter (did you mean min_size?)"),
    ({"quux": 3}, "quux: no such parameter"),
    ({"mode": "4d"}, "mode: got '4d', allowed: 'auto', '3d', '2d' or 'stitch'"),
    ({"channels": [1, 2, 3, 4]}, "channels: got"),
    ({"channels": [0]}, "channels: got [0], allowed: numbers from 1 up"),
    ({"percentiles": [99, 1]}, "percentiles: got [99.0, 1.0], allowed: 0 <= low < high <= 100"),
    ({"percentiles": [1, 101]}, "percentiles: got [1.0, 101.0]"),
    ({"normalize": "lowhigh"}, "lowhigh: nothing given"),
    ({"normalize": "lowhigh", "lowhigh": [5, 5]}, "lowhigh: got [5.0, 5.0], allowed: low < high"),
    ({"lowhigh": [0, 5]}, "lowhigh: given, allowed: only with normalize 'lowhigh'"),
    (
        {"invert": True, "normalize": "none"},
        "invert: given, allowed: only with normalize 'global', 'plane', 'tile' or 'lowhigh'",
    ),
    (
        {"foreground_min": 0, "normalize": "tile"},
        "foreground_min: given, allowed: only with normalize 'global' or 'plane'",
    ),
    (
        {"label_files": "shards", "ome_zarr_version": "0.4"},
        "label_files: shards, allowed: only with ome_zarr_version 0.5",
    ),
    ({"block_shape": [64, 0, 64]}, "block_shape: got [64, 0, 64], allowed: three numbers above 0"),
    *(
        ({"voxel_size": wrong}, f"voxel_size: got {wrong!r}, allowed: three numbers in micro")
        for wrong in ("0.5,0.5", [0.5, 0.5], "0.5", 0.5, "1,2,3,4", "a,b,c", "nan,1,1")
    ),
    ({"block_shape": "64,64"}, "block_shape: got '64,64', allowed: three whole numbers of voxels"),
    ({"block_shape": [1.5, 2, 3]}, "block_shape: got [1.5, 2, 3], allowed: three whole numbers"),
    ({"percentiles": "1"}, "percentiles: got '1', allowed: two numbers, as in 1,99"),
    ({"flow3d_smooth": "x"}, "flow3d_smooth: got 'x', allowed: one number, or three for Z,Y,X"),
    ({"lowhigh": "x", "normalize": "lowhigh"}, "lowhigh: got 'x', allowed: two numbers, or two"),
    ({"channels": "1," * 9}, f"channels: got {'1,' * 9!r}, allowed: up to eight numbers from 1"),
    ({"cell_channels": [1, 2, 3, 4]}, "cell_channels: got [1, 2, 3, 4], allowed: up to three"),
    ({"measure": ","}, "measure: got ',', allowed: all, shape, none, or numbers from 1 up, or"),
    (
        {"table": "xls"},
        "table: got 'xls', allowed: csv, parquet, h5ad, geojson and geojson.gz, one or",
    ),
    ({"voxel_size": [1, -1, 1]}, "voxel_size: got [1.0, -1.0, 1.0]"),
    ({"flow3d_smooth": [1, 2]}, "flow3d_smooth: got [1.0, 2.0], allowed: one or three numbers"),
    ({"slab_planes": 0}, "slab_planes: got 0, allowed: greater than or equal to 1"),
    ({"cellprob_threshold": float("nan")}, "cellprob_threshold: got nan, allowed: a finite number"),
    ({"max_size_fraction": 1.5}, "max_size_fraction: got 1.5, allowed: less than or equal to 1"),
    ({"min_size": 1.5}, "min_size: got 1.5, allowed: a whole number"),
    ({"mask_tiff": "x" * 300 + ".tif"}, "mask_tiff: got 'xxxxxxxxxxxxxxxxxxxx"),
    (
        {"mask_tiff": "\u00e9" * 99 + ".tif"},
        "tif', allowed: a file name ending in .tif or .tiff",
    ),
    ({"expand": 1e300}, "expand: got 1e+300, allowed: less than or equal to 1000"),
    ({"normalize_tile": 10**20}, "normalize_tile: got 100000000000000000000, allowed: less than"),
    ({"model_digest": "abc"}, "model_digest: got 'abc'"),
]


@pytest.mark.parametrize(("given", "message"), FAULTS, ids=[m.split(", all")[0] for _, m in FAULTS])
def test_each_fault_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check(given)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert text.startswith("parameters: ")
    assert text.endswith("docs/parameters.md lists them all")


def test_letters_may_be_joined_and_names_may_have_underscores() -> None:
    joined = "\u0915\u094d\u200d\u0937 \U0001f469\u200d\U0001f52c"
    assert check({"series": joined, "channels": "1_0"}).channels == ("1_0",)


def test_all_faults_are_named_at_once() -> None:
    given = {
        "diameter": -3,
        "min_sise": 3,
        "niter": "many",
        "percentiles": [50, 50],
        "invert": True,
        "normalize": "none",
    }
    with pytest.raises(InputError) as caught:
        check(given)
    faults = str(caught.value).removeprefix("parameters: ").split("; ")[:-1]
    assert {f.split(":")[0] for f in faults} == {
        "diameter",
        "min_sise",
        "niter",
        "percentiles",
        "invert",
    }
    assert len(faults) == 5


def test_defaults_are_the_documented_ones() -> None:
    params = check({})
    assert params.percentiles == (1.0, 99.0)
    assert (params.cellprob_threshold, params.min_size, params.max_size_fraction) == (0.0, 15, 0.4)
    assert (params.tile_overlap, params.ome_zarr_version) == (0.1, "0.5")
    assert (params.keep_intermediates, params.percentile_sampling) == ("flows", "exact")


def test_what_a_command_line_gives_is_understood() -> None:
    params = check(
        {
            "block_shape": "64,256,256",
            "channels": "2 1",
            "diameter": "14.5",
            "niter": "",
            "flow3d_smooth": 1,
            "lowhigh": None,
        }
    )
    assert params.block_shape == (64, 256, 256)
    assert params.channels == (2, 1)
    assert params.diameter == 14.5
    assert params.niter is None
    assert params.flow3d_smooth == (1.0,)


def test_options_give_the_same_parameters_back() -> None:
    params = check({"block_shape": [8, 9, 10], "invert": True, "min_size": -1, "model": "a b.pth"})
    words = arguments(params, Parameters.model_fields)
    assert "--block-shape 8,9,10 " in words
    assert "'a b.pth'" in words
    assert "--min-size -1" in words
    assert "--invert" in words
    assert "--no-use-gpu" in words
    assert "diameter" not in words
    assert as_option("min_size", -1) == ["--min-size", "-1"]


def test_every_parameter_belongs_to_a_stage() -> None:
    staged = {name for names in PARAMETERS.values() for name in names}
    # the digest is checked where the file is fetched, before any stage
    assert staged == set(Parameters.model_fields) - {"model_digest"}
    filters = {"min_size", "min_median_fraction", "border", "flow_threshold"}
    assert filters <= set(PARAMETERS["relabel"])
    later = {"cellprob_threshold", "niter", "flow3d_smooth", "keep_intermediates", *filters}
    later |= {"max_size_fraction", "stitch_threshold"}
    assert not later & set(PARAMETERS["plan"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"cell_channels": 2}, None),
        ({"diameter": 14}, None),
        ({"diameter": 14, "cell_channels": 2}, 14),
        ({"diameter": 14, "cell_diameter": 20}, 20),
        ({"diameter": 14, "cell_diameter": "auto"}, 0),
        ({"diameter": "auto", "cell_diameter": 0}, 0),
        ({"diameter": 14, "cell_diameter": ""}, None),
    ],
)
def test_the_diameter_of_a_second_network(given: dict[str, Any], expected: float | None) -> None:
    params = check(given)
    assert params.has_second == bool(
        {k: v for k, v in given.items() if k != "diameter" and v != ""}
    )
    if params.has_second:
        assert params.second.diameter == expected
        assert not params.second.has_second
