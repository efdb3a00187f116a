"""A region has the intensities of the whole image; a mask leaves out what is no tissue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from tests.checks import assert_refused
from tests.command import Terapose
from tests.fields import prepared, scatter
from tests.synthetic import nuclei, write_ome_zarr, write_tiff, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.labels.ome_tiff import Placed
from terapose.io.labels.ome_zarr import open_level
from terapose.networks import on_device
from terapose.networks.files import identify
from terapose.networks.tiling import run_planes
from terapose.pipeline import tissue
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import of_counts
from terapose.pipeline.job import Job
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State
from terapose.pipeline.tissue import find_tissue
from terapose.stages import gradients
from terapose.stages.check import check_readable

SHAPE = (12, 60, 70)
REGION = "3:10,11:52,8:61"
INSIDE = (slice(3, 10), slice(11, 52), slice(8, 61))


def inputs(folder: Path, model: Path, image: NDArray[Any], **params: Any) -> NDArray[np.float32]:
    """What the network sees of all that is segmented."""
    plan, store = prepared(folder, model, image, **params)
    receipts = scatter(plan, store, "intensities", {}, State())
    before = run_gather(Job(plan, store, "percentiles", 0, {}, State()), receipts)
    job = Job(plan, store, "gradients-yx", 0, {}, before)
    return gradients.read_input(job, Box.whole(plan.network_shape))


def test_a_small_region_is_no_reason_for_small_blocks(tmp_path: Path, tiny_model: Path) -> None:
    """Of the whole image, in which intensities are counted whatever is segmented."""
    image = tmp_path / "large.zarr"
    zarr.create_array(image, shape=(400, 8000, 9000), chunks=(64, 512, 512), dtype="uint16")
    given = {"model": str(tiny_model), "diameter": 30, "region": "50:54,0:100,0:100"}
    for mode in ("2d", "3d"):
        params = check({**given, "mode": mode})
        plan = make_plan(open_checked(str(image), params), identify(tiny_model), params)
        assert plan.counted.shape == (400, 8000, 9000)
        assert len(plan.counting) == plan.tasks["intensities"][-1][1] < 5_000
        assert of_counts(plan) < 2**30


RULES: tuple[dict[str, Any], ...] = (
    {},
    {"percentile_sampling": "cellpose"},
    {"foreground_min": 300},
    {"normalize": "plane"},
    {"normalize": "tile", "normalize_tile": 20},
    {"normalize": "tile", "normalize_tile": 20, "mode": "2d"},
    {"normalize": "lowhigh", "lowhigh": (100, 900)},
    {"normalize": "none"},
)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(map(str, rules.values())))
def test_intensities_are_those_of_the_whole(
    tmp_path: Path, tiny_model: Path, rules: dict[str, Any], dtype: str
) -> None:
    image = nuclei(SHAPE)[0].astype(dtype)
    image[:2] *= 5  # what only the whole has
    image[:, 55:] *= 3
    whole = inputs(tmp_path, tiny_model, image, **rules)
    for cut in ({}, {"block_shape": (4, 23, 29), "max_tasks": 3}):
        part = inputs(tmp_path, tiny_model, image, region=REGION, **rules, **cut)
        np.testing.assert_array_equal(part, whole[(slice(None), *INSIDE)])


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(map(str, rules.values())))
def test_a_constant_region_is_no_constant_image(
    tmp_path: Path, tiny_model: Path, rules: dict[str, Any]
) -> None:
    image = nuclei(SHAPE)[0]
    image[3:10] = 300
    seen = inputs(tmp_path, tiny_model, image, region="3:10,11:52,8:61", **rules)
    assert np.isfinite(seen).all() and np.ptp(seen) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("kind", ["tiled", "strips"])
def test_labels_are_those_of_the_part(tmp_path: Path, tiny_model: Path, kind: Any) -> None:
    """The oracle: the part as an image of its own, scaled between the whole's percentiles."""
    image = nuclei(SHAPE)[0]
    whole = write_tiff(tmp_path / "a.tif", image, kind=kind, axes="ZYX")
    part = write_zarr(tmp_path / "part.zarr", image[INSIDE])
    ends = [float(np.percentile(image, q)) for q in (1, 99)]
    common = {"model": str(tiny_model), "cellprob_threshold": -0.5}
    segment_file(
        str(part), tmp_path / "0", check({**common, "normalize": "lowhigh", "lowhigh": ends})
    )
    cuts: tuple[dict[str, Any], ...] = ({}, {"block_shape": (3, 20, 31), "slab_planes": 4})
    for number, cut in enumerate(cuts, 1):
        segment_file(str(whole), tmp_path / f"{number}", check({**common, "region": REGION, **cut}))
    found = [np.asarray(open_level(f"{tmp_path}/{n}/labels.zarr", 0)[:]) for n in range(3)]
    assert found[0].max() > 5
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_forms_of_a_region(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", nuclei(SHAPE)[0])
    for text, shape, start in (
        ("3:10,11:52,8:61", (7, 41, 53), (3, 11, 8)),
        (" 3: , :9 ,:", (9, 9, 70), (3, 0, 0)),
        ("5:9,6:8", (12, 4, 2), (0, 5, 6)),
    ):
        image = open_image(path, region=text)
        assert (image.shape, image.region.start) == (shape, start)
        again = open_image(path, **image.selection.options)
        assert again == image and again.whole.shape == SHAPE
    for text in ("3:13,:,:", "5:5,:,:", ":,:,71:72"):
        assert_refused("region: is not within the image; got .*0:12,0:60,0:70", path, region=text)
    with pytest.raises(InputError, match="region: got 3:10, allowed: z0:z1"):
        check({"region": "3:10"})


def test_the_origin_is_where_the_region_lies(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", nuclei(SHAPE)[0], voxel_size=(2.0, 0.5, 0.5))
    assert open_image(path, region=REGION).origin == (6.0, 5.5, 4.0)


@pytest.mark.parametrize("factor", [1, 2, 7])
def test_the_box_of_the_tissue(tmp_path: Path, factor: int) -> None:
    """The oracle: NumPy's lookup of every voxel."""
    rng = np.random.default_rng(factor)
    shape = (3, 95, 71)
    small = tuple(-(-n // factor) for n in shape[1:])
    mask = np.zeros(small, np.uint8)
    mask[small[0] // 3 : small[0] // 2 + 1, small[1] // 4 : small[1] // 2] = rng.integers(0, 2)
    mask[small[0] // 2, small[1] // 3] = 255
    tifffile.imwrite(tmp_path / "m.tif", mask)
    box, _ = find_tissue(str(tmp_path / "m.tif"), shape)
    y, x = (
        ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape[1:], small, strict=True)
    )
    places = np.argwhere(mask[np.ix_(y, x)] > 0)
    assert box == Box((0, *places.min(axis=0)), (3, *(places.max(axis=0) + 1)))


@pytest.mark.parametrize("given", ["mask", "box", "record"])
def test_commands_that_look_at_an_image_take_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    """They look at the box of its tissue, as a result does that was segmented with it."""
    plane = nuclei((1, 60, 70))[0][0]
    image = write_zarr(tmp_path / "a.zarr", plane[None])
    mask = np.zeros((30, 35), np.uint8)
    mask[5:20, 4:31] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    labels = np.ones((30, 54), np.uint32)
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    (tmp_path / "cells.csv").write_text("CellID,X_centroid,Y_centroid\n1,30,20\n")
    regions = {"mask": tmp_path / "mask.tif", "box": "10:40,8:62"}
    words = ("--region", regions[given]) if given in regions else ()
    if given == "record":
        known = {"address": str(image), "selection": {"region": "0:1,10:40,8:62"}}
        (tmp_path / "provenance.json").write_text(json.dumps({"image": known}))
    command = Terapose(monkeypatch, capsys)
    said = command("picture", image, tmp_path / "labels.tif", tmp_path / "p.png", *words)
    assert said.code == 0, said
    if given == "record":
        return
    table, out = tmp_path / "cells.csv", tmp_path / "t.zarr"
    said = command("cut", image, tmp_path / "labels.tif", table, out, "--window-size", 8, *words)
    assert said.code == 0, said
    found = np.asarray(zarr.open_array(out, mode="r"))
    np.testing.assert_array_equal(found[0, 0], plane[16:24, 26:34])


def test_a_region_without_anything_in_it_is_no_constant_image(tmp_path: Path) -> None:
    plane = np.zeros((1, 60, 70), np.uint16)
    plane[0, 50:, 60:] = 9
    path = str(write_zarr(tmp_path / "a.zarr", plane))
    params = check({"region": "0:40,0:50", "mode": "2d"})
    check_readable(open_checked(path, params), params)
    for region in ("", "50:60,60:70"):
        image = write_zarr(tmp_path / f"b{region}.zarr", np.full_like(plane, 9))
        params = check({"region": region, "mode": "2d"})
        with pytest.raises(InputError, match="the image is constant; got 9"):
            check_readable(open_checked(str(image), params), params)


def test_a_mask_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.eye(20, dtype=np.uint8)[:, :13])
    read: list[Any] = []
    original = Image.read

    def counting(image: Image, *args: Any) -> NDArray[Any]:
        read.append(args)
        return original(image, *args)

    monkeypatch.setattr(Image, "read", counting)
    first = find_tissue(str(path), (1, 80, 52))
    number = len(read)
    assert number > 0
    assert find_tissue(str(path), (1, 80, 52)) == first
    assert find_tissue(str(path), (1, 20, 13))[1] == first[1]
    assert len(read) == number
    tifffile.imwrite(path, np.eye(20, dtype=np.uint8)[:10, :13].repeat(2, 0))
    assert find_tissue(str(path), (1, 80, 52))[0] != first[0]


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.ones((40, 20), np.uint8))
    tifffile.imwrite(tmp_path / "zero.tif", np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="does not have the proportions of the image; got shape"):
        find_tissue(str(tmp_path / "m.tif"), (1, 80, 80))
    with pytest.raises(InputError, match="shows no tissue"):
        find_tissue(str(tmp_path / "zero.tif"), (1, 80, 80))


@pytest.mark.parametrize("diameter", [22, 30])
def test_tiles_without_tissue_are_left_out(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, diameter: int
) -> None:
    """The cells are those that are found when every tile is run, in any cut."""
    height, width = (round(n * diameter / 30) for n in (560, 500))
    image = nuclei((1, height, width), radius=diameter / 2, spacing=diameter + 3)[0]
    mask = np.zeros((90, 80), np.uint8)
    mask[5:12, 4:70], mask[70:88, 60:75], mask[20:24, 5:9] = 1, 2, 3
    tifffile.imwrite(tmp_path / "m.tif", mask)
    path = write_zarr(tmp_path / "a.zarr", image)
    common = {
        "model": str(tiny_model),
        "region": str(tmp_path / "m.tif"),
        "diameter": diameter,
        "mode": "2d",
        "cellprob_threshold": -0.5,
        "flow_threshold": 0,
    }
    tiles: list[int] = []

    def counting(network: Any, *args: Any, **more: Any) -> Any:
        def forward(batch: Any) -> Any:
            tiles.append(len(batch))
            return network(batch)

        return run_planes(forward, *args, **more)

    monkeypatch.setattr(on_device, "run_planes", counting)
    cuts: tuple[dict[str, Any], ...] = ({}, {"block_shape": (1, 150, 170), "rectangle": 200})
    found, ran = [], []
    for number, cut in enumerate(cuts):
        tiles.clear()
        segment_file(str(path), tmp_path / str(number), check({**common, **cut}))
        found.append(np.asarray(open_level(f"{tmp_path}/{number}/labels.zarr", 0)[:]))
        ran.append(sum(tiles))
    monkeypatch.setattr(gradients, "needed_tissue", lambda *_: None)
    tiles.clear()
    segment_file(str(path), tmp_path / "all", check(common))
    everything = np.asarray(open_level(f"{tmp_path}/all/labels.zarr", 0)[:])
    assert everything.max() > 5
    np.testing.assert_array_equal(found[0], everything)
    np.testing.assert_array_equal(found[1], everything)
    assert ran[0] < sum(tiles)
    y, x = np.nonzero(found[0])[-2:]
    box = tissue.find_tissue(str(tmp_path / "m.tif"), image.shape)[0]
    rows = ((y + box.start[1] + 0.5) * 90 / height).astype(int)
    columns = ((x + box.start[2] + 0.5) * 80 / width).astype(int)
    assert (mask[rows, columns] > 0).all()


def test_results_lie_where_the_region_lies(tmp_path: Path, tiny_model: Path) -> None:
    """Table, outlines and mask are in pixels of the whole image; labels have its translation."""
    image = nuclei((1, 330, 340))[0][0]
    sizes: dict[str, Any] = {"voxel_size": (1, 0.5, 0.5), "factors": (1, 2)}
    path = write_ome_zarr(tmp_path / "a.zarr", image, axes="yx", **sizes)
    common = {
        "model": str(tiny_model),
        "cellprob_threshold": -0.5,
        "diameter": 30,
        "flow_threshold": 0,
        "table": "csv,geojson",
        "mask_tiff": "mask.ome.tif",
        "thumbnails": 9,
    }
    for level, region, more in (
        (0, "21:280,33:290", {}),
        (1, "10:160,15:167", {}),
        (1, "10:160,15:167", {"upscale": True}),
    ):
        out = tmp_path / f"{level}{len(more)}"
        given = {**common, "level": level, "region": region, **more}
        record = segment_file(str(path), out, check(given))
        output = record["output"]
        labels = np.asarray(open_level(f"{out}/labels.zarr", 0)[:])
        _, y, x = output["offset"]
        whole = np.zeros(output["whole"][1:], labels.dtype)
        whole[y : y + labels.shape[0], x : x + labels.shape[1]] = labels
        with tifffile.TiffFile(out / "mask.ome.tif") as mask:
            np.testing.assert_array_equal(mask.series[0].asarray(), whole)
        assert bool(record["notes"]) == bool(level and not more)
        _check_places(out, whole, output["voxel_size"][1], 1 if more else 2**level)
        step = 2 ** output["level"]
        thumbnails = zarr.open_array(str(out / "thumbnails.zarr"), mode="r")
        table = pd.read_csv(out / "cells.csv")
        for n, row in enumerate(table.itertuples()):
            at = round(row.Y_centroid), round(row.X_centroid)
            assert image[::step, ::step][at] in np.asarray(thumbnails[0, n, 3:6, 3:6])


def _check_places(out: Path, whole: NDArray[Any], size: float, factor: int) -> None:
    """Positions of the table and outlines against the label image in its place."""
    table = pd.read_csv(out / "cells.csv")
    assert len(table) == whole.max() > 2
    for row in table.itertuples():
        places = np.argwhere(whole == row.CellID)
        assert [row.Y_centroid, row.X_centroid] == pytest.approx(places.mean(axis=0))
        assert row.BoundingBox_y0 == places[:, 0].min()
        assert row.BoundingBox_x1 - 1 == places[:, 1].max()
        assert row.Y_centroid_um == pytest.approx(row.Y_centroid * size)
    for feature in json.loads((out / "cells.geojson").read_text())["features"]:
        corners = np.concatenate([np.array(p[0]) for p in _polygons(feature["geometry"])])
        cell = np.argwhere(whole == int(feature["properties"]["name"]))
        assert corners.min(axis=0).tolist() == (cell.min(axis=0)[::-1] * factor).tolist()


def _polygons(geometry: dict[str, Any]) -> list[Any]:
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    return list(geometry["coordinates"])


@pytest.mark.parametrize("factor", [(1, 1, 1), (1, 2, 2), (1, 4, 4)])
def test_a_label_image_in_its_place(tmp_path: Path, factor: Any) -> None:
    """The oracle: NumPy on the whole array."""
    labels = np.random.default_rng(0).integers(0, 9, (13, 17)).astype(np.uint32)
    stored = zarr.create_array(str(tmp_path / "l.zarr"), data=labels, chunks=(5, 6))
    whole = np.zeros((40, 31), np.uint32)
    whole[11:24, 7:24] = labels
    coarse = whole[:: factor[1], :: factor[2]]
    placed = Placed(stored, (1, 40, 31), (0, 11, 7), factor)
    assert placed.shape == coarse.shape
    for rows in (slice(0, 4), slice(3, 12), slice(0, 40), slice(38, 40)):
        for columns in (slice(0, 7), slice(2, 31)):
            np.testing.assert_array_equal(placed[rows, columns], coarse[rows, columns])
