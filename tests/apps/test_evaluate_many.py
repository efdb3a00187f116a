"""Many pairs at once, and all that the command writes."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from tests.command import Terapose
from tests.label_pairs import blobs

from terapose.apps.evaluate.evaluation import evaluate
from terapose.apps.evaluate.pairs import pairs_in_folders, pairs_in_table
from terapose.apps.evaluate.summary import HEADER, summary
from terapose.core.errors import InputError

COUNT = 4


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """References as TIFF, predictions as folders of results."""
    references, results = tmp_path / "references", tmp_path / "results"
    references.mkdir()
    for seed in range(COUNT):
        reference, predicted = blobs(seed)
        tifffile.imwrite(references / f"im{seed}_labels.tif", reference.astype("uint16"))
        folder = results / f"im{seed}"
        folder.mkdir(parents=True)
        zarr.create_array(str(folder / "labels.zarr"), data=predicted.astype("uint16"))
    return references, results


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Terapose:
    return Terapose(monkeypatch, capsys)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_diameters_need_one_unit(folders: tuple[Path, Path], command: Terapose) -> None:
    """Micrometres and pixels are no sizes of one range, and are refused before the first pair."""
    path = folders[0] / "im2_labels.tif"
    metadata = {"axes": "ZYX", "spacing": 1.0, "unit": "um"}
    labels = tifffile.imread(path)
    tifffile.imwrite(path, labels, imagej=True, resolution=(1, 1), metadata=metadata)
    said = command("evaluate", *folders, "--diameters", "10,13")
    assert said.code == 2 and said.err.count("\n") == 1 and not said.out
    assert "diameters: are in micrometres for some images and in pixels for others" in said.err
    assert "im2_labels.tif, and none of" in said.err and "give voxel_size" in said.err
    for more in (("--voxel-size", "1,1,1", "--diameters", "10,13"), ("--sizes", "600,1200")):
        assert command("evaluate", *folders, *more).code == 0


def test_names_of_any_bytes(folders: tuple[Path, Path], command: Terapose, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9")
    (folders[0] / "im2_labels.tif").rename(folders[0] / f"{name}_labels.tif")
    (folders[1] / "im2").rename(folders[1] / name)
    report, table = tmp_path / "a.json", tmp_path / "a.csv"
    said = command("evaluate", *folders, "--json", report, "--csv", table)
    assert said.code == 0, said.err
    shown = "caf? \u00e9"
    assert shown in json.loads(report.read_bytes().decode())["pairs"]
    assert [line for line in table.read_bytes().decode().splitlines() if line.startswith(shown)]


def test_folders_are_matched_by_name(
    folders: tuple[Path, Path], command: Terapose, tmp_path: Path
) -> None:
    report, table, picture = (tmp_path / name for name in ("a.json", "a.csv", "a.png"))
    files = ("--json", report, "--csv", table, "--picture", picture)
    said = command("evaluate", *folders, *files, "--sizes", "600,1200", "--block", "10,24,26")
    assert said.code == 0, said
    found = json.loads(report.read_text())
    expected = {f"im{seed}": evaluate(*blobs(seed)) for seed in range(COUNT)}
    assert list(found["pairs"]) == list(expected)
    for name, one in expected.items():
        assert found["pairs"][name]["curve"] == one.as_dict()["curve"]
        assert found["pairs"][name]["seg"] == one.as_dict()["seg"]
    rows = rows_of(table)
    assert [row["name"] for row in rows] == list(expected)
    assert list(rows[0]) == ["name", *HEADER]
    assert float(rows[2]["seg"]) == pytest.approx(expected["im2"].agreement.seg, rel=1e-5)
    assert int(rows[1]["predicted"]) == expected["im1"].curve.predicted
    seams = found["summary"]["seams"]["at_seams"]
    each = [one["seams"]["at_seams"] for one in found["pairs"].values()]
    assert seams["true_positives"] == sum(one["true_positives"] for one in each) > 0
    with Image.open(picture) as image:
        assert min(image.size) > 800  # two rows
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 50
    assert "with so few images they are too narrow" in said.out
    again = command("evaluate", *folders, "--json", tmp_path / "b.json")
    assert again.code == 0
    for key in ("mean", "pooled"):
        assert (
            json.loads((tmp_path / "b.json").read_text())["summary"][key] == (found["summary"][key])
        )


def test_means_and_pooled_scores() -> None:
    found = {str(seed): evaluate(*blobs(seed)) for seed in range(COUNT)}
    found["empty"] = evaluate(*(np.zeros((2, 5, 5), int),) * 2)
    total = summary(found)
    curves = [one.curve for one in list(found.values())[:COUNT]]
    segs = [one.agreement.seg for one in list(found.values())[:COUNT]]
    assert total["images"] == COUNT + 1
    assert total["mean"]["seg"]["value"] == pytest.approx(np.mean(segs))
    true, reference, predicted = (
        sum(values)
        for values in zip(
            *((c.true_positives[0], c.reference, c.predicted) for c in curves), strict=True
        )
    )
    pooled = total["pooled"]
    assert (pooled["reference"], pooled["true_positives"]) == (reference, true)
    assert pooled["recall"]["value"] == true / reference
    assert pooled["f1"]["value"] == 2 * true / (reference + predicted)
    assert pooled["average_precision_50"]["value"] == true / (reference + predicted - true)
    quality = pooled["f1"]["value"] * pooled["segmentation_quality"]["value"]
    assert pooled["panoptic_quality"]["value"] == pytest.approx(quality)
    for scores in (total["mean"], {k: v for k, v in pooled.items() if isinstance(v, dict)}):
        for name, one in scores.items():
            assert one["low"] <= one["value"] <= one["high"], name
    alone = summary({"a": found["0"]})["mean"]["seg"]
    assert alone == {"value": found["0"].agreement.seg, "low": None, "high": None}


def test_a_table_names_pairs_from_its_folder(
    folders: tuple[Path, Path], command: Terapose, tmp_path: Path
) -> None:
    sheet = tmp_path / "pairs.csv"
    lines = ["Predicted;reference;name"]
    lines += [f"results/im{n}/labels.zarr;references/im{n}_labels.tif;the {n}" for n in (2, 0)]
    sheet.write_text("\n".join(lines))
    pairs = pairs_in_table(sheet)
    assert [pair.name for pair in pairs] == ["the 2", "the 0"]
    assert pairs[0].reference == str(folders[0] / "im2_labels.tif")
    assert command("evaluate", "--pairs", sheet, "--csv", tmp_path / "a.csv").code == 0
    expected = evaluate(*blobs(2)).agreement.seg
    assert float(rows_of(tmp_path / "a.csv")[0]["seg"]) == pytest.approx(expected, rel=1e-5)


def test_cellmap_of_several_classes(
    folders: tuple[Path, Path], command: Terapose, tmp_path: Path
) -> None:
    sheet = tmp_path / "pairs.csv"
    lines = ["reference,predicted,name,class,kind"]
    for n, label, kind in ((0, "mito", ""), (1, "mito", ""), (0, "er", "semantic")):
        lines.append(
            f"references/im{n}_labels.tif,results/im{n}/labels.zarr,crop{n},{label},{kind}"
        )
    sheet.write_text("\n".join(lines))
    files = ("--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv")
    words: tuple[Any, ...] = ("evaluate", "--pairs", sheet, *files)
    assert "says nothing of the kind" in command.refuses(*words)
    words += ("--cellmap", "instance")
    assert "the voxel size is not known" in command.refuses(*words)
    refused = command.refuses(*words, "--thresholds", "0.5,0.75,0.9", "--block", "1,9,9")
    assert refused == "--thresholds, --block: has no use with the scores of CellMap; leave it out"
    said = command(*words, "--voxel-size", "4,4,4")
    assert said.code == 0, said
    found = json.loads((tmp_path / "a.json").read_text())
    one, other, er = found["pairs"]
    mito = found["classes"]["mito"]
    assert mito["true_positives"] == one["true_positives"] + other["true_positives"]
    assert found["overall"] == pytest.approx((mito["score"] * er["score"]) ** 0.5)
    rows = rows_of(tmp_path / "a.csv")
    assert [row["kind"] for row in rows] == ["instance", "instance", "semantic"]
    assert rows[2]["hausdorff"] == ""
    assert f"{found['overall']:.3f}" in said.out
    assert "these scores are not drawn" in command.refuses(*words, "--picture", tmp_path / "a.png")


def test_a_single_pair_as_a_table_and_a_picture(
    folders: tuple[Path, Path], command: Terapose, tmp_path: Path
) -> None:
    pair = (folders[0] / "im1_labels.tif", folders[1] / "im1" / "labels.zarr")
    files = ("--csv", tmp_path / "a.csv", "--picture", tmp_path / "a.png")
    said = command("evaluate", *pair, *files, "--diameters", "10,13", "--boundary-tolerance", "1")
    assert said.code == 0, said
    (row,) = rows_of(tmp_path / "a.csv")
    expected = evaluate(*blobs(1))
    assert int(row["true_positives"]) == expected.curve.true_positives[0]
    assert f"{expected.agreement.split}, {expected.agreement.merged}" in said.out
    assert "boundary F, tolerance 1 pixels" in said.out
    assert "from 13 voxels" in said.out  # the voxel size is not known
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_results_of_one_run_are_its_label_image(
    folders: tuple[Path, Path], command: Terapose, tmp_path: Path
) -> None:
    """On either side, with other images beside a record, and in a table."""
    reference, run = folders[0] / "im1_labels.tif", folders[1] / "im1"
    named = command("evaluate", reference, run / "labels.zarr")
    assert named.code == 0
    assert command("evaluate", reference, run) == named
    assert command("evaluate", run, run / "labels.zarr").out.count("1.000") > 5
    tifffile.imwrite(run / "masks.tif", np.zeros((3, 3), np.uint8))
    assert "this is a folder with 2 images" in command.refuses("evaluate", reference, run)
    (run / "provenance.json").write_text("{}", encoding="utf-8")
    assert command("evaluate", reference, run) == named
    both = command("evaluate", run, run, "--json", tmp_path / "a.json")
    assert both.code == 0 and "summary" not in json.loads((tmp_path / "a.json").read_text())
    sheet = tmp_path / "pairs.csv"
    sheet.write_text("reference,predicted\nresults/im2,results/im1\n", encoding="utf-8")
    (pair,) = pairs_in_table(sheet)
    assert pair.name == "im2"
    assert pair[1:3] == tuple(str(folders[1] / name / "labels.zarr") for name in ("im2", "im1"))
    # results of many samples, and label images of which one has that name, are no such folder
    assert command("evaluate", *folders).out.count("im1") == 1
    shutil.copytree(run / "labels.zarr", folders[0] / "labels.zarr")
    assert "no image with the name of labels" in command.refuses("evaluate", *folders)


@pytest.mark.parametrize("kind", [(), ("--cellmap", "instance"), ("--cellmap", "semantic")])
def test_all_pairs_are_opened_before_the_first_is_scored(
    folders: tuple[Path, Path],
    command: Terapose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: tuple[str, ...],
) -> None:
    def scored(*_: Any, **__: Any) -> None:
        raise AssertionError("scored before all were opened")

    for name in ("evaluate", "score_instances", "score_semantic"):
        monkeypatch.setattr(f"terapose.apps.evaluate.asked.{name}", scored)
    sheet = tmp_path / "pairs.csv"
    fits = "reference,predicted\nreferences/im0_labels.tif,results/im0/labels.zarr\n"
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((3, 3), np.uint8))
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((20, 48, 52), np.float32))
    words = ("evaluate", "--pairs", sheet, *kind, "--voxel-size", "1,1,1")
    for predicted, said in (
        ("lost.tif", "lost.tif: "),
        ("small.tif", f"{tmp_path}/small.tif: the two label images differ in shape; got 1 x 3 x 3"),
        ("float.tif", f"{tmp_path}/float.tif: a label image must have whole numbers"),
    ):
        sheet.write_text(f"{fits}references/im1_labels.tif,{predicted}\n", encoding="utf-8")
        assert said in command.refuses(*words)
    if not kind:
        tifffile.imwrite(tmp_path / "one.tif", np.zeros((3, 3), np.uint8))
        sheet.write_text(f"{fits}one.tif,small.tif\n", encoding="utf-8")
        assert "there are no seams" in command.refuses(*words, "--block", "20,24,26")


def test_scores_of_nothing_are_dashes(command: Terapose, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8))
    said = command("evaluate", tmp_path / "a.tif", tmp_path / "a.tif")
    assert said.code == 0 and "nan" not in said.out
    assert "mean IoU of matches -, panoptic quality -" in said.out


def test_what_has_no_partner_is_named(folders: tuple[Path, Path], command: Terapose) -> None:
    (folders[0] / "im3_labels.tif").rename(folders[0] / "other.tif")
    with pytest.raises(InputError, match="no image with the name of other; got im0, im1, im2, im3"):
        pairs_in_folders(*map(str, folders))
    assert "no image with the name of other" in command.refuses("evaluate", *folders)
    assert "needs two label images" in command.refuses("evaluate", folders[0])
    assert "this is a folder with 4 images" in command.refuses(
        "evaluate", folders[0], folders[1] / "im0" / "labels.zarr"
    )
    tifffile.imwrite(folders[0] / "im0.tif", np.zeros((3, 3), np.uint8))
    assert "several images have the same name; got im0" in command.refuses("evaluate", *folders)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference,predicted\n", "names no pair"),
        ("reference,name\na,b", "no column predicted"),
        (
            "reference,predicted,naem\na,b,c",
            "not the columns of a table of pairs.*did you mean name",
        ),
        ("reference,predicted\na,", "line 2: no predicted"),
        ("reference,predicted\na.tif,b\na.tif,c", "several pairs have the same name; got a"),
        ("reference,predicted,kind\na,b,c", "line 2: no such kind; got c"),
    ],
)
def test_tables_that_are_wrong(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        pairs_in_table(tmp_path / "a.csv")


def test_options_that_are_wrong(folders: tuple[Path, Path], command: Terapose) -> None:
    pair = (folders[0] / "im1_labels.tif", folders[1] / "im1" / "labels.zarr")
    for words, said in (
        (("--sizes", "5", "--diameters", "5"), "are two ways to give the same thing"),
        (("--sizes", "5,4"), "above 0 and ascending; got 5, 4; for example 500,2000"),
        (("--diameters", "0"), "above 0 and ascending; got 0; for example 10,20"),
        (("--thresholds", "nan"), "'nan' is not 1 to 20 finite numbers with commas between"),
        (("--voxel-size", "1,inf,1"), "'1,inf,1' is not 3 finite numbers with commas between"),
        (("--voxel-size", "0,1,1"), "the voxel size must be above 0"),
        (("--block", "99,99,99"), "there are no seams: the image is one block"),
        (("--thresholds", "1.5"), "thresholds: out of range; got 1.5"),
        (("--picture", folders[0] / "no" / "a.png"), "no: there is no such folder"),
    ):
        assert said in command("evaluate", *pair, *words).err
