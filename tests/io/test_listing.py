"""`segment` understands an input as the workflow does, and finishes what does not fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused
from tests.command import Terapose, finished
from tests.listing_cases import ANSWERS, write_inputs
from tests.synthetic import voxels, write_ome_zarr

from terapose.core.errors import InputError
from terapose.io.images import folders, vendors
from terapose.io.listing import listed
from terapose.io.samples import for_each

OPTIONS: tuple[Any, ...] = ("--diameter", 30, "--jobs", 1, "--cellprob-threshold", -9)

# the workflow says faults of a sheet in its words
OWN = {
    "nameless.csv": "nameless.csv, line 2: more cells than columns",
    "empty.csv": "empty.csv: no columns sample and image; got no columns",
    "latin.csv": "latin.csv: is not a table as text",
    "broken.csv": "broken.csv: a name contains control characters",
    "open.csv": "open.csv: is not a table as text",
    "a?b": "a?b: a name contains control characters",
    "": "input: nothing given",
    "*.nrrd": "*.nrrd: names no image",
    "header-only.csv": "header-only.csv: names no image",
    "outdir.csv": "outdir.csv: no such parameter; got the column outdir",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listing")
    write_inputs(folder)
    return folder


@pytest.mark.parametrize(
    ("given", "stack", "wanted"), ANSWERS, ids=[f"{given}-{stack}" for given, stack, _ in ANSWERS]
)
def test_as_the_workflow(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, given: str, stack: bool, wanted: Any
) -> None:
    monkeypatch.chdir(inputs)
    wanted = OWN.get(given, wanted)
    if isinstance(wanted, str):
        with pytest.raises(InputError) as caught:
            listed(given, stack=stack)
        assert str(caught.value).replace(f"{inputs}/", "").startswith(wanted.split("; allowed")[0])
        return
    found = listed(given, stack=stack)
    samples = [[name, address.rstrip("/"), own] for name, address, own in found.samples]
    if not found.are_several:  # an only sample needs no name
        samples[0][0] = wanted[0][0]
    assert samples == wanted


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("*.tif", "here"),
        ("{z}.tif", "here"),
        ("_*.tif", "here"),
        ("a_*.tif", "a"),
        ("/", ""),
        ("/*", ""),
        ("a.ome.tif", "a"),
        ("a.OME.Zarr.zip/", "a"),
        ("x/a.b.ndpi", "a.b"),
        ("s3://bucket", "bucket"),
        ("s3://bucket/a*.zarr", "a*"),
        (".", "here"),
    ],
)
def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, name: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert folders.sample_name(address) == name
    (only,) = listed(address, stack=True).samples
    assert (only.name, only.address) == (name, address)


def test_suffixes_are_those_that_open_when_named() -> None:
    # the pixels of an .ics file may be in an .ids beside it, which is no second image
    assert set(vendors.SUFFIXES) - {".ids"} <= set(folders.suffixes())


def test_what_is_left_out_of_a_folder(inputs: Path) -> None:
    assert listed(f"{inputs}/scan", stack=False).left_out == ["notes.txt", "thumb.png"]


def test_folders_and_patterns_where_one_image_is_wanted(inputs: Path) -> None:
    """`check` and others look at one image, and say what else there is."""
    remedy = "give stack if they are planes of one image; terapose segment and the workflow"
    message = rf"a folder with 2 images in it; got p_9\.tif, p_10\.TIF; .* one of them, or {remedy}"
    assert_refused(message, inputs / "scan")
    assert_refused(
        r"with 5 images in it; got c1\.n5, c9\.ome\.zarr, .* and 2 more", inputs / "mixed"
    )
    assert_refused(r"one image in it; got other\.tif; .*name it, or give", inputs / "my data 1")
    assert_refused(r"holds no image; got readme\.md; allowed: \.btf", inputs / "nothing")
    assert_refused(r"a pattern that 2 paths match; got p_9\.tif", inputs / "scan/p_*")
    assert_refused("there is no such file; check the path", inputs / "scan/q_*")


def _inputs(folder: Path) -> list[Path]:
    """Images of which the second cannot be read."""
    folder.mkdir()
    volume = voxels(4, 30, 30)
    tifffile.imwrite(folder / "s_2.tif", volume, photometric="minisblack")
    (folder / "s_10.tif").write_bytes(b"II*\0hello")
    write_ome_zarr(folder / "s_11.zarr", volume[:, :20])
    return [folder / name for name in ("s_2.tif", "s_10.tif", "s_11.zarr")]


@pytest.mark.parametrize("way", ["folder", "pattern", "sheet"])
def test_one_bad_sample_does_not_stop_the_others(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any, way: str
) -> None:
    terapose = Terapose(monkeypatch, capsys)
    paths = _inputs(tmp_path / "in")
    given: dict[str, Any] = {
        "folder": tmp_path / "in",
        "pattern": tmp_path / "in/s_*",
        "sheet": tmp_path / "in/sheet.csv",
    }
    if way == "sheet":
        lines = [f"{path.stem};{path.name};{n}" for n, path in enumerate(paths)]
        given[way].write_text("\n".join(["Sample;Image;Min size", *lines]))
    out = tmp_path / "out"
    said = terapose("segment", given[way], out, "--model", tiny_model, *OPTIONS)
    assert said.code == 2
    *_, last = said.err.splitlines()
    assert last.startswith("terapose: 1 of the samples failed, the others are finished; got s_10;")
    assert "terapose: s_10: " in said.err and "in/s_10.tif: the TIFF file is damaged" in said.err
    assert "Traceback" not in said.err
    assert sorted(path.name for path in out.iterdir()) == ["s_11", "s_2"]
    for name, path in (("s_2", paths[0]), ("s_11", paths[2])):
        words = ("--min-size", paths.index(path)) if way == "sheet" else ()
        alone = tmp_path / f"alone-{name}"
        done = terapose("segment", path, alone, "--model", tiny_model, *OPTIONS, *words)
        assert done.code == 0 and finished(alone)
        assert (out / name / "cells.csv").read_bytes() == (alone / "cells.csv").read_bytes()
    (tmp_path / "in/s_10.tif").unlink()
    if way != "sheet":
        said = terapose("segment", given[way], out, "--model", tiny_model, *OPTIONS)
        assert said.code == 0, said.err


def test_all_faults_of_parameters_before_anything_is_done(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any
) -> None:
    terapose = Terapose(monkeypatch, capsys)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), "uint8"))
    sheet = tmp_path / "a.csv"
    sheet.write_text("sample,image,diameter\none,a.tif,5\ntwo,a.tif,-1\n")
    said = terapose.refuses("segment", sheet, tmp_path / "out", "--model", tiny_model)
    assert said.startswith("parameters of two: diameter: got")
    assert not (tmp_path / "out").exists()


def test_an_unexpected_fault_is_shown_and_the_others_are_done(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any
) -> None:
    import terapose.api.runner

    terapose_command = Terapose(monkeypatch, capsys)
    _inputs(tmp_path / "in")[1].unlink()
    whole = terapose.api.runner.segment_file

    def segment_file(image: str, *words: Any, **options: Any) -> Any:
        if image.endswith("s_2.tif"):
            raise ZeroDivisionError("nobody thought of it")
        return whole(image, *words, **options)

    monkeypatch.setattr("terapose.api.runner.segment_file", segment_file)
    out = tmp_path / "out"
    said = terapose_command("segment", tmp_path / "in", out, "--model", tiny_model, *OPTIONS)
    assert said.code == 2 and "ZeroDivisionError: nobody thought of it" in said.err
    assert "Traceback" in said.err and finished(out / "s_11")


def test_samples_of_times(tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any) -> None:
    terapose = Terapose(monkeypatch, capsys)
    for name in ("a", "b"):
        write_ome_zarr(tmp_path / "in" / f"{name}.ome.zarr", voxels(2, 4, 20, 20), axes="tzyx")
    out = tmp_path / "out"
    words = ("--model", tiny_model, *OPTIONS, "--time", "all")
    assert terapose("segment", tmp_path / "in", out, *words).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a-t001", "a-t002", "b-t001", "b-t002"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("name", ["all-t001", "all-t002", "all-t0002"])
def test_a_time_point_with_the_name_of_another_sample(
    tmp_path: Path, order: tuple[int, ...], name: str, monkeypatch: Any, capsys: Any
) -> None:
    lines = ["all,a.zarr,all", f"{name},b.zarr,1"]
    sheet = tmp_path / "s.csv"
    sheet.write_text("\n".join(["sample,image,time", *(lines[n] for n in order)]))
    said = Terapose(monkeypatch, capsys).refuses("segment", sheet, tmp_path / "out")
    assert f"several samples have the same name; got {name}; with time all" in said
    assert not (tmp_path / "out").exists()


def test_samples_named_nearly_as_time_points(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ome_zarr(tmp_path / f"{name}.zarr", voxels(2, 4, 20, 20), axes="tzyx")
    sheet = tmp_path / "s.csv"
    lines = (
        "all,a.zarr,all",
        "all-t1,b.zarr,1",
        "all-t001,b.zarr,all",
        "b-t001,b.zarr,2",
        "b,b.zarr,1",
    )
    sheet.write_text("\n".join(["sample,image,time", *lines]))
    done: list[str] = []
    for_each(listed(str(sheet), stack=False), {}, lambda name, *_: done.append(name), print)
    assert done == [
        "all-t001",
        "all-t002",
        "all-t1",
        "all-t001-t001",
        "all-t001-t002",
        "b-t001",
        "b",
    ]
