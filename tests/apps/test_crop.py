"""`terapose crop`: parts of images are what slices of arrays are, whoever cut them and however."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
import zarr
from tests.command import Terapose, killed
from tests.synthetic import voxels, write_ome_zarr, write_tiff

from terapose.apps.pyramids import reduced, unit_for
from terapose.io.images.array_like import open_labels
from terapose.io.images.opening import open_image

SIZE = (2.0, 0.5, 0.25)
CHANNELS = voxels(3, 7, 90, 80) + np.uint16(1)
SHIFTS = ((6.0, -4.0, 1.5), (6.0, -3.75, 1.75), (6.0, -3.25, 2.25))


def _image(folder: Path, version: Any = "0.5", **options: Any) -> Path:
    given: dict[str, Any] = {"voxel_size": SIZE, "translations": SHIFTS, **options}
    return write_ome_zarr(
        folder / "a.zarr",
        CHANNELS,
        axes="czyx",
        version=version,
        factors=(1, 2, 4),
        chunks=(1, 3, 16, 16),
        channel_names=("DNA", "CD3", "CD8"),
        **given,
    )


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _only(folder: Path, *names: str) -> bool:
    """Whether nothing is left in a folder but what has these names."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_channels_and_places_are_those_of_the_image(
    tmp_path: Path, command: Terapose, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terapose.apps.crop._SMALL", 16)
    image, out = _image(tmp_path, version), tmp_path / "b.zarr"
    said = command("crop", image, out, "--region", "2:6,8:72,12:53", "--channels", "CD8,1")
    assert said.code == 0, said.err
    for level, (start, stop) in enumerate([((2, 8, 12), (6, 72, 53)), ((2, 4, 6), (6, 36, 27)),
                                           ((2, 2, 3), (6, 18, 14))]):  # fmt: skip
        whole, part = (open_image(place, level=level) for place in (image, out))
        z, y, x = (slice(a, b) for a, b in zip(start, stop, strict=True))
        for number, own in enumerate((3, 1), 1):
            every = (slice(None),) * 3
            np.testing.assert_array_equal(part.read(every, number), whole.read((z, y, x), own))
        assert part.format == f"ome-zarr-{version}" and part.dtype == whole.dtype
        assert part.channel_names == ("CD8", "DNA") and part.voxel_size == whole.voxel_size
        assert whole.voxel_size is not None
        shift = [o + a * s for o, a, s in zip(whole.origin, start, whole.voxel_size, strict=True)]
        np.testing.assert_allclose(part.origin, shift, rtol=0, atol=1e-12)
    assert open_image(out).levels == 3 and _only(tmp_path, "a.zarr", "b.zarr")


