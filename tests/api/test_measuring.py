"""Labels that are given: measured like those of a run, checked, in any blocks the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from tests.checks import content
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_zarr

import terapose
from terapose.core.errors import InputError
from terapose.results.verify import faults

IMAGE, LABELS = nuclei((8, 44, 50))
_OF_NETWORK = ("CellProbability", "FlowError")
Measure = Callable[..., terapose.Result]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Measure labels of an image, both arrays or addresses, into a new folder."""

    def run(labels: Any, image: Any = IMAGE, **params: Any) -> terapose.Result:
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        if isinstance(image, np.ndarray):
            axes = "zyx"[-image.ndim :]
            image = write_ome_zarr(place / "image.zarr", image, axes=axes)
        if isinstance(labels, np.ndarray):
            tifffile.imwrite(place / "labels.tif", labels)
            labels = place / "labels.tif"
        return terapose.measure(image, labels, place / "out", workers=1, progress=False, **params)

    return run


def polygons(path: Path, features: list[Any]) -> Path:
    """Write features as QuPath does."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def feature(ring: Any, name: str | None = None, kind: str = "cell", **geometry: Any) -> Any:
    """A feature of one ring."""
    shape = {"type": "Polygon", "coordinates": [ring], **geometry}
    properties = {"objectType": kind, **({} if name is None else {"name": name})}
    return {"type": "Feature", "id": "0-1", "geometry": shape, "properties": properties}


def square(x: float, y: float, edge: float) -> list[list[float]]:
    """A closed ring."""
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


@pytest.mark.parametrize("kind", ["plane", "volume"])
def test_the_own_labels_of_a_run_give_its_own_table(tmp_path: Path, kind: str) -> None:
    array = IMAGE[:, :29, :30] if kind == "volume" else np.stack([IMAGE[4], IMAGE[4][::-1]])
    axes = "zyx" if kind == "volume" else "cyx"
    size = (0.6, 0.5, 0.5)
    image = write_ome_zarr(tmp_path / "image.zarr", array, axes=axes, voxel_size=size)
    params: dict[str, Any] = {"table": "csv,parquet", "workers": 1, "progress": False}
    own = terapose.run(image, tmp_path / "own", diameter=10, **params)
    assert own.cells > 3
    # cells of a run may be in several pieces
    given = own.folder / "labels.zarr"
    measured = terapose.measure(image, given, tmp_path / "m", allow_pieces=True, **params)
    np.testing.assert_array_equal(measured.labels, own.labels)
    for name in ("cells.csv", "cells.parquet"):
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        found, there = read(measured.folder / name), read(own.folder / name)
        left_out = [c for c in there if c not in found]
        assert set(left_out) <= set(_OF_NETWORK) and "CellProbability" in left_out
        pd.testing.assert_frame_equal(found, there.drop(columns=left_out), check_exact=True)
    record = measured.provenance
    assert record["given_labels"]["address"] == f"{given}/cells" and "model" not in record
    assert faults(measured.folder) == [] and not (measured.folder / ".terapose").exists()
    report = measured.report.read_text(encoding="utf-8")
    facts = json.loads((measured.folder / "report.json").read_text())
    assert facts["statistics"]["size"]["count"] == own.cells and facts["diameter"]["found"] > 5
    assert facts["given_labels"]["address"] == f"{given}/cells" in report
    assert "Largest cells" in report and "Corners of blocks" not in report
    assert "Network" not in report
    assert not {"diameter-of-network", "diameter-differs"} & {w["name"] for w in facts["warnings"]}


def test_nuclei_are_expanded_as_in_a_run(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "image.zarr", IMAGE[4])
    params: dict[str, Any] = {"table": "csv,geojson", "expand": 3, "workers": 1}
    own = terapose.run(image, tmp_path / "own", diameter=10, **params)
    assert own.cells > 5
    given = own.folder / "labels.zarr" / "nuclei"
    found = terapose.measure(image, given, tmp_path / "m", allow_pieces=True, **params)
    mine, theirs = content(found.folder), content(own.folder)
    same = {n: b for n, b in mine.items() if n.startswith(("labels.zarr", "nuclei", "cyto"))}
    assert len(same) >= 9 and all(theirs[name] == data for name, data in same.items())


@pytest.mark.parametrize("kind", ["plane", "volume"])
def test_any_blocks_give_the_same_bytes(measure: Measure, kind: str) -> None:
    rng = np.random.default_rng(3)
    image, labels = (IMAGE, LABELS) if kind == "volume" else (IMAGE[3], LABELS[3])
    # other numbers, with gaps
    numbers = np.concatenate([[0], 5 * rng.permutation(LABELS.max()) + 70_000])
    given = numbers[labels].astype(np.uint32)
    params: dict[str, Any] = {"renumber": True, "table": "csv,parquet", "mask_tiff": "cell.tif"}
    if kind == "plane":
        params["table"] = "csv,geojson"
    whole = measure(given, image, **params)
    blocks = (3, 13, 16) if kind == "volume" else (1, 13, 16)
    assert content(measure(given, image, block_shape=blocks, **params).folder) == content(
        whole.folder
    )
    # by the position of their first voxels
    ids, first = np.unique(given, return_index=True)
    order = np.argsort(first[ids > 0])
    lookup = np.zeros(int(given.max()) + 1, np.int64)
    lookup[ids[ids > 0][order]] = np.arange(1, len(order) + 1)
    np.testing.assert_array_equal(whole.labels, lookup[given])
    size = "Volume" if kind == "volume" else "Area"
    np.testing.assert_array_equal(whole.table()[size], np.bincount(lookup[given].ravel())[1:])


def test_planes_that_are_decoded_as_a_whole_are_decoded_once(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terapose.io.images.array_like import Lazy

    read, planes = Lazy.__getitem__, []

    def noted(self: Lazy, region: Any) -> Any:
        planes.append(region[0])
        return read(self, region)

    monkeypatch.setattr(Lazy, "__getitem__", noted)
    place = tmp_path / "compressed.tif"
    tifffile.imwrite(place, LABELS, compression="zlib", metadata={"axes": "ZYX"})
    found = measure(place, block_shape=(4, 11, 13))
    assert planes == [slice(0, 4), slice(4, 8)]
    np.testing.assert_array_equal(found.labels, LABELS)


def test_without_measuring_the_table_says_the_same(measure: Measure) -> None:
    whole, bare = measure(LABELS).table(), measure(LABELS, measure="none").table()
    assert len(bare.columns) < len(whole.columns)
    pd.testing.assert_frame_equal(bare, whole[list(bare.columns)])


def test_a_mask_is_a_label_image_of_one_cell(measure: Measure) -> None:
    mask = LABELS == 2
    one = measure(mask.astype(np.uint16)).table()
    assert len(one) == 1
    pd.testing.assert_frame_equal(measure(mask).table(), one)


@pytest.mark.parametrize("which", ["image", "labels"])
def test_arrays_are_refused(tmp_path: Path, which: str) -> None:
    given: dict[str, Any] = {"image": "image.tif", "labels": "labels.tif", which: LABELS}
    what = {"image": "an image"}.get(which, which)
    said = f"{which}: is not the path or URL of {what}; got ndarray; save the array to a file"
    with pytest.raises(InputError, match=said):
        terapose.measure(given["image"], given["labels"], tmp_path / "out")


def test_outlines_come_back_as_they_were(measure: Measure, tmp_path: Path) -> None:
    labels = LABELS[3].astype(np.uint16)
    labels[:6, :6] = 0
    labels[1:6, 1:6] = labels.max() + 1
    labels[2:4, 2:4] = 0  # a hole
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.uint16)
    first = measure(labels, IMAGE[3], table="csv,geojson")
    given = first.folder / "cells.geojson"
    image = first.provenance["image"]["address"]
    for blocks in (None, (1, 16, 17)):
        again = measure(given, image, table="csv,geojson", block_shape=blocks)
        assert content(again.folder) == content(first.folder)


def test_polygons_of_any_form_are_the_pixels_whose_centres_are_inside(measure: Measure) -> None:
    from matplotlib.path import Path as Reference

    rng = np.random.default_rng(5)
    features, expected = [], np.zeros(IMAGE[3].shape, np.int64)
    y, x = np.mgrid[: expected.shape[0], : expected.shape[1]] + 0.5
    for number, (row, column) in enumerate(np.ndindex(3, 4), 1):
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        radius = rng.uniform(2.5, 5.5, 14)
        ring = np.stack([6 + 12 * column + radius * np.cos(angle),
                         7 + 14 * row + radius * np.sin(angle)], axis=1)  # fmt: skip
        features.append(feature([*ring.tolist(), ring[0].tolist()], str(number)))
        inside = Reference(ring).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
        expected[inside.reshape(expected.shape)] = number
    place = measure(LABELS[3], IMAGE[3]).folder.parent / "drawn.geojson"
    found = measure(polygons(place, features), IMAGE[3], block_shape=(1, 9, 11))
    np.testing.assert_array_equal(found.labels, expected)


def test_regions_of_tissue_beside_cells_are_left_out(
    measure: Measure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tissue = feature(square(0, 0, 40), "tissue", "annotation")
    drawn = [feature(square(3, 3, 5), "1"), tissue, feature(square(20, 9, 4), "2")]
    found = measure(polygons(tmp_path / "a.geojson", drawn), IMAGE[3])
    assert found.cells == 2 and found.table()["Area"].tolist() == [25, 16]
    assert "1 annotations beside the cells are left out" in caplog.text
    # alone they are the cells
    alone = measure(polygons(tmp_path / "b.geojson", [tissue]), IMAGE[3], renumber=True)
    assert alone.table()["Area"].tolist() == [1600]


def changed(**voxels: Any) -> NDArray[Any]:
    """Labels with some voxels changed: names are positions, such as z2y3x4."""
    labels = LABELS.astype(np.int64)
    for name, value in voxels.items():
        z, rest = name[1:].split("y")
        y, x = rest.split("x")
        labels[int(z), int(y), int(x)] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "params", "said"),
    [
        (changed(z7y43x49=3, z0y0x49=5), {}, "has cells in several pieces; got 3, 5; join or"),
        (
            changed(z7y43x49=3),
            {"block_shape": (4, 11, 13)},
            "has cells in several pieces; got 3; join or remove the pieces, or give --allow-",
        ),
        (
            np.where(np.isin(LABELS, [2, 4]), 0, LABELS).astype(np.uint16),
            {},
            f"not 1 to N; got {LABELS.max() - 2} cells up to number {LABELS.max()}, without 2, 4;",
        ),
        (
            LABELS + np.uint32(70_000) * (LABELS > 0),
            {},
            r"up to number \d+, without 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 69990 more; give --ren",
        ),
        (changed(z2y3x4=-7), {}, r"from 0 to 2\^32 - 1; got -7 at z, y, x = \(2, 3, 4\); write"),
        (changed(z2y3x4=2**40), {}, r"got 1099511627776 at z, y, x = \(2, 3, 4\); give --renumb"),
        (LABELS.astype(np.float32), {}, "must have whole numbers; got float32"),
        (LABELS[:7], {}, "not have the shape of the image; got .7, 44, 50.*allowed: .8, 44, 50"),
        (LABELS, {"mode": "2d"}, "has cells in several planes, which mode 2d has not; got 1, 2"),
        (LABELS, {"diameter": 3}, "diameter: is not a parameter of measure; allowed: mode, "),
    ],
)
def test_labels_that_are_wrong_are_refused(
    measure: Measure, labels: NDArray[Any], params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        measure(labels, **params)


def test_what_touches_at_a_corner_of_blocks_is_one_piece(measure: Measure) -> None:
    labels = np.zeros(IMAGE.shape, np.uint8)
    labels[3, 10, 12] = labels[4, 11, 13] = labels[5, 10, 12] = labels[6, 9, 13] = 1
    labels[3, 30, 40] = labels[4, 31, 39] = labels[5, 32, 40] = 2
    for blocks in (None, (4, 11, 13), (4, 31, 40), (5, 10, 12)):
        assert measure(labels, block_shape=blocks).table()["Volume"].tolist() == [4, 3]
    pieces = labels.copy()
    pieces[6, 9, 13], pieces[6, 8, 13] = 0, 1
    with pytest.raises(InputError, match="several pieces; got 1;"):
        measure(pieces, block_shape=(4, 11, 13))
    assert measure(pieces, allow_pieces=True).cells == 2


@pytest.mark.parametrize(
    ("drawn", "params", "said"),
    [
        (
            [feature(square(3, 3, 5), "4"), feature(square(7, 7, 5), "6")],
            {"renumber": False},
            "has polygons that overlap; got 4 and 6; move their outlines",
        ),
        (
            [feature(square(3, 3, 5), "1"), feature(square(7, 7, 5), "1")],
            {},
            "has several cells with the same number; got 1; give --renumber",
        ),
        (
            [feature(square(3, 3, 5)), feature(square(9, 9, 5), "tumour")],
            {},
            "whose name is not a number from 1 to .*; got feature 1, tumour; give --renumber",
        ),
        (
            [feature(square(3, 3, 5), "1"), feature(square(60, 3, 5), "2")],
            {},
            r"outside of the image, or of the region; got 2; allowed: \(1, 44, 50\)",
        ),
        ([feature(square(3.6, 3.6, 0.5), "1")], {}, "has cells without a pixel; got 1; remove"),
        (
            [feature([3, 4], "9", type="Point"), feature(square(1, 1, 3), "1", type="Line")],
            {},
            r"features that are not polygons; got 9 \(Point\), 1 \(Line\); remove",
        ),
    ],
)
def test_polygons_that_are_wrong_are_refused(
    measure: Measure, tmp_path: Path, drawn: list[Any], params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        measure(polygons(tmp_path / "drawn.geojson", drawn), IMAGE[3], **params)


def test_polygons_that_overlap_are_named_in_any_blocks(measure: Measure, tmp_path: Path) -> None:
    drawn = [feature(square(3, 3, 30)), feature(square(20, 20, 5)), feature(square(1, 1, 3))]
    place = polygons(tmp_path / "drawn.geojson", drawn)
    with pytest.raises(InputError, match="overlap; got feature 1 and feature 2, feature 1 and f"):
        measure(place, IMAGE[3], renumber=True)
    with pytest.raises(InputError, match="that overlap; got feature 1 and feature"):
        measure(place, IMAGE[3], renumber=True, block_shape=(1, 8, 8))


def test_polygons_are_of_planes(measure: Measure, tmp_path: Path) -> None:
    place = tmp_path / "drawn.geojson"
    drawn = [feature(square(3, 3, 5), "1"), feature(square(3, 3, 4), "2", plane={"z": 6})]
    polygons(place, drawn)
    with pytest.raises(InputError, match="polygons are cells of planes; got mode 3d; allowed: mo"):
        measure(place)
    found = measure(place, mode="2d")
    assert [np.count_nonzero(found.labels[z]) for z in range(8)] == [25, 0, 0, 0, 0, 0, 16, 0]


def test_the_command(tmp_path: Path, command: Terapose) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", IMAGE[2:5], voxel_size=(2.0, 0.5, 0.5))
    words = ("--diameter", 10, "--mode", "2d", "--jobs", 1)
    region = ("--region", "0:3,4:40,6:46")
    assert command("segment", image, tmp_path / "own", *words, *region).code == 0
    own = tmp_path / "own" / "labels.zarr"
    measured = ("measure", image, own, tmp_path / "m", "--allow-pieces", "--jobs", 1)
    said = command(*measured, "--report")
    assert said.code == 0, said.err
    assert f"table:  {tmp_path / 'm' / 'cells.csv'}" in said.out
    assert f"report: {tmp_path / 'm' / 'report.html'}" in said.out
    facts = json.loads((tmp_path / "m" / "report.json").read_text())
    assert facts["sample"] == "m" and facts["diameter"]["used"] is None
    # the page of what was measured goes with it
    assert command(*measured).code == 0 and not (tmp_path / "m" / "report.html").exists()
    there, found = (pd.read_csv(tmp_path / n / "cells.csv") for n in ("own", "m"))
    # mode, region and voxel size are those of the run
    left = [name for name in _OF_NETWORK if name in there]
    assert len(there) > 5 and len(left) == 2
    pd.testing.assert_frame_equal(found, there.drop(columns=left), check_exact=True)
    sentence = command.refuses("measure", image, own, tmp_path / "own", "--jobs", 1)
    assert "would be overwritten by the results" in sentence
    labels = write_zarr(tmp_path / "copy.zarr", np.zeros((3, 44, 50), np.uint8))
    sentence = command.refuses("measure", image, labels, tmp_path / "own", "--jobs", 1)
    assert "holds the results of a run, which would be replaced; choose another" in sentence
    # nothing is found in them, and nothing is wrong with that
    none = ("measure", image, labels, tmp_path / "none", "--jobs", 1, "--report")
    assert command(*none).code == 0
    (warning,) = json.loads((tmp_path / "none" / "report.json").read_text())["warnings"]
    assert warning["name"] == "no-cells" and "labels" in warning["remedy"]
    assert len((tmp_path / "none" / "cells.csv").read_text().splitlines()) == 1


def test_a_file_that_changes_while_it_is_read_is_refused(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terapose.results.given import source

    place = polygons(tmp_path / "a.geojson", [feature(square(3, 3, 5), "1")])
    read = source.Polygons.read

    def and_change(self: Any, box: Any) -> Any:
        found = read(self, box)
        polygons(place, [])
        return found

    monkeypatch.setattr(source.Polygons, "read", and_change)
    with pytest.raises(InputError, match="has changed since it was opened"):
        measure(place, IMAGE[3])


def test_pieces_are_those_of_the_whole_image_in_any_blocks(measure: Measure) -> None:
    rng = np.random.default_rng(11)
    labels = (rng.random(IMAGE.shape) < 0.17).astype(np.uint8)
    whole, count = ndimage.label(labels, np.ones((3, 3, 3)))
    assert count > 20
    # of each piece a label of its own: each is one, in any blocks
    pieces = measure(whole.astype(np.uint16), block_shape=(3, 7, 9))
    assert pieces.cells == count
    # of two, one is found in two
    sizes = np.argsort(np.bincount(whole.ravel())[1:])[::-1] + 1
    joined = np.where(whole == sizes[1], sizes[0], whole)
    with pytest.raises(InputError, match=f"several pieces; got {sizes[0]};"):
        measure(joined.astype(np.uint16), block_shape=(3, 7, 9))
