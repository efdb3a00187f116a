"""The table of cells: scikit-image's own measurements of the whole image, whatever the cut."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import gaussian
from skimage.measure import label, regionprops, regionprops_table
from tests.fields import balls

from terapose.algorithms.objects import shapes
from terapose.algorithms.objects.expand import expand
from terapose.algorithms.objects.moments import FAR, add_rows, add_sums, hull_areas, rows_of
from terapose.algorithms.objects.outlines import polygons
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.intermediates import compartments
from terapose.io.labels.ome_zarr import open_level

SHAPES = {
    "MajorAxisLength": "axis_major_length",
    "MinorAxisLength": "axis_minor_length",
    "Eccentricity": "eccentricity",
    "Solidity": "solidity",
    "Extent": "extent",
    "Orientation": "orientation",
}


def blobs(shape: tuple[int, ...], seed: int) -> NDArray[np.int32]:
    """Objects of any shape, from single pixels to sponges with holes."""
    rng = np.random.default_rng(seed)
    smooth = label(gaussian(rng.random(shape), 1.5) > 0.52)
    rough = label(rng.random(shape) > 0.6, connectivity=1)
    rough[smooth > 0] = 0
    return np.asarray(np.where(smooth, smooth, (rough + smooth.max()) * (rough > 0)), np.int32)


def boxes(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Boxes of labels 1 to N, ZYX, of a volume."""
    places = ndimage.find_objects(labels)
    starts = [[s.start for s in p] if p else [0, 0, 0] for p in places]
    stops = [[s.stop for s in p] if p else [0, 0, 0] for p in places]
    return np.concatenate([starts, stops], axis=1).astype(np.int64)


def added(labels: NDArray[np.int32], planned: NDArray[np.int64], step: int, axis: int) -> Any:
    """Sums, boxes and hulls of labels that go by in bands."""
    count = len(planned)
    sums, box = np.zeros((count, 10), np.int64), np.zeros((count, 6), np.int64)
    box[:, :3] = FAR
    first, left, right = rows_of(planned)
    for begin in range(0, labels.shape[axis], step):
        origin = np.array([begin, 0, 0] if axis == 0 else [0, begin, 0])
        band = labels.take(range(begin, min(begin + step, labels.shape[axis])), axis)
        add_sums(band, origin, planned[:, :3], sums, box)
        add_rows(band, origin, planned[:, 1], first, left, right)
    hull = np.zeros(count, np.int64)
    hull_areas(first, left, right, hull)
    return sums, box, hull


