"""Reports of results: the page, its numbers, and what they refuse."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.runner import segment_file
from terapose.core.geometry import zyx
from terapose.core.params import check
from terapose.io.checksums import read_sealed, sealed
from terapose.io.labels.ome_zarr import open_level
from terapose.results.report.cells import summarise
from terapose.results.report.own import NAMES
from terapose.results.report.writing import write_report, write_run_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&"
FOLDER = "javascript:alert(3) <b>'\""


class Elements(html.parser.HTMLParser):
    """Elements of a page as a browser understands them, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def elements(page: Path) -> Elements:
    """Those of a page that runs nothing and needs nothing else."""
    found = Elements(page.read_text(encoding="utf-8"))
    assert not found.open
    for tag, attributes in found.found:
        assert tag not in ("script", "iframe", "object", "embed", "base", "img", "form", "b"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert str(value).startswith("data:image/png;base64," if tag != "a" else "./"), (
                    value
                )
    style = re.search("<style>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    return found


def pictures(page: Path) -> dict[str, list[np.ndarray]]:
    """Grey pictures and outlines of a page, decoded by another program."""
    found: dict[str, list[np.ndarray]] = {"grey": [], "outlines": []}
    for tag, attributes in elements(page).found:
        if tag == "image":
            data = base64.b64decode(str(attributes["href"]).partition(",")[2])
            with Image.open(io.BytesIO(data)) as picture:
                mode = "L" if attributes["class"] == "grey" else "RGBA"
                found[str(attributes["class"])].append(np.asarray(picture.convert(mode)))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of a volume in four blocks, and of a plane; names are hostile."""
    folder = tmp_path_factory.mktemp("made")
    voxels = nuclei((6, 48, 56))[0]
    places = {"volume": (voxels, "zyx", (2.0, 0.5, 0.5)), "plane": (voxels[3], "yx", None)}
    for name, (array, axes, size) in places.items():
        image = write_ome_zarr(
            folder / f"{name} <i>.zarr",
            array[None],
            axes=f"c{axes}",
            voxel_size=size,
            channel_names=[HOSTILE],
        )
        params: dict[str, Any] = {"model": "nuclei-small", "diameter": 10, "report": True}
        # planes that are joined: views along Y and X would cost a hundred tiles
        params["mode"] = "stitch" if name == "volume" else "auto"
        params["block_shape"] = (6, 24, 28) if name == "volume" else (1, 24, 28)
        segment_file(str(image), folder / name, check(params))
    return folder


@pytest.fixture
def volume(made: Path, tmp_path: Path) -> Path:
    """Results of the volume, which may be changed."""
    copy = tmp_path / "volume"
    shutil.copytree(made / "volume", copy, ignore=shutil.ignore_patterns(".terapose"))
    return copy


def numbers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["volume", "plane"])
def test_a_page_needs_nothing_and_runs_nothing(made: Path, name: str) -> None:
    found = elements(made / name / "report.html")
    # as text, whole
    assert HOSTILE in found.text and f"{name} <i>.zarr" in found.text
    assert {"http-equiv": "Content-Security-Policy"}.items() <= found.found[4][1].items()
    for tag, attributes in found.found:
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"], attributes


@pytest.mark.parametrize("name", ["volume", "plane"])
def test_numbers_are_those_of_the_table(made: Path, name: str) -> None:
    facts, cells = numbers(made / name), pd.read_csv(made / name / "cells.csv")
    record = json.loads((made / name / "provenance.json").read_text())
    sizes = cells["Volume" if name == "volume" else "Area"]
    assert (facts["diameter"]["origin"], facts["diameter"]["note"]) == ("given", "")
    assert "Diameter used10 px, given" in elements(made / name / "report.html").text
    found = facts["statistics"]
    assert facts["cells"] == found["size"]["count"] == len(cells) == record["cells"] > 3
    assert found["size"]["min"] == sizes.min() and found["size"]["max"] == sizes.max()
    for key, share in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
        assert found["size"][key] == sizes.quantile(share, interpolation="inverted_cdf")
    assert found["touching_border"] == cells["TouchesBorder"].sum()
    probability = cells["CellProbability"]
    assert found["probability"]["mean"] == pytest.approx(probability.mean(), abs=1e-4)
    assert found["probability"]["median"] == pytest.approx(
        probability.quantile(0.5, interpolation="inverted_cdf"), abs=0.01
    )
    assert found["share_in_cells"] == pytest.approx(
        sizes.sum() / np.prod(record["output"]["shape"])
    )
    planes = [0] if name == "plane" else cells["Z_centroid"].round().astype(int)
    assert sum(found["by_plane"]) == len(cells)
    if name == "volume":
        assert found["by_plane"] == np.bincount(planes, minlength=6).tolist()
        assert found["density"]["unit"] == "per_mm3"
    for stage, done in facts["stages"].items():
        assert done["seconds"] == record["stages"][stage]["seconds"]
        assert done["processor_seconds"] >= 0
    assert facts["stages"]["masks"]["tasks"] == record["stages"]["masks"]["tasks"]
    assert facts["digests"]["plan"] == record["plan_digest"]
    table = json.loads((made / name / "report_mqc.json").read_text(encoding="utf-8"))
    assert table["data"][name]["cells"] == len(cells)
    assert set(table["data"][name]) <= set(table["headers"])


@pytest.mark.parametrize("name", ["volume", "plane"])
def test_both_tables_say_the_same(made: Path, name: str) -> None:
    record = json.loads((made / name / "provenance.json").read_text())
    shape = zyx(record["output"]["shape"])
    one, other = (
        summarise(
            made / name, {**record, "tables": [table]}, shape, (0, 0, 0), planar=name == "plane"
        )
        for table in ("cells.csv", "cells.parquet")
    )
    assert one and other
    assert one.border == other.border and one.kinds == other.kinds
    for spread in ("size", "probability", "error"):
        assert getattr(one, spread).summary() == getattr(other, spread).summary()
    np.testing.assert_array_equal(one.samples, other.samples)


def test_the_same_results_give_the_same_bytes(volume: Path, made: Path, tmp_path: Path) -> None:
    write_report(volume, tmp_path / "again")
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (made / "volume" / name).read_bytes()


def test_pictures_show_image_and_cells(made: Path) -> None:
    """Sections are of the voxels that they say, and outlines are within cells."""
    found = pictures(made / "plane" / "report.html")
    image = np.asarray(open_level_of_image(made / "plane <i>.zarr"))[0]
    labels = np.asarray(open_level(str(made / "plane" / "labels.zarr"), 0)[:])
    grey, outlines = found["grey"][0], found["outlines"][0]
    assert grey.shape == image.shape
    # brighter voxels are not darker in the picture
    order = np.argsort(image, axis=None)
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()
    scale = outlines.shape[0] // labels.shape[0]
    fine = labels.repeat(scale, 0).repeat(scale, 1)
    drawn = outlines[..., 3] > 0
    assert drawn.any() and not drawn[fine == 0].any()
    # each cell has an outline, and cells that are wide enough are not filled
    assert set(np.unique(fine[drawn])) == set(np.unique(labels)) - {0}
    assert drawn.mean() < 0.5 * (fine > 0).mean()


def open_level_of_image(path: Path) -> Any:
    import zarr

    return zarr.open_array(path / "0", mode="r")[:]


def test_corners_are_those_of_blocks(made: Path) -> None:
    text = (made / "volume" / "report.html").read_text(encoding="utf-8")
    corners = text.partition("Corners of blocks")[2].partition("Lowest cell probability")[0]
    places = re.findall(r">z (\d+), y (\d+), x (\d+)<", corners)
    assert places and {(y, x) for _, y, x in places} == {("24", "28")}


def test_the_command_makes_it_again(volume: Path, command: Terapose, tmp_path: Path) -> None:
    for name in NAMES:
        (volume / name).unlink()
    said = command("report", volume, "--name", "other", "--output", tmp_path / "new")
    assert said.code == 0, said.err
    assert said.out == f"report: {tmp_path / 'new' / 'report.html'}\n"
    assert numbers(tmp_path / "new")["sample"] == "other"
    assert not (volume / "report.html").exists()


def test_what_is_no_report_stays(volume: Path, made: Path, command: Terapose) -> None:
    image = made / "volume <i>.zarr"
    (volume / "report.html").write_text("<html>mine")
    for words in (("report", volume), ("segment", image, volume, "--report")):
        assert "not a report of Terapose" in command.refuses(*words)
    assert (volume / "report.html").read_text() == "<html>mine"


def test_a_report_goes_with_its_results(volume: Path, made: Path, command: Terapose) -> None:
    network = ("--mode", "stitch", "--model", "nuclei-small", "--diameter", 10)
    words = (*network, "--min-size", 30, "--jobs", 1)
    (volume / "report_mqc.json").write_text("{}")  # of somebody else
    said = command("segment", made / "volume <i>.zarr", volume, *words)
    assert said.code == 0, said.err
    assert not (volume / "report.html").exists() and not (volume / "report.json").exists()
    assert (volume / "report_mqc.json").exists()


def test_what_does_not_belong_together_is_refused(
    volume: Path, made: Path, command: Terapose, tmp_path: Path
) -> None:
    assert "no complete results" in command.refuses("report", tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    other = made / "plane <i>.zarr"
    assert "shape of these results" in command.refuses("report", volume, other)
    table = volume / "cells.parquet"
    pd.read_parquet(table).iloc[1:].to_parquet(table)
    assert "does not have the cells of the run" in command.refuses("report", volume)
    table.write_bytes(b"PAR1 nothing")
    assert "cannot be read" in command.refuses("report", volume)
    record = volume / "provenance.json"
    record.write_text(record.read_text().replace('"cells": ', '"cells": 1'))
    assert "not as it was written" in command.refuses("report", volume)


ODD: list[tuple[tuple[str, ...], Any]] = [
    (("block",), [1, 1]),
    (("image", "shape"), [10**300, 48, 56]),
    (("image", "channels"), [[1]]),
    (("image", "voxel_size"), [[2], 1, 1]),
    (("output", "voxel_size"), [1e300, 1, 1]),
    (("output", "selection"), []),
    (("intensity", "percentiles"), [[1], 99]),
    (("intensity",), {f"n{n}": 1 for n in range(2000)}),
    (("model", "diam_mean"), 0),
    (("rescale",), 1e-308),
    (("stages", "export"), None),
    (("stages", "masks", "params"), {"min_size": "large"}),
    (("stages", "masks", "seconds"), float("nan")),
    (("cells",), "all"),
    (("notes",), "none"),
]


@pytest.mark.parametrize(("place", "value"), ODD, ids=[".".join(place) for place, _ in ODD])
def test_odd_records_are_one_sentence(
    volume: Path, command: Terapose, place: tuple[str, ...], value: Any
) -> None:
    path = volume / "provenance.json"
    record = read_sealed(path)
    part = record
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    path.write_text(json.dumps(sealed(record)))
    said = command.refuses("report", volume)
    assert "does not hold what a report needs" in said or "is not a complete record" in said


def test_odd_numbers_of_others_are_one_sentence(
    made: Path, tmp_path: Path, command: Terapose
) -> None:
    (tmp_path / "plane").mkdir()
    whole = numbers(made / "plane")
    odd_ones: list[dict[str, Any]] = [{"sample": 5}, {"cells": None}, {"warnings": [1]}]
    for odd in (*odd_ones, {"diameter": {}}):
        (tmp_path / "plane/report.json").write_text(json.dumps({**whole, **odd}))
        assert "does not hold what a report needs" in command.refuses("report", tmp_path)


def test_a_page_of_all_samples(made: Path, tmp_path: Path, command: Terapose) -> None:
    for name in ("volume", "plane"):
        (tmp_path / name).mkdir()
        shutil.copy(made / name / "report.json", tmp_path / name)
    hostile = tmp_path / FOLDER
    hostile.mkdir()
    facts = {**numbers(made / "plane"), "sample": FOLDER}
    (hostile / "report.json").write_text(json.dumps(facts))
    said = command("report", tmp_path)
    assert said.code == 0, said.err
    found = elements(tmp_path / "report.html")
    links = [attributes["href"] for tag, attributes in found.found if tag == "a"]
    quoted = "./javascript%3Aalert%283%29%20%3Cb%3E%27%22/report.html"
    assert links == [quoted, "./plane/report.html", "./volume/report.html"]
    assert FOLDER in found.text
    table = json.loads((tmp_path / "report_mqc.json").read_text(encoding="utf-8"))
    assert list(table["data"]) == [FOLDER, "plane", "volume"]
    cells = sum(numbers(made / name)["cells"] for name in ("volume", "plane", "plane"))
    assert numbers(tmp_path)["cells"] == cells
    # in any order of the reports
    some = sorted(tmp_path.glob("*/report.json"), reverse=True)
    write_run_report(some, tmp_path / "again", "{}")
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_links_lead_to_the_pages(made: Path, tmp_path: Path, command: Terapose) -> None:
    for name in ("volume", "plane"):
        # a folder may have another name than the sample in it
        shutil.copytree(made / name, tmp_path / "all" / f"of {name}")
    pages = ("report", tmp_path / "all", "--output", tmp_path / "pages" / "new")
    assert command(*pages).code == 0
    found = elements(tmp_path / "pages" / "new" / "report.html")
    links = [attributes["href"] for tag, attributes in found.found if tag == "a"]
    assert links == [f"./../../all/of%20{name}/report.html" for name in ("plane", "volume")]
    assert command.refuses(*pages, "--folder", "nothing").startswith(
        "--folder: is the same for all samples; got nothing; allowed: a pattern with {}"
    )
    assert command(*pages, "--folder", "x/{}").code == 0
    said = command.refuses("report", made / "plane", "--folder", "{}")
    assert said == "--folder: is that of the pages of several samples; leave it out"


def test_several_samples_on_one_machine(
    made: Path, volume: Path, command: Terapose, tmp_path: Path
) -> None:
    """The page of all is of those of this run, and goes with it."""
    shutil.copytree(made / "plane <i>.zarr", tmp_path / "plane.zarr")
    sheet, out = tmp_path / "sheet.csv", tmp_path / "out"
    sheet.write_text("sample,image,min_size\none,plane.zarr,\ntwo,plane.zarr,60\n")
    (out / "other").mkdir(parents=True)
    shutil.copy(volume / "report.json", out / "other")
    words = ("segment", sheet, out, "--model", "nuclei-small", "--diameter", 10, "--jobs", 1)
    said = command(*words, "--report")
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert f"report: {out / 'two' / 'report.html'}" in said.out.splitlines()
    assert [one["sample"] for one in numbers(out)["samples"]] == ["one", "two"]
    assert numbers(out / "two")["parameters"]["min_size"] == 60
    assert command(*words).code == 0
    assert sorted(path.parent.name for path in out.glob("**/report*")) == ["other"]
