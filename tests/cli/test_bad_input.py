"""Everything a user can get wrong: one sentence, exit code 2, nothing that looks finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from tests.command import Terapose, finished, segment_apart
from tests.synthetic import nuclei, write_ome_zarr, write_zarr

from terapose import cli
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.labels.ome_zarr import open_level

SHAPE = (6, 24, 28)


IMAGES = {
    "not there": "there is no such file; check the path, and that this machine sees it",
    "text": "this is not an image that can be read; got a file that starts with b'hello'; "
    "allowed: OME-Zarr, plain Zarr (folders and .zip), N5, TIFF, OME-TIFF, HDF5; "
    "CZI, LIF, ND2 and others with terapose[formats]; convert it, for example with bioformats2raw",
    "thin": "is too small; got shape (6, 1, 28) (Z, Y, X); allowed: at least 2 pixels along Y "
    "and X; check the axes of the file",
    "empty": "the image is empty: its axis Q has length 0; got QYX (0, 24, 28); "
    "give an image with at least one voxel",
    "nan": "channel 1: the image has voxels that are not finite numbers; "
    "got nan at z, y, x = (3, 4, 5) and 0 more in its block; allowed: finite intensities; "
    "replace them, for example with 0",
    "infinite": "channel 1: the image has voxels that are not finite numbers; "
    "got inf at z, y, x = (3, 4, 5) and 0 more in its block; allowed: finite intensities; "
    "replace them, for example with 0",
    "constant": "channel 1: the image is constant; got 7 in every voxel; "
    "allowed: an image with more than one intensity; check the channel and the pyramid level",
}


def _write(kind: str, folder: Path) -> Path:
    volume = nuclei(SHAPE)[0]
    if kind == "text":
        (folder / "text.tif").write_text("hello")
        return folder / "text.tif"
    if kind == "thin":
        tifffile.imwrite(folder / "thin.tif", volume[:, :1])
        return folder / "thin.tif"
    if kind == "empty":
        return write_zarr(folder / "empty.zarr", volume[:0], chunks=(1, 8, 8))
    if kind in ("nan", "infinite"):
        with_hole = volume.astype(np.float32)
        with_hole[3, 4, 5] = float(kind[:3])
        return write_ome_zarr(folder / f"{kind}.zarr", with_hole)
    if kind == "constant":
        return write_ome_zarr(folder / "constant.zarr", np.full(SHAPE, 7, np.uint16))
    return folder / "missing.zarr"


@pytest.mark.parametrize("kind", IMAGES)
def test_image(refused: Callable[..., str], tmp_path: Path, kind: str) -> None:
    image = _write(kind, tmp_path)
    separator = ", " if IMAGES[kind].startswith("channel") else ": "
    assert refused(image) == f"{image.name}{separator}{IMAGES[kind]}"


def test_fault_found_in_another_process_is_the_same_sentence(
    tmp_path: Path, tiny_model: Path
) -> None:
    image = _write("nan", tmp_path)
    done = segment_apart(image, tmp_path / "out", "--jobs", 2, "--model", tiny_model)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"terapose: {image}, {IMAGES['nan']}"
    assert "Traceback" not in done.stderr
    assert not finished(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--channels", "2"),
            "good.zarr: there is no such channel; got 2; allowed: 1; channels are counted from 1",
        ),
        (
            ("--level", "3"),
            "good.zarr: there is no such pyramid level; got 3; allowed: 0; "
            "level 0 is the full resolution",
        ),
        (
            ("--diameter", "-1"),
            "parameters: diameter: got '-1', allowed: greater than or equal to 0; "
            "docs/parameters.md lists them all",
        ),
        (
            ("--diameter", "1000"),
            "good.zarr: the image shrinks to nothing on the network's grid; got (6, 24, 28) "
            "voxels become (0, 0, 0) (scale 0.03, anisotropy 1); allowed: at least 2 voxels along "
            "each axis; give a smaller diameter or check the voxel size",
        ),
        (
            ("--anisotropy", "0.02"),
            "good.zarr: the image shrinks to nothing on the network's grid; got (6, 24, 28) "
            "voxels become (0, 24, 28) (scale 1, anisotropy 0.02); allowed: at least 2 voxels "
            "along each axis; check anisotropy (Z step over pixel size) and voxel_size, or give "
            "mode stitch or 2d",
        ),
        (
            ("--diameter", "0.1"),
            "good.zarr: the image would grow more than 64 times on the network's grid; got "
            "(6, 24, 28) voxels become (1800, 7200, 8400) (scale 300, anisotropy 1); "
            "check diameter (in pixels), voxel_size and anisotropy",
        ),
        (
            ("--mode", "stitch", "--flow3d-smooth", "1"),
            "flow3d_smooth: flows are smoothed along Z, Y and X in mode 3d only; got [1.0]; "
            "allowed: 0 in mode stitch",
        ),
        (
            ("--normalize", "lowhigh", "--lowhigh", "1,2,3"),
            "parameters: lowhigh: got [1.0, 2.0, 3.0], allowed: two numbers, or two for each "
            "channel; docs/parameters.md lists them all",
        ),
        (
            ("--normalize", "tile", "--foreground-min", "3"),
            "parameters: foreground_min: given, allowed: only with normalize 'global' or 'plane'; "
            "docs/parameters.md lists them all",
        ),
        (
            ("--diameter", "x", "--min-size", "1.5", "--percentiles", "99,1", "--mode", "2e"),
            "parameters: diameter: got 'x', allowed: a number, or auto; min_size: got '1.5', "
            "allowed: a whole number; mode: got '2e', allowed: 'auto', '3d', '2d' or 'stitch'; "
            "percentiles: got [99.0, 1.0], allowed: 0 <= low < high <= 100; docs/parameters.md "
            "lists them all",
        ),
    ],
)
def test_parameters(
    refused: Callable[..., str], good: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert refused(good, *words) == sentence


SLIDES = {
    "colours": (
        "this is a colour image, whose colours are not separate channels; got RGB YXS "
        "(64, 64, 3); allowed: grey channels with one value per voxel; split the colours into "
        "channels (in ImageJ: Image > Color > Split Channels); planes that are not colours must be "
        "written as grey (photometric minisblack)"
    ),
    "truncated": "the TIFF file is damaged or incomplete; got ",
    "compression": (
        "is compressed in a way that cannot be read; got compression 42; allowed: none, deflate, "
        "LZW, Zstandard, JPEG 2000 and others that imagecodecs decodes; write it again with one "
        "of these"
    ),
    "not what it says": (
        "the region z 0:1, y 0:1, x 0:1 of channel 2 cannot be read; got ZstdError: "
    ),
    "channel": "there is no such channel; got 3; allowed: 1 to 2; channels are counted from 1",
}


def _slide(kind: str, path: Path) -> None:
    image = nuclei((2, 64, 64))[0]
    if kind == "colours":
        tifffile.imwrite(path, np.moveaxis(np.stack([image[0]] * 3), 0, -1), photometric="rgb")
        return
    options: dict[str, Any] = {"tile": (32, 32), "compression": "zlib"}
    options["photometric"] = "minisblack"
    tifffile.imwrite(path, image, metadata={"axes": "CYX"}, **options)
    data = bytearray(path.read_bytes())
    if kind == "truncated":
        del data[len(data) * 2 // 3 :]
    if kind in ("compression", "not what it says"):
        code = 42 if kind == "compression" else tifffile.COMPRESSION.ZSTD
        with tifffile.TiffFile(path) as file:
            pages: list[Any] = list(file.pages)
            places = [page.tags["Compression"].valueoffset for page in pages]
        for place in places:
            data[place : place + 2] = int(code).to_bytes(2, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("command", ["segment", "check"])
@pytest.mark.parametrize("kind", SLIDES)
def test_slides(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    kind: str,
    command: str,
) -> None:
    image, out = tmp_path / "slide.tif", tmp_path / "out"
    _slide(kind, image)
    number = {"channel": 3, "colours": 1}.get(kind, 2)
    words = (image, out) if command == "segment" else (image, "--output", out)
    said = Terapose(monkeypatch, capsys).refuses(command, *words, "--channels", number)
    assert said.startswith(f"{image}: {SLIDES[kind]}")
    assert not out.exists()


def test_names_of_markers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image, markers = tmp_path / "slide.tif", tmp_path / "markers.csv"
    _slide("good", image)
    command = Terapose(monkeypatch, capsys)
    markers.write_text("channel_number,marker_name\n1,DNA\n2,DNA\n")
    for words in (("segment", image, tmp_path / "out"), ("check", image)):
        assert command.refuses(*words, "--channels", "DNA", "--markers", markers) == (
            f"{markers}: several channels have this name; got DNA; allowed: DNA, DNA; "
            "give a number: 1, 2"
        )
    markers.write_text("marker_name\nDNA\nCD3\n")
    assert command.refuses("check", image, "--channels", "CD4", "--markers", markers) == (
        f"{markers}: there is no such channel; got CD4; allowed: DNA, CD3; check the spelling"
    )


def test_a_tile_that_is_found_damaged_on_the_way(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    image = tmp_path / "slide.tif"
    _slide("good", image)
    with tifffile.TiffFile(image) as file:
        page = file.pages[0]
        first, size = page.dataoffsets[3], page.databytecounts[3]
    data = bytearray(image.read_bytes())
    data[first + size // 2 : first + size] = bytes(size - size // 2)
    image.write_bytes(data)
    said = refused(image, "--block-shape", "1,32,32", "--max-tasks", 4, "--diameter", 17)
    assert said.startswith(
        "slide.tif: the region z 0:1, y 32:64, x 32:64 of channel 1 cannot be read; got "
    )
    assert said.endswith("the file is damaged or incomplete, write or copy it again")


def test_a_pixel_size_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # the diameter is in pixels, and so are positions and areas
    image = tmp_path / "slide.tif"
    _slide("good", image)
    assert Terapose(monkeypatch, capsys)("check", image, "--diameter", 9).code == 0
    words = (("--pixel-size", 0), ("--pixel-size", 0.5, "--voxel-size", "1,1,1"))
    for wrong in words:
        said = Terapose(monkeypatch, capsys).refuses("check", image, *wrong)
        assert said.startswith("parameters: pixel_size: ")


def test_more_channels_than_the_network_takes(
    refused: Callable[..., str], good: Path, tiny_model: Path
) -> None:
    assert refused(good, "--channels", "1,1") == (
        "channels: more channels are given than the network has inputs; got [1, 1]; "
        f"allowed: 1 for {tiny_model}; give fewer channels, merge them (channel_merge), "
        "or give another model"
    )


def test_all_faults_of_a_params_file_in_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    good: Path,
) -> None:
    command = Terapose(monkeypatch, capsys)
    path = tmp_path / "params.json"
    faulty = {"diametre": 3, "min_size": "a", "nosuchthing": 1, "diameter": -3, "border": "cut"}
    path.write_text(json.dumps(faulty))
    assert command.refuses("check", good, "--params-file", path) == (
        "parameters: border: got 'cut', allowed: 'keep' or 'drop'; "
        "diameter: got -3, allowed: greater than or equal to 0; "
        "diametre: no such parameter (did you mean diameter?); "
        "min_size: got 'a', allowed: a whole number; "
        "nosuchthing: no such parameter; docs/parameters.md lists them all"
    )
    path.write_text("diameter = 3")
    assert command.refuses("check", good, "--params-file", path).startswith(
        f"{path}: is not JSON; got Expecting value"
    )
    path.write_text("[3]")
    assert command.refuses("check", good, "--params-file", path) == (
        f"{path}: holds no parameters; allowed: a JSON object"
    )


MODELS = {
    "missing": "no such model; allowed: nuclei-large, nuclei-small, the path or URL of a weight "
    "file, or a file",
    "text": "not a torch weight file, or a damaged one; got 5 bytes; allowed: a network of",
    "half": "not a torch weight file, or a damaged one; got ",
    "foreign": "the weights do not belong to a known network; got 1 arrays, first a; allowed: ",
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("command", ["segment", "check"])
def test_model(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    good: Path,
    tiny_model: Path,
    kind: str,
    command: str,
) -> None:
    model, out = tmp_path / "model.pth", tmp_path / "out"
    if kind == "text":
        model.write_text("hello")
    elif kind == "half":
        data = tiny_model.read_bytes()
        model.write_bytes(data[: len(data) // 2])
    elif kind == "foreign":
        torch.save({"a": torch.zeros(3)}, model)
    words = (good, out, "--jobs", 1) if command == "segment" else (good, "--output", out)
    said = Terapose(monkeypatch, capsys).refuses(command, *words, "--model", model)
    assert said.startswith(f"{model}: {MODELS[kind]}")
    assert not finished(out)


def test_model_with_another_digest(
    refused: Callable[..., str], good: Path, tiny_model: Path
) -> None:
    said = refused(good, "--model-digest", "0" * 64)
    assert said.startswith(f"{tiny_model}: the file does not match its digest; got sha256 ")
    assert f"allowed: sha256 {'0' * 64}; correct the digest" in said


@pytest.mark.parametrize("start", ["", "file://"])
def test_an_image_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    address = f"{start}{tmp_path if start else '~'}/none.tif"
    with pytest.raises(InputError, match=f"^{tmp_path}/none.tif: there is no such file"):
        segment_file(address, tmp_path / "out", check({}))


def test_no_cells_is_an_empty_result_and_a_warning(
    good: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    words = ("--cellprob-threshold", 1000)
    done = segment_apart(good, out, "--jobs", 1, "--model", tiny_model, *words)
    assert done.returncode == 0
    assert "WARNING: no cells found: the label image and the table are empty\n" in done.stderr
    assert not np.asarray(open_level(str(out / "labels.zarr"), 0)[:]).any()
    cells = pd.read_csv(out / "cells.csv")
    assert len(cells) == 0 and list(cells.columns[:5]) == [
        "CellID", "channel 1", "X_centroid", "Y_centroid", "Z_centroid",
    ]  # fmt: skip
    assert json.loads((out / "provenance.json").read_text())["cells"] == 0


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN"])
@pytest.mark.parametrize(
    "words",
    [
        *(("simulate", "a.zarr", f"--{n}") for n in ("diameter", "density", "brightness", "gain")),
        *(("train", ".", "--output", "a.pth", f"--{name}") for name in ("rate", "diameter")),
        ("evaluate", "a.tif", "b.tif", "--boundary-tolerance"),
    ],
)
def test_numbers_are_finite(
    tmp_path: Path,
    command: Terapose,
    words: tuple[str, ...],
    number: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command.refuses(*words, number)
    assert words[-1] in said and ("is not a finite number" in said or "is not in the range" in said)


def test_no_option_takes_a_number_that_is_none() -> None:
    """Ranges of click let ``nan`` through."""
    names = {path.stem: path.read_text() for path in Path(cli.__file__).parent.glob("*.py")}
    assert [name for name, text in names.items() if "click.FloatRange" in text] == ["values"]
    # of padding it may be meant
    assert [name for name, text in names.items() if "type=float" in text] == ["crop"]
