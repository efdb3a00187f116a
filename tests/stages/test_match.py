"""Nuclei matched to the cells of a second network: the rules on the whole image, however cut."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from numpy.typing import NDArray
from skimage.filters import gaussian
from tests.command import Terapose
from tests.fields import balls

from terapose.algorithms.objects.expand import expand
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.intermediates.compartments import ALL
from terapose.io.labels.ome_zarr import open_level
from terapose.stages.match import matched

Labels = NDArray[Any]


def by_hand(nuclei: Labels, cells: Labels) -> dict[int, int]:
    """The cell of each nucleus, found pair by pair."""
    asked: dict[int, tuple[int, int]] = {}
    for n in np.unique(nuclei[nuclei > 0]).tolist():
        inside = nuclei == n
        shared = [(-int((inside & (cells == c)).sum()), c) for c in np.unique(cells[inside])]
        best = min((s for s in shared if s[1]), default=(0, 0))
        if -2 * best[0] >= inside.sum():
            asked[n] = best
    found = {}
    for c in {c for _, c in asked.values()}:
        rivals = sorted((pixels, n) for n, (pixels, of) in asked.items() if of == c)
        found[rivals[0][1]] = int(c)
    return found


def compartments_by_hand(nuclei: Labels, cells: Labels) -> tuple[Labels, Labels]:
    """Cells and nuclei with shared numbers, pixel by pixel."""
    cell_of = by_hand(nuclei, cells)
    owner = {c: n for n, c in cell_of.items()}
    both = np.zeros((2, *nuclei.shape), np.int64)
    for at in np.ndindex(nuclei.shape):
        n, c = int(nuclei[at]), int(cells[at])
        if n and cell_of.get(n, c) == c:
            both[(0, *at)] = both[(1, *at)] = n
        else:
            both[(0, *at)] = owner.get(c, 0)
    return both[0], both[1]


@pytest.mark.parametrize("seed", range(4))
def test_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nuclei = np.kron(rng.permutation(36).reshape(6, 6), np.ones((4, 4), int))
    cells = np.kron(rng.integers(0, 12, (4, 8)), np.ones((6, 3), int))
    _, nuclei = np.unique(nuclei, return_inverse=True)
    nuclei = nuclei.reshape(24, 24)
    both = (nuclei > 0) & (cells > 0)
    pairs = {"nucleus": nuclei[both], "cell": cells[both], "count": np.ones(both.sum(), int)}
    count = np.bincount(nuclei.ravel())[1:]
    cell_of, owner = matched(count, pairs, 11)
    found = {n: int(c) for n, c in enumerate(cell_of) if c}
    assert len(found) >= 3
    assert found == by_hand(nuclei, cells)
    assert all(owner[c] == n for n, c in found.items())
    assert (owner > 0).sum() == len(found)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nuclei, and bodies of most of their cells, some of them larger, some of two."""
    rng = np.random.default_rng(8)
    nuclei = balls((1, 140, 160), seed=8, count=40, radius=8)
    bodies = expand(np.where(nuclei % 5, (nuclei + 1) // 2, 0).astype(np.uint32), 4)[0]
    image = rng.integers(0, 90, (2, 140, 160)).astype(np.float64)
    image[0] += gaussian((nuclei[0] > 0) * 900.0, 1)
    image[1] += gaussian((bodies > 0) * 900.0, 1)
    path = tmp_path_factory.mktemp("slide") / "slide.zarr"
    zarr.create_array(
        str(path), data=image.astype(np.uint16), dimension_names=["c", "y", "x"], chunks=(1, 64, 64)
    )
    return path


def segmented(slide: Path, out: Path, **params: Any) -> Path:
    segment_file(str(slide), out, check({"diameter": 16, **params}))
    return out


def image_of(out: Path, name: str) -> Labels:
    return np.asarray(open_level(str(out / "labels.zarr"), 0, name=name)[:])


SECOND = {"cell_channels": (2,), "cell_diameter": 22}


def test_cells_of_a_second_network(slide: Path, tmp_path: Path) -> None:
    nuclei = image_of(segmented(slide, tmp_path / "nuclei"), "cells")
    alone = segmented(slide, tmp_path / "cells", channels=(2,), diameter=22)
    bodies = image_of(alone, "cells")
    out = segmented(slide, tmp_path / "both", **SECOND, mask_tiff="cell.ome.tif")
    known = compartments_by_hand(nuclei, bodies)
    found = {name: image_of(out, name) for name in ALL}
    np.testing.assert_array_equal(found["cells"], known[0])
    np.testing.assert_array_equal(found["nuclei"], known[1])
    np.testing.assert_array_equal(found["cytoplasm"], np.where(known[1], 0, known[0]))
    assert 5 < len(by_hand(nuclei, bodies)) < nuclei.max()
    for name in ALL:
        table = pd.read_csv(out / f"{name}.csv")
        np.testing.assert_array_equal(table["CellID"], np.arange(1, nuclei.max() + 1))
        counts = np.bincount(found[name].ravel(), minlength=nuclei.max() + 1)[1:]
        np.testing.assert_array_equal(table["Area"], counts)
    record = json.loads((out / "provenance.json").read_text())
    assert record["compartments"] == list(ALL)
    assert record["second"]["channels"] == [2]
    assert record["stages"]["match"]["pairs"] == len(by_hand(nuclei, bodies))
    cut = segmented(
        slide,
        tmp_path / "cut",
        **SECOND,
        mask_tiff="cell.ome.tif",
        block_shape=(1, 37, 41),
        max_tasks=3,
    )
    for name in ALL:
        np.testing.assert_array_equal(image_of(cut, name), found[name])
        assert (cut / f"{name}.csv").read_bytes() == (out / f"{name}.csv").read_bytes()
    # other cells, and none: the network's work on the nuclei is not done again
    other = segmented(slide, cut, **{**SECOND, "cell_diameter": 30})
    assert (image_of(other, "cells") != found["cells"]).any()
    np.testing.assert_array_equal(image_of(segmented(slide, cut), "cells"), nuclei)


def test_either_expand_or_a_second_network(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expand: given, allowed: only without"):
        segmented(slide, tmp_path, expand=3, **SECOND)
    with pytest.raises(InputError, match="no such channel"):
        segmented(slide, tmp_path, cell_channels=(7,))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [True, False], ids=["noise", "cells"])
def test_what_became_of_the_second_network_is_said(
    slide: Path, tmp_path: Path, noise: bool, command: Terapose, caplog: pytest.LogCaptureFixture
) -> None:
    """Its diameter is sought in its own channel, and nobody sees its own record."""
    image = np.asarray(zarr.open_array(str(slide), mode="r")[:])
    if noise:
        image[1] = np.random.default_rng(3).integers(90, 110, image.shape[1:])
    axes = ["c", "y", "x"]
    zarr.create_array(str(tmp_path / "image.zarr"), data=image, dimension_names=axes)
    out = tmp_path / "out"
    words = ("--channels", 1, "--cell-channels", 2, "--report", "--jobs", 1)
    said = command("segment", tmp_path / "image.zarr", out, *words)
    assert said.code == 0, said.err
    record = json.loads((out / "provenance.json").read_text())
    second = record["second"]
    sought = second["diameter"]
    assert sought["origin"] == ("network" if noise else "found") and sought["note"]
    assert record["diameter"]["origin"] == "found" and record["diameter"] != sought
    assert f"diameter of the second network: {sought['pixels']:g} pixels, " in said.err
    assert f"; {second['cells']} cells\n" in said.err and (second["cells"] == 0) == noise
    # early enough to stop a long run
    early = [one.getMessage() for one in caplog.records if one.levelno == logging.INFO]
    about = [f"image.zarr: channels {2 - n}: diameter " for n in range(noise, 2)]
    assert len(early) == len(about)
    assert all(a in e and ", found in the image: " in e for a, e in zip(about, early, strict=True))
    facts = json.loads((out / "report.json").read_text())
    given = {"used": pytest.approx(sought["pixels"]), "of_network": 17.0}
    of_second = {key: sought[key] for key in ("origin", "note")}
    assert facts["second"]["diameter"] == {**given, **of_second}
    assert facts["second"]["channels"] == [2] and facts["second"]["cells"] == second["cells"]
    assert facts["diameter"]["note"] == record["diameter"]["note"]
    page = (out / "report.html").read_text()
    assert page.count("px, found in the image") == (2 if noise else 3)
    assert "Diameter of the second network" in page and sought["note"] in page
    notes = [one["said"] for one in facts["warnings"] if one["name"] == "note"]
    assert notes == record["notes"] and len(notes) == noise == ("No warnings." not in page)
    if noise:
        assert notes[0].startswith("second network (channels 2): diameter: 17 pixels, as of the ")
        assert "--cell-diameter" in notes[0] and "no cells were found" in notes[0]
        assert notes[0] in caplog.text
