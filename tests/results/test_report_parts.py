"""Parts of reports: distributions, places, outlines, warnings; and what is read for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from terapose.io.images.array_like import Lazy
from terapose.io.images.opening import open_image
from terapose.io.images.watch import Watch
from terapose.results.report.cells import Summary
from terapose.results.report.drawing import bar_length
from terapose.results.report.elements import element, number, text
from terapose.results.report.findings import Finding, findings
from terapose.results.report.numbers import _statistics, found_diameter
from terapose.results.report.pixels import outlined
from terapose.results.report.places import fullest, places
from terapose.results.report.sample_page import diameter_said, warnings
from terapose.results.report.source import Source
from terapose.results.report.spread import Spread, even_edges, size_edges
from terapose.results.report.views import views

SHAPE = (20, 400, 600)


def rows(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> dict[str, Any]:
    """A table of cells at random places."""
    chance = np.random.default_rng(seed)
    found: dict[str, Any] = {"CellID": np.arange(1, count + 1)}
    for axis, n in zip("ZYX", shape, strict=True):
        found[f"{axis}_centroid"] = chance.uniform(0, n - 1, count)
    found["size"] = chance.integers(300, 700, count)
    found["CellProbability"] = chance.normal(5, 2, count)
    found["FlowError"] = chance.gamma(2, 0.05, count)
    found["TouchesBorder"] = chance.random(count) < 0.1
    for axis in "yx":
        found[f"BoundingBox_{axis}0"] = np.zeros(count, int)
        found[f"BoundingBox_{axis}1"] = np.full(count, 12)
    return found


def summary(table: dict[str, Any], step: int, shape: tuple[int, int, int] = SHAPE) -> Summary:
    found = Summary(shape)
    for first in range(0, len(table["CellID"]), step):
        found.add({k: v[first : first + step] for k, v in table.items()}, (0, 0, 0))
    return found


def test_nothing_depends_on_how_the_table_is_read() -> None:
    table = rows(5000)
    one, many = summary(table, 5000), summary(table, 37)
    for name in ("size", "probability", "error"):
        np.testing.assert_array_equal(getattr(one, name).counts, getattr(many, name).counts)
    np.testing.assert_array_equal(one.density, many.density)
    np.testing.assert_array_equal(one.samples, many.samples)
    assert one.kinds == many.kinds and one.border == many.border
    worst = np.argsort(-table["FlowError"], kind="stable")[:6] + 1
    assert [cell.number for cell in one.kinds["error"]] == worst.tolist()
    assert places(one, (20, 100, 100)) == places(many, (20, 100, 100))


def test_values_that_are_not_numbers_are_left_out() -> None:
    table = rows(50)
    table["FlowError"][:45] = np.nan
    found = summary(table, 7)
    assert found.error.count == len(found.kinds["error"]) == 5
    assert np.isnan(Spread(even_edges(0, 1, 0.1)).quantile(0.5))


@pytest.mark.parametrize("high", [50, 4000, 10**7])
def test_percentiles(high: int) -> None:
    values = np.random.default_rng(1).integers(1, high, 3001)
    found = Spread(size_edges())
    found.add(values)
    for share in (0.05, 0.5, 0.95):
        right = np.quantile(values, share, method="inverted_cdf")
        assert found.quantile(share) == pytest.approx(right, rel=0 if high <= 4096 else 0.012)
    assert found.classes(np.geomspace(1, high, 11)).sum() == 3001
    assert found.share(high / 2) == pytest.approx((values >= high / 2).mean(), abs=0.01)


def test_sections_go_through_cells_and_not_through_a_corner() -> None:
    """Each part of this volume has one cell at most, and the first is in the corner."""
    table = rows(200, (40, 90, 90))
    found = summary(table, 200, (40, 90, 90))
    center = np.array(fullest(found, (40, 90, 90)))
    cells = np.stack([np.floor(table[f"{a}_centroid"] + 0.5) for a in "ZYX"], 1)
    assert (cells == center).all(1).any()
    assert (abs(center / (40, 90, 90) - 0.5) < 0.4).all()
    assert fullest(None, (4, 6, 8)) == (2, 3, 4)


def test_places_are_in_the_image_and_corners_between_blocks() -> None:
    found = summary(rows(3000), 3000)
    some = places(found, (20, 100, 150))
    for place in some:
        assert all(0 <= n < whole for n, whole in zip(place.center, SHAPE, strict=True))
    corners = [place.center for place in some if place.kind == "corner"]
    assert len(set(corners)) == 6
    assert all(y in (100, 200, 300) and x in (150, 300, 450) for _, y, x in corners)
    for block in (None, (20, 400, 600)):
        assert not [place for place in places(found, block) if place.kind == "corner"]


def test_outlines() -> None:
    labels = np.zeros((6, 9), np.uint32)
    labels[1:5, 1:4] = 3
    labels[1:5, 4:8] = 7
    drawn = outlined(labels, (8, 8), chosen=7)
    fine = labels.repeat(8, 0).repeat(8, 1)
    assert set(np.unique(drawn[fine == 3])) == {0, 1}
    assert set(np.unique(drawn[fine == 7])) == {0, 2}
    assert not drawn[fine == 0].any()
    # two pixels wide on either side of where cells touch
    assert drawn[20, 28:36].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    assert (outlined(labels, (1, 1), filled=True) > 0).tolist() == (labels > 0).tolist()


def test_text_is_escaped() -> None:
    assert text("<a href='x'>&\x1b") == "&lt;a href=&#x27;x&#x27;&gt;&amp;\\x1b"
    assert element("td", "<", class_='"') == '<td class="&quot;">&lt;</td>'
    assert len(text("x" * 10**6)) < 3000
    assert [number(v) for v in (1234, 0.12345, 98765.4, None)] == [
        "1,234",
        "0.123",
        "98,765",
        "\N{EN DASH}",
    ]
    assert [bar_length(width) for width in (4, 9.9, 1000)] == [1, 2, 200]


def test_options_are_code_with_their_values() -> None:
    remedy = "Use --border drop; or --diameter 12.5. If not, --min-size or a higher --x."
    page = warnings([Finding("name", "Said.", remedy)])
    code = ("--border drop", "--diameter 12.5", "--min-size", "--x")
    assert all(f"<code>{one}</code>" in page for one in code) and page.count("<code>") == 4


RECORD: dict[str, Any] = {
    "cells": 1000,
    "mode": "2d",
    "compartments": ["cells"],
    "rescale": 1.7,
    "anisotropy": 1.0,
    "model": {"diam_mean": 40.0},
    "image": {"shape": [1, 1000, 1000]},
    "output": {"shape": [1, 1000, 1000], "voxel_size": None},
    "stages": {"relabel": {"params": {"flow_threshold": None}}},
    "notes": [],
}
FINE = {"share": 0.001, "counts": True, "highest": 65535.0}


def found_in(table: dict[str, Any], record: dict[str, Any], saturated: dict[str, Any]) -> set[str]:
    shape = (1, 1000, 1000)
    found = summary(table, 1000, shape)
    given = {**RECORD, "cells": len(table["CellID"]), **record}
    some = findings(given, found, saturated)
    assert all(one.said.endswith(".") and one.remedy.endswith(".") for one in some)
    return {one.name for one in some}


def test_results_without_signs_have_no_warnings() -> None:
    assert found_in(rows(1000, (1, 1000, 1000)), {}, FINE) == set()


@pytest.mark.parametrize(
    ("name", "column", "share", "value"),
    [
        ("border", "TouchesBorder", 0.5, True),
        ("merged", "size", 0.05, 5000),
        ("pieces", "size", 0.3, 20),
        ("flow-error", "FlowError", 0.4, 0.39),
    ],
)
def test_warnings_about_cells(name: str, column: str, share: float, value: float) -> None:
    table = rows(1000, (1, 1000, 1000))
    table[column][: int(share * 1000)] = value
    assert found_in(table, {}, FINE) == {name}


@pytest.mark.parametrize(
    ("name", "record", "saturated"),
    [
        ("diameter-of-network", {"rescale": 1, "model": {"diam_mean": 24.0}}, FINE),
        ("diameter-differs", {"rescale": 0.5}, FINE),
        ("saturated", {}, {**FINE, "share": 0.05}),
        ("note", {"notes": ["Two kinds of machines."]}, FINE),
    ],
)
def test_warnings_about_a_run(name: str, record: dict[str, Any], saturated: dict[str, Any]) -> None:
    assert found_in(rows(1000, (1, 1000, 1000)), record, saturated) == {name}


@pytest.mark.parametrize(
    ("family", "origin", "names"),
    [
        ("unet", "network", {"diameter-of-network"}),
        ("unet", "given", set()),
        ("unet", "found", set()),
        ("cellpose4", "network", set()),
    ],
)
def test_a_network_that_needs_no_diameter_lacks_none(
    family: str, origin: str, names: set[str]
) -> None:
    record = {
        "rescale": 1,
        "model": {"diam_mean": 24.0, "family": family},
        "diameter": {"origin": origin, "pixels": 24.0, "note": ""},
    }
    assert found_in(rows(1000, (1, 1000, 1000)), record, FINE) == names


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("given", "17.9 px, given"),
        ("found", "17.9 px, found in the image"),
        ("network", "17.9 px, the network's own"),
        # of a record of an earlier release
        (None, "17.9 px"),
    ],
)
def test_a_page_says_how_the_diameter_came_about(origin: str | None, said: str) -> None:
    assert diameter_said({"used": 17.9, "origin": origin}) == said


def test_why_no_diameter_was_found_is_said_once() -> None:
    why = "the size of cells cannot be found: in 3 windows at 2 scales too few were found"
    second = "second network (channels 2): diameter: 24 pixels"
    record = {
        **RECORD,
        "rescale": 1,
        "model": {"diam_mean": 24.0},
        "diameter": {"origin": "network", "note": why},
        "notes": [f"diameter: 24 pixels, as of the network: {why}", second, "Two kinds."],
    }
    shape = (1, 1000, 1000)
    some = findings(record, summary(rows(1000, shape), 1000, shape), FINE)
    assert [one.name for one in some] == ["diameter-of-network", "note", "note"]
    assert why in some[0].said and [one.said for one in some[1:]] == [second, "Two kinds."]


def test_sizes_of_nuclei_are_compared_with_the_diameter_of_nuclei() -> None:
    """Cells are what nuclei grew to, or of a network with a diameter of its own."""
    shape = (1, 1000, 1000)
    small, large = rows(1000, shape), rows(1000, shape)
    large["size"] *= 9
    large["size"][:50] *= 9
    record = {**RECORD, "compartments": ["cells", "nuclei", "cytoplasm"]}
    nuclei, cells = summary(small, 1000, shape), summary(large, 1000, shape)
    assert {one.name for one in findings(RECORD, cells, FINE)} == {"diameter-differs", "merged"}
    assert findings(record, cells, FINE, nuclei) == findings(record, cells, FINE) == []
    said = findings(record, nuclei, FINE, cells)
    assert [one.name for one in said] == ["diameter-differs", "merged"]
    assert "The median nucleus" in said[0].said and "% of the nuclei" in said[1].said
    # nor of cells that a function of the user has changed
    done = {**RECORD, "stages": {**RECORD["stages"], "process_cells": {"params": {}}}}
    assert [one.name for one in findings(done, cells, FINE)] == ["merged"]


def test_a_stack_of_planes_has_cells_per_area() -> None:
    shape = (20, 400, 600)
    found = summary(rows(480), 480)
    for mode, size, unit, value in (
        ("2d", None, "per_megapixel", 100),
        ("2d", [2.0, 0.5, 0.5], "per_mm2", 400),
        ("3d", None, "per_megavoxel", 100),
        ("3d", [2.0, 0.5, 0.5], "per_mm3", 200_000),
    ):
        record = {**RECORD, "mode": mode, "output": {"shape": shape, "voxel_size": size}}
        assert _statistics(found, record)["density"] == {"value": value, "unit": unit}


def test_anisotropy_is_of_the_level_that_was_segmented() -> None:
    """A ball at level 0, where voxels are twice as high for the pixels of it as at level 1."""
    found = summary({**rows(100), "size": np.full(100, 1000)}, 100)
    record = {**RECORD, "mode": "3d", "anisotropy": 1.5}
    record["output"] = {"shape": [20, 400, 600], "voxel_size": None}
    diameters = [
        found_diameter(found, {**record, "image": {"shape": shape}}) or 0.0
        for shape in ([20, 400, 600], [20, 200, 300], [10, 200, 300])
    ]
    assert diameters[1] == pytest.approx(diameters[0] * 2 ** (1 / 3))
    assert diameters[2] == diameters[0]


def test_warnings_of_few_cells_and_unknown_sizes() -> None:
    assert found_in(rows(4, (1, 1000, 1000)), {}, FINE) == {"few-cells"}
    assert found_in(rows(0, (1, 1000, 1000)), {}, FINE) == {"no-cells"}
    high = {"share": 0.5, "counts": False, "highest": 3.0}
    assert "saturated" not in found_in(rows(100, (1, 1000, 1000)), {}, high)


@pytest.mark.parametrize("levels", [1, 5])
def test_what_is_read_of_a_huge_image_is_bounded(tmp_path: Path, levels: int) -> None:
    """4,000 planes of 40,000 x 40,000: of its chunks none is there, so it takes no room."""
    shape = (4000, 40_000, 40_000)
    for name, dtype in (("image", "uint16"), ("labels", "uint32")):
        sparse(tmp_path / name, shape, dtype, levels)
    image = Lazy(open_image(tmp_path / "image"))
    source = Source(image, Lazy(open_image(tmp_path / "labels")), None, (64.0,) * 3, Watch())
    found = summary(rows(20_000, shape), 20_000, shape)
    shown = views(source, fullest(found, shape), places(found, source.block), 12.0)
    assert {view.kind for view in shown} >= {"YX", "ZX", "ZY", "corner", "random"}
    # without a level that is small enough, there is nothing to show of a whole plane
    assert [view.kind for view in shown].count("overview") == (levels > 1)
    assert 0 < source.saturation.read < 2**25
    assert sum(len(view.grey) + len(view.outlines) for view in shown) < 2**23


def sparse(path: Path, shape: tuple[int, ...], dtype: str, levels: int) -> None:
    """An OME-Zarr image without a single chunk."""
    group = zarr.create_group(str(path), zarr_format=3)
    datasets = []
    for level in range(levels):
        scale = [1.0, 2.0**level, 2.0**level]
        size = tuple(int(n / s) for n, s in zip(shape, scale, strict=True))
        group.create_array(str(level), shape=size, dtype=dtype, chunks=(16, 256, 256))
        change = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": change})
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    about: Any = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group.attrs["ome"] = about


def test_a_large_plane_has_a_detail_and_a_small_one_none(tmp_path: Path) -> None:
    for edge in (1000, 5000):
        shape = (1, edge, edge)
        for name, dtype in (("image", "uint16"), ("labels", "uint32")):
            sparse(tmp_path / f"{name}-{edge}", shape, dtype, 3)
        image, labels = (Lazy(open_image(tmp_path / f"{n}-{edge}")) for n in ("image", "labels"))
        source = Source(image, labels, None, None, Watch())
        found = summary(rows(500, shape), 500, shape)
        kinds = [view.kind for view in views(source, fullest(found, shape), [], 12.0)]
        assert kinds == (["overview", "detail"] if edge > 1024 else ["overview"])
