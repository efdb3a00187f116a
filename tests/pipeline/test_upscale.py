"""Results of a coarser level at level 0, held against NumPy and scikit-image on whole arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from click.testing import CliRunner
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import gaussian
from skimage.measure import regionprops_table
from tests.fields import NETWORK, balls, prepared, run_stages, scatter, to_centres
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.runner import segment_file
from terapose.cli import group, mcmicro
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box
from terapose.core.params import check
from terapose.intermediates import compartments
from terapose.io.labels.ome_zarr import open_level
from terapose.pipeline.checked import open_checked
from terapose.pipeline.job import Job
from terapose.pipeline.local import stage_params
from terapose.pipeline.plan import Plan
from terapose.pipeline.running import run_gather
from terapose.stages import check as check_stage
from terapose.stages import finish

Transformations = list[dict[str, Any]]

FINE = (301, 385)
SIZE = 0.325
PARAMS = {
    "diameter": 17,
    "expand": 2.5,
    "mask_tiff": "cell.ome.tif",
    "table": ("csv", "geojson"),
    "thumbnails": 31,
}
CUT: dict[str, Any] = {"block_shape": (1, 37, 41), "max_tasks": 3}


def index(fine: int, coarse: int, factor: float) -> NDArray[np.int64]:
    """The voxel of a level for each of level 0, where the first one covers the first ``factor``."""
    at = np.floor((np.arange(fine) + 0.5) / factor).astype(np.int64)
    return np.asarray(np.minimum(at, coarse - 1))


def write_pyramid(
    path: Path, levels: list[NDArray[Any]], places: list[Transformations], unit: str = ""
) -> None:
    """Write levels, (C, Y, X) or (Z, Y, X) without a unit, as OME-Zarr."""
    root = zarr.create_group(str(path), zarr_format=3)
    for number, level in enumerate(levels):
        root.create_array(str(number), data=level, chunks=tuple(min(n, 64) for n in level.shape))
    datasets: list[Any] = [
        {"path": str(number), "coordinateTransformations": place}
        for number, place in enumerate(places)
    ]
    axes: list[Any] = [{"name": a, "type": "space", "unit": unit or None} for a in "zyx"]
    if unit:
        axes[0] = {"name": "c", "type": "channel"}
    multiscale = {"axes": axes, "datasets": datasets}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}


def placed(step: float, y: float, x: float) -> Transformations:
    return [
        {"type": "scale", "scale": [1.0, SIZE * step, SIZE * step]},
        {"type": "translation", "translation": [0.0, y, x]},
    ]


@dataclass
class Slide:
    """A slide, which voxel of level 1 each one of level 0 belongs to, and results of level 1."""

    image: Path
    fine: NDArray[Any]
    maps: list[NDArray[np.int64]]
    out: Path
    records: dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=[2.0, 1.5], ids=["whole", "broken"])
def slide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Slide:
    """Two channels; level 1 has half as many pixels, or two thirds, and lengths are odd."""
    factor = request.param
    rng = np.random.default_rng(2)
    nuclei = balls((1, *FINE), seed=2, count=60, radius=9 * factor)[0]
    fine = rng.integers(0, 60_000, (2, *FINE)).astype(np.uint16)
    fine[0] = gaussian((nuclei > 0) * 900.0, 1) + rng.integers(0, 90, FINE)
    shape = [round(n / factor + 0.01) for n in FINE]
    ratio = [2.0 if factor == 2 else n / m for n, m in zip(FINE, shape, strict=True)]
    maps = [index(n, m, f) for n, m, f in zip(FINE, shape, ratio, strict=True)]
    first = (np.searchsorted(at, np.arange(m)) for at, m in zip(maps, shape, strict=True))
    folder = tmp_path_factory.mktemp("slide")
    corner = (factor - 1) / 2 * SIZE
    places = [placed(1, 7, -3), placed(factor, 7 + corner, corner - 3)]
    coarse = fine[np.ix_(np.arange(2), *first)]
    write_pyramid(folder / "image.zarr", [fine, coarse], places, "micrometer")
    runs = {"level": {}, "full": {"upscale": True}, "cut": {"upscale": True, **CUT}}
    image = str(folder / "image.zarr")
    records = {
        name: segment_file(image, folder / name, check({**PARAMS, "level": 1, **params}))
        for name, params in runs.items()
    }
    return Slide(folder / "image.zarr", fine, maps, folder, records)


def image_of(out: Path, name: str = "cells", level: int = 0) -> NDArray[Any]:
    return np.asarray(open_level(str(out / "labels.zarr"), level, name=name)[:])


def contents(out: Path) -> dict[str, bytes]:
    """Every file of the results but the record."""
    files = [file for file in out.rglob("*") if file.is_file()]
    names = {str(file.relative_to(out)): file.read_bytes() for file in files}
    return {n: b for n, b in names.items() if n[0] != "." and n != "provenance.json"}


def features(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "cells.geojson").read_text())["features"]
    return found


def filled(shape: dict[str, Any]) -> NDArray[np.bool_]:
    """Pixels of level 0 whose middles lie in an outline."""
    middles = np.argwhere(np.ones(FINE))[:, ::-1] + 0.5
    pieces = shape["coordinates"]
    rings = pieces if shape["type"] == "Polygon" else [r for p in pieces for r in p]
    inside = sum(Polygon(r).contains_points(middles).astype(int) for r in rings)
    return np.asarray(np.reshape(inside, FINE) % 2 == 1)


def test_labels_masks_and_tables_are_those_of_level_0(slide: Slide) -> None:
    level, full = slide.out / "level", slide.out / "full"
    for name in compartments.ALL:
        labels = image_of(full, name)
        np.testing.assert_array_equal(labels, image_of(level, name)[np.ix_(*slide.maps)])
        table = pd.read_csv(full / f"{name}.csv").set_index("CellID")
        assert len(table) > 20
        properties = ("label", "area", "centroid", "bbox", "solidity", "intensity_mean")
        values = np.moveaxis(slide.fine, 0, -1)
        known = pd.DataFrame(regionprops_table(labels, values, properties=properties))
        there = table.loc[known["label"]]
        same = {"Area": "area", "Solidity": "solidity"}
        same |= {f"channel {n + 1}": f"intensity_mean-{n}" for n in range(2)}
        same |= {f"{a}_centroid": f"centroid-{n}" for n, a in enumerate("YX")}
        for n, axis in enumerate(("y0", "x0", "y1", "x1")):
            same[f"BoundingBox_{axis}"] = f"bbox-{n}"
        for ours, theirs in same.items():
            np.testing.assert_allclose(there[ours], known[theirs], rtol=1e-6)
        np.testing.assert_allclose(there["X_centroid_um"], there["X_centroid"] * SIZE - 3)
        np.testing.assert_allclose(there["Area_um2"], there["Area"] * SIZE**2)
    with tifffile.TiffFile(full / "cell.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), image_of(full))
        assert "Segmented at level 1" in str(file.ome_metadata)


def test_results_say_whose_pixels_they_have(slide: Slide) -> None:
    known = {"level": slide.records["level"], "full": slide.records["full"]}
    output = known["full"]["output"]
    assert output.pop("selection")["level"] == 0
    assert output == {
        "level": 0,
        "whole": [1, *FINE],
        "offset": [0, 0, 0],
        "shape": [1, *FINE],
        "voxel_size": [SIZE] * 3,
        "translation": [0.0, 7.0, -3.0],
    }
    assert known["level"]["output"]["level"] == 1
    assert known["full"]["notes"] == []
    (note,) = known["level"]["notes"]
    shape = image_of(slide.out / "level").shape
    assert f"{shape[0]} x {shape[1]} pixels of level 1, where the image has 301 x 385" in note
    for name, record in known.items():
        group_of = zarr.open_group(slide.out / name / "labels.zarr/cells", mode="r")
        about: Any = group_of.attrs["terapose"]
        assert about == {"level": record["output"]["level"], "segmented_level": 1}
    assert "Pixels are those of level 1" in str(
        tifffile.TiffFile(slide.out / "level/cell.ome.tif").ome_metadata
    )


def test_outlines_lie_on_level_0_in_any_case(slide: Slide) -> None:
    level, full = features(slide.out / "level"), features(slide.out / "full")
    assert len(level) > 20
    for key in ("geometry", "nucleusGeometry"):
        assert [f[key] for f in level] == [f[key] for f in full]
    labels = image_of(slide.out / "full")
    for number, feature in enumerate(level[:10], 1):
        np.testing.assert_array_equal(filled(feature["geometry"]), labels == number)


def test_any_cut_gives_the_same_files(slide: Slide) -> None:
    one, other = (contents(slide.out / name) for name in ("full", "cut"))
    assert one.keys() == other.keys()
    assert len(one) > 20
    for file in one:
        assert one[file] == other[file], file


def test_thumbnails_and_pictures_are_of_the_level_of_the_labels(
    slide: Slide, tmp_path: Path
) -> None:
    table = pd.read_csv(slide.out / "full/cells.csv")
    found = np.asarray(zarr.open_array(str(slide.out / "full/thumbnails.zarr"), mode="r")[:])
    middle = table[table["X_centroid"].between(40, 340) & table["Y_centroid"].between(40, 250)]
    assert len(middle) >= 5
    for n in middle.index[:5]:
        y, x = (int(middle[f"{a}_centroid"][n]) - 15 for a in "YX")
        np.testing.assert_array_equal(found[:, n], slide.fine[:, y : y + 31, x : x + 31])
    for name in ("level", "full"):
        labels = str(slide.out / name / "labels.zarr")
        words = ["picture", str(slide.image), labels, str(tmp_path / "a.png")]
        done = CliRunner().invoke(group, words)
        assert done.exit_code == 0, done.output


VOLUME = (13, 47, 61)


def small_regions(plan: Plan, shards: ZYX) -> Plan:
    """The plan with chunks so small that level 0 has regions, and levels coarser than those."""
    stored: dict[str, Any] = {"chunks": (4, 8, 8), "region": (16, 32, 32), "shards": shards}
    stored["factors"] = ((1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8))
    changed = {name: getattr(plan, name).model_copy(update=stored) for name in ("output", "full")}
    plan = plan.model_copy(update=changed)
    count = len(plan.output.regions)
    tasks = {**plan.tasks, "export": tuple((n, min(n + 2, count)) for n in range(0, count, 2))}
    return plan.model_copy(update={"tasks": tasks})


@pytest.mark.parametrize(
    ("coarse", "factors", "shards"),
    [
        ((13, 24, 30), (1, 2, 2), (1, 1, 1)),
        ((7, 24, 31), (2, 2, 2), (2, 2, 2)),
        ((9, 40, 22), (13 / 9, 47 / 40, 61 / 22), (1, 1, 1)),
        ((9, 40, 22), (13 / 9, 47 / 40, 61 / 22), (2, 2, 2)),
    ],
)
def test_a_volume_at_level_0(
    tiny_model: Path,
    tmp_path: Path,
    coarse: ZYX,
    factors: tuple[float, float, float],
    shards: ZYX,
) -> None:
    fine = np.random.default_rng(1).integers(0, 60_000, VOLUME).astype(np.uint16)
    places: list[Transformations] = [[{"type": "scale", "scale": [s] * 3}] for s in (1.0, 2.0)]
    write_pyramid(tmp_path / "image.zarr", [fine, np.zeros(coarse, np.uint16)], places)
    field = to_centres(balls(coarse, seed=4, count=12, radius=5))
    written = []
    for number, cut in enumerate(({}, {"block_shape": (5, 16, 23), "max_tasks": 4})):
        plan, store = prepared(tmp_path, tiny_model, fine, level=1, anisotropy=1, **cut)
        plan = small_regions(plan, shards)
        store.write(NETWORK, Box.whole(coarse), field)
        plain = run_stages(plan, store)
        result = run_stages(plan, store, upscale=True)
        cells = result.states["relabel"]
        out = tmp_path / f"results-{number}"
        given = {**stage_params(check({}), "finish"), **finish.placed(out)}
        job = Job(plan, store, "finish", 0, given, cells)
        receipts = scatter(plan, store, "export", {}, cells)
        receipts += scatter(plan, store, "measure", {"measure": ("all",)}, cells)
        run_gather(job, receipts)
        written.append(contents(out))
    assert written[0] == written[1]
    maps = [index(n, m, f) for n, m, f in zip(VOLUME, coarse, factors, strict=True)]
    expected = plain.labels[np.ix_(*maps)]
    np.testing.assert_array_equal(result.labels, expected)
    for level, (z, y, x) in enumerate(plan.output.factors):
        np.testing.assert_array_equal(image_of(out, level=level), expected[::z, ::y, ::x])
    ids = result.cells["CellID"]
    assert len(ids) > 3
    np.testing.assert_array_equal(result.cells["Volume"], np.bincount(expected.ravel())[1:])
    means = ndimage.mean(fine.astype(float), expected, ids)
    np.testing.assert_allclose(result.cells["channel 1"], means, rtol=1e-6)
    centres = np.array(ndimage.center_of_mass(expected > 0, expected, ids))
    places_of = ndimage.find_objects(expected.astype(np.int64))
    for n, axis in enumerate("ZYX"):
        np.testing.assert_allclose(result.cells[f"{axis}_centroid"], centres[:, n])
        for end, known in enumerate(("start", "stop")):
            box = result.cells[f"BoundingBox_{axis.lower()}{end}"]
            np.testing.assert_array_equal(box, [getattr(p[n], known) for p in places_of])


def test_levels_that_cannot_be_brought_back(tmp_path: Path) -> None:
    planes = [np.zeros((4, 40, 40), np.uint16), np.zeros((2, 20, 20), np.uint16)]
    flat: dict[str, Any] = {"level": 1, "mode": "2d"}
    write_pyramid(tmp_path / "thin.zarr", planes, [[], []])
    with pytest.raises(InputError, match="fewer planes than level 0"):
        open_checked(str(tmp_path / "thin.zarr"), check({**flat, "upscale": True}))
    places: list[Transformations] = [
        [{"type": "translation", "translation": [0, at, 0]}] for at in (0, 9)
    ]
    write_pyramid(tmp_path / "far.zarr", [planes[0], planes[0][:, ::2, ::2]], places)
    for wanted in ({"upscale": True}, {"table": ("csv", "geojson")}):
        with pytest.raises(InputError, match="does not cover the same area as level 0"):
            open_checked(str(tmp_path / "far.zarr"), check({**flat, **wanted}))
    assert open_checked(str(tmp_path / "far.zarr"), check(flat)).level == 1
    with pytest.raises(InputError, match="give the address of the image, and level 1"):
        open_checked(str(tmp_path / "far.zarr/1"), check({"mode": "2d", "upscale": True}))
    write_pyramid(tmp_path / "turned.zarr", planes[::-1], [[], []])
    with pytest.raises(InputError, match="is larger than level 0"):
        open_checked(str(tmp_path / "turned.zarr"), check({**flat, "upscale": True}))
    with pytest.raises(InputError, match="measure: none"):
        check({"level": 1, "upscale": True, "measure": ("none",)})


def test_room_for_the_part_that_is_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of level 0, not for all of the image: the disk has room for a hundredth of the labels."""
    plane = nuclei((1, 900, 1000))[0][0]
    path = str(write_ome_zarr(tmp_path / "a.zarr", plane, axes="yx", factors=(1, 2)))
    asked: list[int] = []
    monkeypatch.setattr(check_stage, "check_room", lambda _folder, voxels: asked.append(voxels))
    common = {"mode": "2d", "level": 1}
    for region, upscale in (("", True), ("10:60,20:90", True), ("10:60,20:90", False)):
        params = check({**common, "region": region, "upscale": upscale})
        check_stage.run("a", path, params, tmp_path / "out")
    assert asked == [900 * 1000, 100 * 140, 50 * 70]


def test_mcmicro_gets_masks_that_fit(tmp_path: Path) -> None:
    plane = np.zeros((40, 40), np.uint16)
    image = write_ome_zarr(tmp_path / "a.zarr", plane, axes="yx", factors=(1, 2))
    called = mcmicro.as_called({"level": "1", "upscale": None, "table": None})
    assert called["upscale"] is True
    mcmicro.check_plane(str(image), check({"level": 1, "upscale": True}))
    with pytest.raises(InputError, match="does not fit the image that MCMICRO measures"):
        mcmicro.check_plane(str(image), check({"level": 1, "upscale": False}))