def test_hulls_of_compartments_without_pixels() -> None:
    """Between tall ones, whose numbers the memory still holds that they are given."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        heights = rng.integers(2, 90, 12)
        planned = np.zeros((24, 6), np.int64)
        planned[:, 4], planned[:, 3], planned[:, 5] = np.repeat(heights, 2), 1, 9
        first, left, right = rows_of(planned)
        for n, height in enumerate(heights):
            left[first[2 * n] : first[2 * n + 1]], right[first[2 * n] : first[2 * n + 1]] = 0, 8
            assert first[2 * n + 1] - first[2 * n] == height
        hull = np.full(24, -1, np.int64)
        hull_areas(first, left, right, hull)
        np.testing.assert_array_equal(hull, np.where(np.arange(24) % 2, 0, 9 * planned[:, 4]))


@pytest.mark.parametrize("seed", [0, 1])
def test_shapes_of_planes_are_those_of_scikit_image(seed: int) -> None:
    labels = blobs((160, 170), seed)
    labels = np.unique(labels, return_inverse=True)[1].reshape(1, 160, 170).astype(np.int32)
    planned = boxes(labels)
    assert len(planned) > 500
    sums, box, hull = added(labels, planned, 160, 1)
    np.testing.assert_array_equal(box, planned)
    known = regionprops_table(labels[0], properties=("area_convex", *SHAPES.values()))
    np.testing.assert_array_equal(hull, known["area_convex"])
    found = shapes.planar(sums, box, hull)
    for ours, theirs in SHAPES.items():
        difference = np.abs(found[ours] - known[theirs])
        if ours == "Orientation":
            # the same line: which of its two ends is meant, rounding decides
            difference = np.minimum(difference, np.pi - difference)
        assert difference.max() < 1e-6, ours
    for step in (1, 7, 64):
        for one, other in zip(added(labels, planned, step, 1), (sums, box, hull), strict=True):
            np.testing.assert_array_equal(one, other)


def test_shapes_of_volumes_are_those_of_scikit_image() -> None:
    labels = label(gaussian(np.random.default_rng(3).random((30, 50, 60)), 1.5) > 0.51)
    planned = boxes(labels.astype(np.int32))
    sums, box, _ = added(labels.astype(np.int32), planned, 4, 0)
    found = shapes.solid(sums, box, 2.5)
    known = regionprops_table(
        labels, properties=[SHAPES[c] for c in shapes.SOLID], spacing=(2.5, 1, 1)
    )
    for ours in shapes.SOLID:
        np.testing.assert_allclose(found[ours], known[SHAPES[ours]], atol=1e-6)


@pytest.mark.parametrize("distance", [1.0, 2.5, 6.0])
def test_labels_grow_to_the_nearest(distance: float) -> None:
    rng = np.random.default_rng(5)
    labels = np.zeros((1, 60, 70), np.uint32)
    labels[0, rng.integers(0, 60, 25), rng.integers(0, 70, 25)] = rng.permutation(25) + 1
    grown = expand(labels, distance)
    points = np.argwhere(labels[0])
    for y, x in np.ndindex(60, 70):
        square = ((points - (y, x)) ** 2).sum(axis=1)
        near = points[square == square.min()]
        expected = min(labels[0, a, b] for a, b in near) if square.min() <= distance**2 else 0
        assert grown[0, y, x] == expected


def test_outlines_filled_in_are_the_objects() -> None:
    sponge = np.random.default_rng(7).random((70, 80)) > 0.38
    labels = np.where(sponge, label(sponge), blobs((70, 80), 7) + 10_000)
    middles = np.argwhere(np.ones((70, 80))) + 0.5
    holes = 0
    for region in regionprops(labels):
        found = polygons(region.image)
        assert len(found) == label(region.image, connectivity=1).max()
        holes += sum(len(rings) - 1 for rings in found)
        inside = np.zeros(labels.shape, int)
        for rings in found:
            for ring in rings:
                closed = np.concatenate([ring, ring[:1]]) + region.bbox[:2]
                inside += Polygon(closed).contains_points(middles).reshape(labels.shape)
        np.testing.assert_array_equal(inside % 2 == 1, labels == region.label)
    assert holes > 20


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plane of nuclei with three more channels, two of one name."""
    rng = np.random.default_rng(2)
    nuclei = balls((1, 150, 190), seed=2, count=60, radius=9)[0]
    image = np.zeros((4, 150, 190), np.uint16)
    image[0] = gaussian((nuclei > 0) * 900.0, 1) + rng.integers(0, 90, (150, 190))
    image[1:] = rng.integers(0, 60_000, (3, 150, 190))
    path = tmp_path_factory.mktemp("slide") / "slide.zarr"
    zarr.create_array(str(path), data=image, dimension_names=["c", "y", "x"], chunks=(1, 64, 64))
    (path.parent / "markers.csv").write_text('marker_name\nDNA\n"CD3, T cells"\nempty\nempty\n')
    return path


def segmented(slide: Path, out: Path, **params: Any) -> Path:
    """Segment the slide in one process."""
    markers = str(slide.parent / "markers.csv")
    segment_file(str(slide), out, check({"markers": markers, "diameter": 17, **params}))
    return out


def image_of(slide: Path, name: str, out: Path) -> NDArray[Any]:
    return np.asarray(open_level(str(out / "labels.zarr"), 0, name=name)[:])


def as_measured(labels: NDArray[Any], slide: Path) -> pd.DataFrame:
    """What MCQuant measures, by scikit-image on the whole image."""
    image = np.asarray(zarr.open_array(str(slide))[:])
    table = pd.DataFrame(
        regionprops_table(labels, properties=("label", "centroid", "area", *SHAPES.values()))
    )
    means = regionprops_table(labels, np.moveaxis(image, 0, -1), properties=("intensity_mean",))
    names = ["DNA", "CD3, T cells", "empty_1", "empty_2"]
    renamed = {theirs: ours for ours, theirs in SHAPES.items()}
    renamed |= {"label": "CellID", "centroid-0": "Y_centroid", "centroid-1": "X_centroid"}
    return table.rename(columns={**renamed, "area": "Area"}).assign(
        **{name: means[f"intensity_mean-{n}"] for n, name in enumerate(names)}
    )


