"""A few cases of `benchmarks.exactness`, and what docs/exactness.md says of Cellpose."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.cases import Case, make_cases, make_image, make_networks
from benchmarks.exactness import BEGIN, END, Row, report, run_case, verdict, write
from benchmarks.oracle import cellpose_labels, differing, is_defined, numbered, terapose_results
from cellpose import transforms, utils
from numpy.typing import NDArray

from terapose.core.params import Parameters, check
from terapose.networks.loading import load
from terapose.stages.stitch import join

CASES = make_cases()


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_networks(tmp_path_factory.mktemp("networks"))


def some(mode: str, count: int) -> list[Case]:
    """The cases of a mode that cost least: few tiles of the network, and an oracle."""

    def cost(case: Case) -> float:
        grid = np.array(case.shape) * 30 / case.params["diameter"]
        grid[0] *= case.params.get("anisotropy", 1)
        tiles = float(grid.sum() if mode == "3d" else grid[1] * grid[2] / 100)
        # each rectangle of a plane runs the tiles that it shares with others
        again = 4 if mode == "3d" and any("rectangle" in cut for cut in case.cuts) else 1
        tiles *= again * (5 if case.network == "shipped" else 1)
        return tiles + math.prod(case.shape) / 1000

    own = [c for c in CASES if c.mode == mode and is_defined(check(c.params), mode)]
    return sorted(own, key=cost)[:count]


QUICK = [*some("3d", 1), *some("2d", 3), *some("stitch", 3)]


@pytest.mark.parametrize("case", QUICK, ids=lambda c: f"{c.number}-{c.mode}")
def test_any_cut_gives_the_bytes_of_one_piece_and_the_cells_of_cellpose(
    case: Case, networks: dict[str, Path]
) -> None:
    row = run_case(case, networks)
    assert row.cells > 0
    assert row.voxels == (0,) * len(case.cuts)
    assert row.tables == 0
    assert row.cellpose == 0


def test_the_cases_cover_what_the_page_says() -> None:
    compared = [c for c in CASES if is_defined(check(c.params), c.mode)]
    assert len(compared) >= 40
    assert Counter(c.mode for c in compared) > Counter({"3d": 15, "2d": 15, "stitch": 15})
    stretched = [c for c in compared if c.params.get("anisotropy", 1) != 1]
    assert len(stretched) >= 5
    assert {c.params["flow_scaling"] for c in stretched} == {"cellpose"}
    assert sum(c.mode == "3d" and "flow_scaling" not in c.params for c in compared) >= 5
    used = Counter(name for c in CASES for name in c.params)
    used.update(str(c.params.get("normalize", "global")) for c in CASES)
    used.update(name for c in CASES for cut in c.cuts for name in cut)
    shaping = {"normalize", "normalize_tile", "percentiles", "percentile_sampling", "lowhigh"}
    shaping |= {"global", "plane", "tile", "none", "invert", "foreground_min", "channels"}
    shaping |= {
        "diameter",
        "anisotropy",
        "tile_overlap",
        "augment",
        "skip_empty",
        "flow3d_smooth",
        "flow_scaling",
    }
    shaping |= {"cellprob_threshold", "niter", "flow_threshold", "stitch_threshold", "min_size"}
    shaping |= {"max_size_fraction", "min_median_fraction", "border"}
    shaping |= {"block_shape", "slab_planes", "rectangle", "max_tasks"}
    assert not {name for name in shaping if used[name] < 2}
    assert shaping - {"global", "plane", "tile", "none"} <= set(Parameters.model_fields)
    sizes = [c.diameter[2] for c in CASES]
    assert min(sizes) < 10 and max(sizes) > 50
    smaller = [c for c in CASES if c.cuts[0]["block_shape"][2] < c.diameter[2]]
    assert len(smaller) >= 20


def test_cases_are_the_same_every_time() -> None:
    assert make_cases() == CASES
    np.testing.assert_array_equal(make_image(CASES[3]), make_image(make_cases()[3]))


def test_voxels_that_differ_are_counted() -> None:
    one = np.array([[0, 0, 5, 5], [0, 7, 5, 5], [7, 7, 2, 2]])
    renumbered = np.array([0, 0, 9, 0, 0, 1, 0, 3])[one]
    assert differing(one, renumbered) == 0
    for place, other, expected in (
        ((0, 0), 4, 1),  # background that became a cell
        ((0, 2), 0, 1),  # the other way round
        ((0, 2), 7, 1),  # a voxel of another cell
        ((0, 2), 4, 1),  # a voxel that became a cell of its own
        ((2, slice(2, 4)), 5, 2),  # two cells that became one
    ):
        changed = one.copy()
        changed[place] = other
        assert differing(one, changed) == differing(changed, one) == expected
    with pytest.raises(ValueError, match="shapes"):
        differing(one, one[:2])


@pytest.mark.parametrize(
    "change", [{"min_size": 400}, {"cellprob_threshold": 2.0}, {"diameter": 30.5}]
)
def test_a_difference_does_not_go_unnoticed(
    networks: dict[str, Path], change: dict[str, float]
) -> None:
    case = next(c for c in CASES if c.mode == "2d" and c.network == "gradient" and c.shape[0] == 1)
    network, image = load(networks[case.network]), make_image(case)
    one = cellpose_labels(image, network, check(case.params), case.mode)
    other = cellpose_labels(image, network, check({**case.params, **change}), case.mode)
    assert differing(one, other) > 0


def test_there_is_no_oracle_for_what_cellpose_lacks(networks: dict[str, Path]) -> None:
    params, network = check({"border": "drop"}), load(networks["gradient"])
    with pytest.raises(ValueError, match="does not define"):
        cellpose_labels(np.zeros((1, 4, 30, 30)), network, params, "3d")


ROW = Row(7, "3d", "gradient", (4, 30, 31), 12.0, {}, ({},), 5, (0,), 0, 0, 1.5)


@pytest.mark.parametrize("change", [{"voxels": (1,)}, {"tables": 1}, {"cellpose": 2}])
def test_a_row_that_differs_fails_the_run(
    change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ROW.exact and replace(ROW, cellpose=None).exact
    other = replace(ROW, number=8, **change)  # type: ignore[arg-type]
    assert not other.exact
    assert verdict([ROW, ROW]) == 0 and verdict([ROW, other]) == 1
    printed = capsys.readouterr().out
    assert printed == "2 cases, 0 with differences\n2 cases, 1 with differences: 8\n"


def test_the_page_is_written_between_its_markers(tmp_path: Path) -> None:
    row = replace(ROW, cuts=({"block_shape": (2, 30, 31), "blocks": 2},), voxels=(3,), tables=1)
    text = report([row, replace(row, number=8, cellpose=None)], {"Time": "1 minute"}, "make it")
    assert "6 voxels and 2 tables differ" in text and "0 of 3,720 voxels differ" in text
    assert "| 2x30x31 (2) | 5 | 3 (1 tables) | 0 |" in text
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    write(page, text)
    assert page.read_text() == f"above\n{BEGIN}\n\n{text}\n\n{END}\nbelow\n"
    page.write_text("no markers")
    with pytest.raises(SystemExit, match="lacks the markers"):
        write(page, text)


def blobs(planes: tuple[int, ...]) -> NDArray[np.float32]:
    """A stack of one channel with a blob in some planes; values are as the network wants them."""
    y, x = np.indices((48, 48)) - 24
    blob = np.maximum(0, 1 - (y**2 + x**2) / 15**2)
    return np.stack([blob * (n in planes) for n in range(max(planes) + 2)])[None].astype(np.float32)


def stitched(
    networks: dict[str, Path], image: NDArray[np.float32]
) -> tuple[NDArray[np.int64], ...]:
    """Labels of Terapose and of Cellpose."""
    given = {"mode": "stitch", "normalize": "none", "flow_threshold": 0}
    params = check({**given, "model": str(networks["gradient"])})
    theirs = cellpose_labels(image, load(networks["gradient"]), params, "stitch")
    return terapose_results(image, params)[0].astype(np.int64), theirs


def test_cellpose_gives_a_number_twice_after_an_empty_plane(networks: dict[str, Path]) -> None:
    ours, theirs = stitched(networks, blobs((0, 2)))
    assert set(np.unique(theirs[0])) == set(np.unique(theirs[2])) == {0, 1}
    assert ours[0].max() == 1 and ours[2].max() == 2
    ours, theirs = stitched(networks, blobs((0, 1, 3)))
    assert theirs[0].max() != theirs[3].max()
    assert differing(ours, theirs) == 0


def test_cellpose_keeps_a_small_first_cell_where_there_is_no_background() -> None:
    masks = np.array([[1, 2, 2], [2, 2, 2]], np.uint16)
    kept = utils.fill_holes_and_remove_small_masks(masks.copy(), min_size=2)
    np.testing.assert_array_equal(kept, masks)
    masks[0, 2] = 0
    kept = utils.fill_holes_and_remove_small_masks(masks.copy(), min_size=2)
    np.testing.assert_array_equal(kept > 0, masks == 2)


def test_cellpose_leaves_a_constant_plane_as_it_is() -> None:
    stack = np.full((2, 4, 5, 1), 300, np.float32)
    stack[0, ..., 0] += np.arange(20).reshape(4, 5)
    scaled = transforms.normalize_img(stack.copy(), norm3D=False)
    assert abs(scaled[0]).max() < 2
    np.testing.assert_array_equal(scaled[1], stack[1])


def test_cellpose_rounds_integers_that_it_resizes() -> None:
    plane = np.array([[0, 1], [1, 2]], np.uint16)[..., None]
    resized = transforms.resize_image(plane, 3, 3)
    assert resized.dtype == np.uint16
    exact = transforms.resize_image(plane.astype(np.float32), 3, 3)
    assert not np.array_equal(resized, exact)


def runs(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Narrow planes of runs of pixels, numbered in each plane: many overlap equally well."""
    stack = np.zeros((rng.integers(2, 5), 1, rng.integers(3, 9)), np.uint16)
    for plane in stack[:, 0]:
        edges = np.flatnonzero(rng.random(len(plane)) < 0.4)
        for run in np.split(np.arange(len(plane)), edges):
            if rng.random() < 0.75:
                plane[run] = plane.max() + 1
    return stack


def test_planes_are_joined_as_cellpose_joins_them_and_equals_too() -> None:
    rng = np.random.default_rng(1)
    several = 0
    for _ in range(3000):
        stack = runs(rng)
        if not stack[:2].any(axis=(1, 2)).all():
            continue  # there Cellpose gives numbers twice
        threshold = float(rng.choice([0.1, 0.25, 0.5]))
        theirs = utils.stitch3D(stack.copy(), stitch_threshold=threshold)
        objects = numbered(list(stack), stack.shape[1:])
        plane = np.nonzero(np.ones_like(objects))[0][np.unique(objects, return_index=True)[1]]
        above, below = objects[:-1].ravel(), objects[1:].ravel()
        both = (above > 0) & (below > 0)
        pairs = {"upper": above[both], "lower": below[both], "count": np.ones(both.sum(), int)}
        ids, count = np.unique(objects, return_counts=True)
        there = ids > 0
        cell = np.concatenate([[0], join(plane[there], count[there], pairs, threshold)])
        assert differing(cell[objects], theirs) == 0, (threshold, stack)
        several += any(
            len(np.unique(p)) < len(np.unique(s)) for p, s in zip(theirs, stack, strict=True)
        )
    assert several > 50
