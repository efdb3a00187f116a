"""Nothing that is written takes the place of what is read."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.command import Terapose
from tests.slides import make
from tests.synthetic import voxels, write_ome_zarr, write_tiff

MANIFEST = """crop_name,dataset,class_label,voxel_size,translation,shape
1,d,mito,[4;4;4],[0;0;0],[3;20;24]
"""
CASES: dict[str, tuple[str, ...]] = {
    "pack, the labels": ("pack", "m.csv", "labels.tif", "labels.tif", "--overwrite"),
    "pack, a link to the labels": ("pack", "m.csv", "labels.tif", "link.tif", "--overwrite"),
    "pack, the manifest": ("pack", "m.csv", "labels.tif", "m.csv", "--overwrite"),
    "evaluate, JSON": ("evaluate", "labels.tif", "labels.tif", "--json", "labels.tif"),
    "evaluate, CSV": ("evaluate", "labels.tif", "labels.tif", "--csv", "./x/../labels.tif"),
    "evaluate, picture": ("evaluate", "link.tif", "link.tif", "--picture", "labels.png"),
    "evaluate, the table": ("evaluate", "--pairs", "p.csv", "--csv", "p.csv"),
    "evaluate, a pair": ("evaluate", "--pairs", "p.csv", "--json", "labels.tif"),
    "picture, the image": ("picture", "image.tif", "labels.tif", "image.png"),
    "picture, the labels": ("picture", "image.tif", "labels.tif", "labels.png"),
    "picture, the reference": (
        *("picture", "image.tif", "labels.tif", "link.png", "--reference", "link.tif"),
    ),
    "crop": ("crop", "image.tif", "image.zarr", "--overwrite"),
    "plan": ("plan", "image.tif", "--output", "image.tif"),
    "plan, prices": ("plan", "image.tif", "--price", "p.json", "--output", "p.json"),
    "a pattern": ("picture", "plane_{z}.tif", "labels.tif", "plane.png", "--stack"),
    "process": ("process", "labels.tif", "labels.zarr", "--with", "components", "--overwrite"),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_over_inputs_are_refused(
    tmp_path: Path, command: Terapose, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "image.tif", voxels(3, 20, 24))
    write_tiff(tmp_path / "labels.tif", voxels(3, 20, 24) % 7)
    os.symlink("labels.tif", "link.tif")
    for name in ("image.png", "image.zarr"):
        os.symlink("image.tif", name)
    for name in ("labels.png", "labels.zarr", "link.png"):
        os.symlink("labels.tif", name)
    os.symlink("plane_0.tif", "plane.png")
    os.mkdir("x")
    Path("m.csv").write_text(MANIFEST)
    Path("p.csv").write_text("reference,predicted\nlabels.tif,labels.tif\n")
    Path("p.json").write_text("{}")
    write_tiff(tmp_path / "plane_0.tif", voxels(1, 20, 24))
    shutil.copytree(tmp_path, tmp_path / "before", symlinks=True)
    said = command.refuses(*CASES[case])
    assert "the result would be in the place of an input, or inside it" in said
    for path in (tmp_path / "before").iterdir():
        if path.is_file():
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()


FILES: dict[str, tuple[str, ...]] = {
    "evaluate, JSON": ("evaluate", "labels.tif", "labels.tif", "--json"),
    "evaluate, CSV": ("evaluate", "labels.tif", "labels.tif", "--csv"),
    "evaluate, picture": ("evaluate", "labels.tif", "labels.tif", "--picture"),
    "picture": ("picture", "image.tif", "labels.tif"),
    "npy": ("npy", "labels.tif", "--image", "image.tif"),
    "pack": ("pack", "m.csv", "labels.tif", "--overwrite"),
    "train": ("train", "data", "--output"),
    "plan": ("plan", "image.tif", "--output"),
}


@pytest.mark.parametrize("start", ["file://", "file://localhost", "FILE://"])
def test_urls_of_files_are_these_files(tmp_path: Path, command: Terapose, start: str) -> None:
    labels = tmp_path / "la bels.tif"
    write_tiff(labels, voxels(3, 20, 24) % 7)
    before = labels.read_bytes()
    url = f"{start}{tmp_path}/la%20bels.tif"
    said = command.refuses("evaluate", url, url, "--json", labels)
    assert "the result would be in the place of an input" in said
    assert labels.read_bytes() == before


def test_what_is_no_array_is_not_replaced(tmp_path: Path, command: Terapose) -> None:
    slide = make(tmp_path)
    out = tmp_path / "other.zarr"
    words = ("cut", slide.image, slide.labels, slide.table, out, "--force")
    for zarr_format in (2, 3):
        zarr.open_group(out, mode="w", zarr_format=zarr_format).create_array(
            "0", shape=(3,), dtype="u1"
        )
        before = sorted(out.rglob("*"))
        assert "got something other than an array" in command.refuses(*words)
        assert sorted(out.rglob("*")) == before
        shutil.rmtree(out)
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("word/document.xml", "mine")
    assert "got something other than an array" in command.refuses(*words)
    assert zipfile.is_zipfile(out)
    # a level of the image that is cut
    image = write_ome_zarr(tmp_path / "image.zarr", slide.ids[0].astype(np.uint16), axes="yx")
    level = image / "0"
    said = command.refuses("cut", image, *words[2:4], level, "--force")
    assert "the result would be in the place of an input, or inside it" in said
    assert any(level.iterdir())


@pytest.mark.parametrize("name", [".", "..", "data", "data/.."])
@pytest.mark.parametrize("case", FILES)
def test_folders_in_place_of_files_are_refused(
    tmp_path: Path, command: Terapose, case: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    write_tiff(tmp_path / "here" / "image.tif", voxels(3, 20, 24))
    write_tiff(tmp_path / "here" / "labels.tif", voxels(3, 20, 24) % 7)
    Path("m.csv").write_text(MANIFEST)
    said = command.refuses(*FILES[case], name)
    assert f"'{name}': there is a folder in place of a file" in said


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "C:evil", "..", "a/b", "x" * 300, "'$(x)'"])
def test_names_of_a_manifest_are_plain(tmp_path: Path, command: Terapose, name: str) -> None:
    (tmp_path / "m.csv").write_text(MANIFEST.replace("mito", f'"{name}"'), newline="")
    said = command.refuses("pack", tmp_path / "m.csv", "labels.tif", tmp_path / "o.zip")
    assert " is wrong; got " in said and not (tmp_path / "o.zip").exists()


@pytest.mark.parametrize("z", [-1, 1e300, 2**31])
def test_planes_of_outlines_are_those_of_an_image(
    tmp_path: Path, command: Terapose, z: float
) -> None:
    write_tiff(tmp_path / "image.tif", voxels(1, 20, 24))
    ring = [[2, 2], [9, 2], [9, 9]]
    geometry = {"type": "Polygon", "coordinates": [ring], "plane": {"z": z}}
    (tmp_path / "a.geojson").write_text(json.dumps([{"geometry": geometry}]))
    words = ("measure", tmp_path / "image.tif", tmp_path / "a.geojson", tmp_path / "out")
    said = command.refuses(*words, "--renumber", "--jobs", 1)
    assert "has features that are not polygons" in said


@pytest.mark.parametrize("name", ["a.geojson", "a.tif"])
def test_labels_that_are_a_pipe_are_not_waited_for(
    tmp_path: Path, command: Terapose, name: str
) -> None:
    write_tiff(tmp_path / "image.tif", voxels(1, 20, 24))
    os.mkfifo(tmp_path / name)
    words = ("measure", tmp_path / "image.tif", tmp_path / name, tmp_path / "out")
    assert "is not a regular file; got a pipe" in command.refuses(*words, "--jobs", 1)
    (tmp_path / name).unlink()
    assert "there is no such file" in command.refuses(*words, "--jobs", 1)