def test_any_format_and_a_single_plane(tmp_path: Path, command: Terapose) -> None:
    plane = CHANNELS[0, 0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = CHANNELS[0]
    sources = {
        write_tiff(tmp_path / "a.tif", plane, kind="tiled"): plane[None],
        tmp_path / "a.h5": CHANNELS[0],
    }
    for source, volume in sources.items():
        out = tmp_path / f"{source.stem}-{source.suffix[1:]}.zarr"
        assert command("crop", source, out, "--region", "11:50,7:31").code == 0
        part = open_image(out)
        np.testing.assert_array_equal(part.read((slice(None),) * 3), volume[:, 11:50, 7:31])
        assert part.axes == ("YX" if len(volume) == 1 else "ZYX") and part.voxel_size is None
        np.testing.assert_array_equal(part.origin, (0, 11, 7))


def test_padding(tmp_path: Path, command: Terapose) -> None:
    image, out = _image(tmp_path), tmp_path / "b.zarr"
    said = command("crop", image, out, "--region", "-2:9,-5:20,70:90", "--pad", 9)
    assert said.code == 0, said.err
    expected = np.pad(CHANNELS[:, :, :20, 70:], ((0, 0), (2, 2), (5, 0), (0, 10)),
                      constant_values=9)  # fmt: skip
    np.testing.assert_array_equal(zarr.open_array(out / "0", mode="r")[...], expected)
    np.testing.assert_allclose(open_image(out).origin, (6 - 4, -4 - 2.5, 1.5 + 17.5))
    # a margin ends at the border, unless there is something to put there
    assert command("crop", image, tmp_path / "c.zarr", "--region", "0:2,0:4,0:4", "--margin",
                   "1,2,3").code == 0  # fmt: skip
    assert open_image(tmp_path / "c.zarr").shape == (3, 6, 7)
    assert command("crop", image, tmp_path / "d.zarr", "--region", "0:2,0:4,0:4", "--margin",
                   "1,2,3", "--pad", 0).code == 0  # fmt: skip
    assert open_image(tmp_path / "d.zarr").shape == (4, 8, 10)
    assert command("crop", image, tmp_path / "e.zarr", "--margin", "1,2,3", "--pad", 0).code == 0
    assert open_image(tmp_path / "e.zarr").shape == tuple(
        n + 2 * m for n, m in zip(CHANNELS.shape[1:], (1, 2, 3), strict=True)
    )


def test_what_is_refused(tmp_path: Path, command: Terapose) -> None:
    image, out = _image(tmp_path), tmp_path / "b.zarr"
    for words, sentence in {
        ("--region", "0:8,0:9,0:9"): "is not within the image; got 0:8,0:9,0:9",
        ("--region", "0:2,90:99,0:9", "--pad", 0): "is not within the image",
        ("--region", "3:2,0:9,0:9"): "is not a region",
        ("--region", "0-2"): "is not a region",
        ("--margin", 1, "--pad", -1): "cannot be stored in the image's voxels",
        ("--margin", 1, "--pad", "nan"): "cannot be stored in the image's voxels",
        ("--margin", 1, "--pad", "1e400"): "cannot be stored in the image's voxels",
        ("--margin", 1, "--pad", 0.5): "cannot be stored in the image's voxels",
        ("--pad", 0): "--pad: has no effect when the whole image is copied; add --region",
        ("--margin", 5): "--margin: has no effect when the whole image is copied; add --region",
        ("--channels", "CD4"): "CD4",
        ("--level", 3): "no such pyramid level",
        ("--margin", -1, "--pad", 0): "is negative",
    }.items():
        assert sentence in command.refuses("crop", image, out, *words)
    assert "inside it" in command.refuses("crop", image, image / "part.zarr")
    (tmp_path / "file").write_text("mine")
    assert "already exists" in command.refuses("crop", image, tmp_path / "file")
    assert "is not replaced" in command.refuses("crop", image, tmp_path / "file", "--overwrite")
    assert _only(tmp_path, "a.zarr", "file")


def test_overwrite_replaces_all_of_it(tmp_path: Path, command: Terapose) -> None:
    image, out = _image(tmp_path), tmp_path / "b.zarr"
    assert command("crop", image, out).code == 0
    assert command("crop", image, out, "--level", 2, "--overwrite").code == 0
    assert open_image(out).levels == 1 and open_image(out).shape == (7, 23, 20)
    assert open_image(out).voxel_size == (2, 2, 1)


@pytest.mark.parametrize("how", ["mean", "nearest"])
def test_computed_levels(
    tmp_path: Path, command: Terapose, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terapose.apps.crop._SMALL", 16)
    image, out = _image(tmp_path), tmp_path / "b.zarr"
    assert command("crop", image, out, "--region", "0:7,0:61,0:80", "--pyramid", how).code == 0
    fine = np.asarray(zarr.open_array(out / "0", mode="r"))
    coarse = np.asarray(zarr.open_array(out / "1", mode="r"))
    # the finest voxels are along X
    assert coarse.shape == (3, 7, 61, 40)
    pairs = np.stack([fine[..., ::2], fine[..., 1::2]])
    mean = np.floor(pairs.mean(0) + 0.5).astype(np.uint16)
    np.testing.assert_array_equal(coarse, mean if how == "mean" else pairs[0])
    shift = 1.5 + (0.125 if how == "mean" else 0)
    np.testing.assert_allclose(open_image(out, level=1).origin, (6, -4, shift))


def test_means_of_groups_that_are_cut_off() -> None:
    found = reduced(np.array([[[1, 2, 4], [5, 6, 9]]], np.uint8), (1, 2, 2), "mean")
    np.testing.assert_array_equal(found, [[[4, 7]]])  # 3.5 and 6.5
    below = reduced(np.array([[[-1, -2, -4]]], np.int16), (1, 1, 2), "mean")
    np.testing.assert_array_equal(below, [[[-1, -4]]])
    whole = np.full((2, 2, 2), 2**32 - 1, np.uint32)
    assert reduced(whole, (2, 2, 2), "mean") == 2**32 - 1


def test_labels_stay_labels(tmp_path: Path, command: Terapose) -> None:
    labels = tmp_path / "labels.zarr"
    write_ome_zarr(labels, CHANNELS[0].astype(np.uint64), voxel_size=SIZE)
    group = zarr.open_group(labels, mode="r+")
    attributes = cast(dict[str, Any], group.attrs["ome"])
    label = {"version": "0.5", "colors": [{"label-value": 1, "rgba": [1, 2, 3, 255]}]}
    about = {**attributes, "image-label": {**label, "source": {"image": "../.."}}}
    group.attrs["ome"] = about
    assert "64-bit" in command.refuses("crop", labels, tmp_path / "b.zarr", "--pyramid", "mean")
    out = tmp_path / "b.zarr"
    assert command("crop", labels, out, "--region", "20:60,20:60").code == 0
    written = cast(dict[str, Any], zarr.open_group(out, mode="r").attrs["ome"])
    assert written["image-label"] == label
    np.testing.assert_array_equal(open_labels(out)[:, :, :], CHANNELS[0, :, 20:60, 20:60])


def test_around_the_cells_of_a_table(tmp_path: Path, command: Terapose) -> None:
    image, table = _image(tmp_path), tmp_path / "cells.csv"
    table.write_text("CellID,X_centroid,Y_centroid,Z_centroid\n1,40.2,10,3\n7,52,30.9,2\n")
    out = tmp_path / "b.zarr"
    assert command("crop", image, out, "--around", table, "--margin", "0,3,5").code == 0
    found = np.asarray(zarr.open_array(out / "0", mode="r"))
    np.testing.assert_array_equal(found, CHANNELS[:, 2:4, 7:34, 35:58])
    sentence = command.refuses("crop", image, out, "--around", table, "--region", "0:1,0:1")
    assert "give one of them" in sentence
    boxes = "BoundingBox_x0,BoundingBox_y0,BoundingBox_z0,BoundingBox_x1,BoundingBox_y1,"
    table.write_text(
        f"CellID,X_centroid,Y_centroid,Z_centroid,{boxes}BoundingBox_z1\n1,40,10,3,38,6,1,44,15,5\n"
    )
    assert command("crop", image, out, "--around", table, "--overwrite").code == 0
    found = np.asarray(zarr.open_array(out / "0", mode="r"))
    np.testing.assert_array_equal(found, CHANNELS[:, 1:5, 6:15, 38:44])


def test_the_working_folder_itself(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = _image(tmp_path), write_ome_zarr(tmp_path / "b.zarr", CHANNELS[0])
    monkeypatch.chdir(out)
    assert "already exists" in command.refuses("crop", image, ".")
    assert command("crop", image, ".", "--overwrite").code == 0
    assert open_image(out).voxel_size == SIZE and _only(tmp_path, "a.zarr", "b.zarr")


def test_around_no_cells(tmp_path: Path, command: Terapose) -> None:
    image, table = _image(tmp_path), tmp_path / "cells.csv"
    table.write_text("CellID,X_centroid,Y_centroid,Z_centroid\n")
    said = command.refuses("crop", image, tmp_path / "b.zarr", "--around", table)
    assert "cells.csv: contains no cells" in said and _only(tmp_path, "a.zarr", "cells.csv")


def test_from_a_web_server(tmp_path: Path, command: Terapose, server: str) -> None:
    _image(tmp_path)
    words = ("--region", "1:6,10:70,9:77", "--pyramid", "none")
    assert command("crop", f"{server}/a.zarr", tmp_path / "b.zarr", *words, "-p", 4).code == 0
    found = np.asarray(zarr.open_array(tmp_path / "b.zarr" / "0", mode="r"))
    np.testing.assert_array_equal(found, CHANNELS[:, 1:6, 10:70, 9:77])


def _interrupted(tmp_path: Path, words: tuple[object, ...]) -> Path:
    """Kill a crop in the middle of units, between them, and before it gets its name."""
    killed("chunk: after it is written", 2, *words)
    killed("receipt: after it is written", 2, *words)
    assert not (tmp_path / "b.zarr").exists()
    (folder,) = tmp_path.glob(".b.zarr.*.unfinished")
    return folder


def test_interruptions_threads_and_damage_do_not_show(tmp_path: Path, command: Terapose) -> None:
    image = _image(tmp_path)
    words = ("crop", image, tmp_path / "b.zarr", "--region", "1:7,3:70,9:77", "--pyramid", "mean")
    assert command(*words, "-p", 3).code == 0
    expected = _content(tmp_path / "b.zarr")
    (tmp_path / "b.zarr").rename(tmp_path / "first.zarr")
    folder = _interrupted(tmp_path, words)
    receipts = [json.loads(line) for line in (folder / "receipts").read_text().splitlines()]
    assert len(receipts) >= 2
    # a file of a unit that was done is torn, another one is gone
    torn, gone = (folder / next(iter(receipt["files"])) for receipt in receipts[:2])
    torn.write_bytes(torn.read_bytes()[:-1])
    gone.unlink()
    with (folder / "receipts").open("a") as file:
        file.write('{"step": "level 0", "un')
    killed("result: before it is renamed", 1, *words)
    assert not (tmp_path / "b.zarr").exists()
    assert command(*words, "-p", 1).code == 0
    assert _content(tmp_path / "b.zarr") == expected
    assert _only(tmp_path, "a.zarr", "b.zarr", "first.zarr")


def test_finished_units_are_not_read_again(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = _image(tmp_path)
    words = ("crop", image, tmp_path / "b.zarr")
    killed("receipt: after it is written", 3, *words, "-p", 1)
    written: list[str] = []
    monkeypatch.setattr("terapose.io.files.at_point", written.append)
    assert command(*words).code == 0
    assert "receipt: after it is written" not in written
    assert "result: after it is renamed" in written


def test_another_image_in_its_place_is_noticed(tmp_path: Path, command: Terapose) -> None:
    image, out = _image(tmp_path), tmp_path / "b.zarr"
    killed("receipt: after it is written", 1, "crop", image, out, "-p", 1)
    array = zarr.open_array(image / "0", mode="r+")
    array[0] = 5
    said = command("crop", image, out)
    # nothing of the first image is taken, and what is left of it is named
    assert said.code == 0 and "unfinished work" in said.err
    assert (np.asarray(zarr.open_array(out / "0", mode="r"))[0] == 5).all()


def test_an_image_that_changes_meanwhile_is_refused(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = _image(tmp_path), tmp_path / "b.zarr"

    def at_point(name: str) -> None:
        if name == "receipt: after it is written":
            zarr.open_array(image / "0", mode="r+")[...] = 5

    monkeypatch.setattr("terapose.io.files.at_point", at_point)
    said = command("crop", image, out, "-p", 1)
    assert said.code == 2 and "the image has changed" in said.err and not out.exists()
    # what was read of it counts for nothing
    assert not list(tmp_path.glob(".b.zarr.*.unfinished/receipts"))


def test_what_appears_meanwhile_is_not_replaced(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two parts are copied to one name at the same time."""
    image, out = _image(tmp_path), tmp_path / "b.zarr"

    def at_point(name: str) -> None:
        if name == "receipt: after it is written" and not out.exists():
            write_ome_zarr(out, CHANNELS[0])

    monkeypatch.setattr("terapose.io.files.at_point", at_point)
    words = ("crop", image, out, "--channels", 1)
    said = command(*words)
    assert said.code == 2 and "already exists; choose another name, or give --over" in said.err
    assert open_image(out).shape == CHANNELS[0].shape and open_image(out).voxel_size is None
    # with another answer nothing is computed again
    written: list[str] = []
    monkeypatch.setattr("terapose.io.files.at_point", written.append)
    assert command(*words, "--overwrite").code == 0
    assert "receipt: after it is written" not in written
    assert open_image(out).voxel_size == SIZE and _only(tmp_path, "a.zarr", "b.zarr")


def test_units_are_whole_chunks_and_as_large_as_those_of_the_source() -> None:
    assert unit_for((9, 100, 100), (9, 64, 64), (9, 64, 64), 2) == (9, 128, 128)
    assert unit_for((500, 5000, 5000), (64, 256, 256), (64, 256, 256), 2) == (64, 256, 512)
    wide = unit_for((50, 9000, 9000), (50, 256, 256), (1, 9000, 9000), 1)
    assert wide == (50, 2048, 4096) and np.prod(wide) >= 2**28


@pytest.mark.parametrize("pad", ["nan", "inf"])
def test_padding_with_what_json_has_no_number_for(
    tmp_path: Path, command: Terapose, pad: str
) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.ones((4, 8, 8), np.float32))
    words = ("--region=-1:4,0:8,0:8", "--pad", pad)
    assert command("crop", image, tmp_path / "b.zarr", *words).code == 0
    refuse = json.JSONDecoder(parse_constant=lambda name: pytest.fail(name)).decode
    documents = [refuse(path.read_text()) for path in (tmp_path / "b.zarr").rglob("zarr.json")]
    assert any(f'"pad": "{pad}"' in json.dumps(document) for document in documents)
    first = open_image(tmp_path / "b.zarr").read((slice(0, 1), slice(0, 8), slice(0, 8)))
    assert not np.isfinite(first).any()