ORDER = [
    *("CellID", "DNA", "CD3, T cells", "empty_1", "empty_2", "X_centroid", "Y_centroid", "Area"),
    *shapes.PLANAR,
]
CUT = {"block_shape": (1, 37, 41), "max_tasks": 3}


def test_the_table_is_mcquants(slide: Path, tmp_path: Path) -> None:
    out = segmented(slide, tmp_path / "whole", table=("csv", "parquet", "h5ad", "geojson"))
    table = pd.read_csv(out / "cells.csv")
    known = as_measured(image_of(slide, "cells", out), slide)
    assert len(table) > 30
    assert list(table.columns[: len(ORDER)]) == ORDER
    for column in ORDER:
        np.testing.assert_allclose(table[column], known[column], rtol=1e-6, atol=1e-6)
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "cells.parquet"), table, check_dtype=False, rtol=1e-6
    )
    data = anndata.read_h5ad(out / "cells.h5ad")
    assert list(data.var_names) == ORDER[1:5]
    np.testing.assert_allclose(data.X, table[ORDER[1:5]], rtol=1e-6)
    centres = table[["X_centroid", "Y_centroid"]]
    np.testing.assert_allclose(data.obsm["spatial"], centres)
    assert list(data.obs_names[:2]) == ["slide_1", "slide_2"]
    assert list(data.obs["CellID"]) == list(table["CellID"])
    # where SpatialData looks for the label of an observation
    keys = data.uns["spatialdata_attrs"]
    assert keys == {"region": "cells", "region_key": "region", "instance_key": "CellID"}
    assert list(data.obs[keys["region_key"]].cat.categories) == ["cells"]
    assert data.obs[keys["instance_key"]].dtype.kind in "iu"
    both = ("csv", "geojson", "geojson.gz")
    cut = segmented(slide, tmp_path / "cut", table=both, **CUT)
    for name in ("cells.csv", "cells.geojson"):
        assert (cut / name).read_bytes() == (out / name).read_bytes()
    packed = (cut / "cells.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (out / "cells.geojson").read_bytes()
    # neither the time nor a name is in it
    assert packed[3:8] == bytes(5) and len(packed) < 0.3 * len(gzip.decompress(packed))
    assert not (cut / "cells.h5ad").exists()


def test_outlines_go_to_qupath(slide: Path, tmp_path: Path) -> None:
    out = segmented(slide, tmp_path, table=("csv", "geojson"), expand=3)
    features = json.loads((out / "cells.geojson").read_text())["features"]
    table = pd.read_csv(out / "cells.csv")
    assert [f["properties"]["name"] for f in features] == [str(n) for n in table["CellID"]]
    assert len({f["id"] for f in features}) == len(features)
    middles = np.argwhere(np.ones((150, 190)))[:, ::-1] + 0.5
    nuclei, cells = (image_of(slide, name, out) for name in ("nuclei", "cells"))
    for number, feature in enumerate(features[:12], 1):
        for key, labels in (("geometry", cells), ("nucleusGeometry", nuclei)):
            shape = feature[key]
            pieces = shape["coordinates"]
            rings = pieces if shape["type"] == "Polygon" else [r for p in pieces for r in p]
            inside = sum(Polygon(r).contains_points(middles).astype(int) for r in rings)
            np.testing.assert_array_equal(
                np.asarray(inside).reshape(150, 190) % 2 == 1, labels == number
            )
        about = feature["properties"]
        assert about["classification"] == {"name": "Cell"} and about["isLocked"] is False
        measured = about["measurements"]
        assert measured["Area"] == table["Area"][number - 1]
        assert measured["DNA"] == pytest.approx(table["DNA"][number - 1], rel=1e-5)


def test_nuclei_become_cells_with_cytoplasm(slide: Path, tmp_path: Path) -> None:
    plain = segmented(slide, tmp_path / "plain")
    found = image_of(slide, "cells", plain)
    out = segmented(slide, tmp_path / "whole", expand=4.5, mask_tiff="cell.ome.tif")
    cells, nuclei, cytoplasm = (image_of(slide, n, out) for n in compartments.ALL)
    np.testing.assert_array_equal(nuclei, found)
    np.testing.assert_array_equal(cells, expand(found[np.newaxis], 4.5)[0])
    np.testing.assert_array_equal(cytoplasm, np.where(nuclei, 0, cells))
    for name, labels in zip(compartments.ALL, (cells, nuclei, cytoplasm), strict=True):
        table = pd.read_csv(out / f"{name}.csv")
        known = as_measured(labels, slide).set_index("CellID")
        assert list(table["CellID"]) == list(range(1, nuclei.max() + 1))
        there = table.set_index("CellID").loc[known.index]
        for column in ORDER[1:]:
            np.testing.assert_allclose(there[column], known[column], rtol=1e-6, atol=1e-6)
    for name in ("cell", "nucleus", "cytoplasm"):
        assert (out / f"{name}.ome.tif").exists()
    cut = segmented(slide, tmp_path / "cut", expand=4.5, mask_tiff="cell.ome.tif", **CUT)
    files = [
        p.relative_to(out) for p in out.rglob("*") if p.is_file() and ".terapose" not in p.parts
    ]
    assert len(files) >= 20
    for file in files:
        if file.name != "provenance.json" and file.suffix != ".parquet":
            assert (cut / file).read_bytes() == (out / file).read_bytes(), file
    # a later run without them leaves none of them behind
    segmented(slide, out)
    assert {p.name for p in out.glob("*.tif")} | {p.name for p in out.glob("*.csv")} == {
        "cells.csv"
    }


def test_thumbnails_at_the_end(slide: Path, tmp_path: Path) -> None:
    out = segmented(slide, tmp_path, thumbnails=11, expand=2)
    table, image = pd.read_csv(out / "cells.csv"), np.asarray(zarr.open_array(str(slide))[:])
    found = np.asarray(zarr.open_array(str(out / "thumbnails.zarr"), mode="r")[:])
    assert found.shape == (4, len(table), 11, 11)
    inside = table[table["X_centroid"].between(8, 180) & table["Y_centroid"].between(8, 140)]
    for n in inside.index[:5]:
        y, x = (round(inside[f"{a}_centroid"][n]) - 6 for a in "YX")
        near = [(y + a, x + b) for a in range(3) for b in range(3)]
        windows = [image[:, v : v + 11, u : u + 11] for v, u in near]
        assert sum(np.array_equal(found[:, n], window) for window in windows) == 1
    segmented(slide, tmp_path)
    assert not (out / "thumbnails.zarr").exists()


def test_what_is_measured_can_be_chosen(slide: Path, tmp_path: Path) -> None:
    out = segmented(slide, tmp_path, measure=("CD3, T cells", 1), table=("csv",))
    columns = list(pd.read_csv(out / "cells.csv").columns)
    assert columns[:5] == ["CellID", "CD3, T cells", "DNA", "X_centroid", "Y_centroid"]
    segmented(slide, tmp_path, measure=("shape",))
    assert list(pd.read_csv(out / "cells.csv").columns)[1] == "X_centroid"
    segmented(slide, tmp_path, measure=("none",))
    bare = pd.read_csv(out / "cells.csv").columns
    assert "Solidity" not in bare
    assert "Area" in bare


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"measure": (9,)}, "no such channel.*9.*1 to 4"),
        ({"measure": ("empty",)}, "several channels have this name"),
        ({"measure": ("none",), "expand": 3}, "measure: none"),
        ({"measure": ("shape",), "table": ("h5ad",)}, "h5ad"),
        ({"expand": -1}, "expand"),
        ({"expand": 2, "mode": "stitch"}, "not a volume|planes only"),
        ({"table": ("xlsx",)}, "table"),
    ],
)
def test_wrong_tables_are_refused(
    slide: Path, tmp_path: Path, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        segmented(slide, tmp_path, **params)
