"""Training data: layouts of folders, formats, channels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from ome_zarr.writer import write_image

from terapose.apps.train import files
from terapose.apps.train.data import Item, items_of
from terapose.apps.train.dataset import _lines, read_dataset
from terapose.apps.train.files import find_pairs, read_pair
from terapose.core.errors import InputError

Array = NDArray[Any]


def pair(channels: int = 1, depth: int = 1) -> tuple[Array, Array]:
    """An image, shape (C, Z, Y, X) uint16, and its labels."""
    rng = np.random.default_rng(4)
    labels = np.zeros((depth, 40, 48), np.uint16)
    for number, (y, x) in enumerate(np.ndindex(3, 4), start=1):
        labels[:, 4 + 12 * y : 12 + 12 * y, 2 + 12 * x : 11 + 12 * x] = number
    noise = rng.normal(300, 20, (channels, *labels.shape))
    return (noise + 500 * (labels > 0)).astype(np.uint16), labels


def as_tiff(path: Path, array: Array) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), array)


def as_ome_tiff(path: Path, array: Array) -> None:
    axes = "CZYX"[-array.ndim :] if array.ndim != 3 else "CYX"
    tifffile.imwrite(path.with_suffix(".ome.tif"), array, metadata={"axes": axes})


def as_png(path: Path, array: Array) -> None:
    assert cv2.imwrite(str(path.with_suffix(".png")), array)


def as_ome_zarr(path: Path, array: Array) -> None:
    axes = {2: "yx", 3: "cyx", 4: "czyx"}[array.ndim]
    group = zarr.open_group(path.with_suffix(".ome.zarr"), mode="w")
    write_image(array, group, axes=axes, scaler=None)


def as_zarr(path: Path, array: Array) -> None:
    zarr.create_array(path.with_suffix(".zarr"), data=array)


def as_hdf5(path: Path, array: Array) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["raw"] = array


def write_twins(folder: Path, save: Callable[[Path, Array], None], *arrays: Array) -> Path:
    for kind, array in zip(("images", "labels"), arrays, strict=True):
        (folder / kind).mkdir(parents=True)
        save(folder / kind / "a", array)
    return folder


def same(items: list[Item], others: list[Item]) -> None:
    assert len(items) == len(others) > 0
    for item, other in zip(items, others, strict=True):
        np.testing.assert_array_equal(item.image, other.image)
        np.testing.assert_array_equal(item.labels, other.labels)
        np.testing.assert_array_equal(item.target, other.target)
        assert item.diameter == other.diameter


def only(folder: Path, **options: Any) -> list[Item]:
    (found,) = find_pairs(folder)
    return items_of(found, 0, **options)


# -- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [as_png, as_ome_zarr, as_zarr, as_hdf5])
def test_formats_give_the_same_items(tmp_path: Path, save: Callable[[Path, Array], None]) -> None:
    image, labels = (array.squeeze() for array in pair())
    expected = only(write_twins(tmp_path / "tiff", as_tiff, image, labels))
    assert expected[0].image.shape == (1, 40, 48) and expected[0].labels.max() == 12
    same(only(write_twins(tmp_path / "other", save, image, labels)), expected)


def test_pairs_in_one_folder(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    expected = only(write_twins(tmp_path / "twins", as_tiff, image, labels))
    for name, suffix, ending in (
        ("cellpose", "", "_masks"),
        ("data set of Cellpose", "_img", "_masks"),
        ("saved by its window", "", "_cp_masks"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        as_tiff(folder / f"a{suffix}", image)
        as_png(folder / f"a{ending}", labels)
        as_tiff(folder / "not annotated yet", image)
        (folder / "a_seg.npy").write_bytes(b"not read")
        same(only(folder), expected)
    for folder in (tmp_path / "hdf5", tmp_path / "hdf5 twins" / "images"):
        folder.mkdir(parents=True)
        with h5py.File(folder / "a.h5", "w") as file:
            file["raw"], file["label"] = image, labels
    (tmp_path / "hdf5 twins" / "labels").mkdir()
    same(only(tmp_path / "hdf5"), expected)
    same(only(tmp_path / "hdf5 twins"), expected)


def test_labels_group_of_an_ome_zarr(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    expected = only(write_twins(tmp_path / "tiff", as_tiff, image, labels))
    folder = write_twins(tmp_path / "group", as_ome_zarr, image, labels)
    plain = folder / "labels" / "a.ome.zarr"
    plain.rename(folder / "cells")
    group = zarr.open_group(folder / "labels" / "a.zarr", mode="w")
    group.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    (folder / "cells").rename(folder / "labels" / "a.zarr" / "cells")
    same(only(folder), expected)


@pytest.mark.parametrize("which", ["images", "labels"])
@pytest.mark.parametrize("save", [as_tiff, as_png, as_zarr])
def test_swapped_while_it_is_read(
    save: Callable[[Path, Array], None],
    which: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have been read as they were, but an image of one pair has labels of another."""
    folder = write_twins(tmp_path / "data", save, *map(np.squeeze, pair()))
    ((image, labels),) = find_pairs(folder)
    place = {"images": image, "labels": labels}[which]
    assert read_pair((image, labels))[1].max() > 0

    def choosing(*given: Any) -> Any:
        place.rename(tmp_path / "before")
        (shutil.copytree if place.suffix == ".zarr" else shutil.copy2)(tmp_path / "before", place)
        return choose(*given)

    choose = files._choose
    monkeypatch.setattr(files, "_choose", choosing)
    with pytest.raises(InputError, match=f"{place}: the image has changed since it was opened"):
        read_pair((image, labels))


def test_volume_tells_its_voxel_size(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair(depth=12))
    for name in ("told", "asked"):
        folder = tmp_path / name
        folder.mkdir()
        with h5py.File(folder / "a.h5", "w") as file:
            file["raw"], file["label"] = image, labels
            if name == "told":
                file["raw"].attrs["element_size_um"] = (2.0, 1.0, 1.0)
    expected = only(tmp_path / "asked", voxel_size=(2.0, 1.0, 1.0))
    same(only(tmp_path / "told", voxel_size=(9.0, 1.0, 1.0)), expected)
    assert any(item.image.shape == (1, 24, 48) for item in expected)
    with pytest.raises(InputError, match="a volume needs its voxel size"):
        only(tmp_path / "asked")


# -- channels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [as_tiff, as_ome_tiff, as_ome_zarr])
def test_two_channels(tmp_path: Path, save: Callable[[Path, Array], None]) -> None:
    image, labels = pair(channels=2)
    for kind, array in (("images", image[:, 0]), ("labels", labels[0])):
        (tmp_path / kind).mkdir()
        (save if kind == "images" else as_tiff)(tmp_path / kind / "a", array)
    (found,) = find_pairs(tmp_path)
    both, *_ = read_pair(found, limit=2)
    np.testing.assert_array_equal(both, image)
    swapped, *_ = read_pair(found, channels=(2, 1), limit=2)
    np.testing.assert_array_equal(swapped, image[::-1])
    second, *_ = read_pair(found, channels=(2,))
    np.testing.assert_array_equal(second, image[1:])
    with pytest.raises(InputError, match=r"more channels than the network takes; got 2.*up to 1"):
        read_pair(found)
    with pytest.raises(InputError, match=r"no such channel; got 1, 3; allowed: 1 to 2"):
        read_pair(found, channels=(1, 3), limit=2)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_colours_are_channels(tmp_path: Path, ending: str) -> None:
    image, labels = pair(channels=3)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    as_tiff(tmp_path / "labels" / "a", labels[0])
    red_green_blue = np.ascontiguousarray(np.moveaxis(image[:, 0], 0, 2))
    if ending == ".png":
        as_png(tmp_path / "images" / "a", red_green_blue[:, :, ::-1])
    else:
        tifffile.imwrite(tmp_path / "images" / "a.tif", red_green_blue, photometric="rgb")
    (found,) = find_pairs(tmp_path)
    np.testing.assert_array_equal(read_pair(found, channels=(2, 1), limit=2)[0], image[[1, 0]])


def test_one_channel_images_and_volumes_of_two(tmp_path: Path) -> None:
    """An image of one channel takes part whatever --channels says; a volume keeps both."""
    image, labels = pair()
    write_twins(tmp_path / "one", as_tiff, image[0, 0], labels[0])
    (found,) = find_pairs(tmp_path / "one")
    np.testing.assert_array_equal(read_pair(found, channels=(2, 1), limit=2)[0], image)
    image, labels = pair(channels=2, depth=6)
    (tmp_path / "two" / "images").mkdir(parents=True)
    (tmp_path / "two" / "labels").mkdir()
    as_ome_tiff(tmp_path / "two" / "images" / "a", image)
    as_tiff(tmp_path / "two" / "labels" / "a", labels)
    items = only(tmp_path / "two", voxel_size=(1, 1, 1), plane_step=3, limit=2)
    assert {item.image.shape for item in items} == {(2, 40, 48), (2, 6, 48), (2, 6, 40)}
    assert not np.array_equal(items[0].image[0], items[0].image[1])


# -- faults -----------------------------------------------------------------------------------


def test_faults_of_folders_and_labels(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    as_tiff(tmp_path / "b_masks", labels)
    with pytest.raises(InputError, match=r"labels have no image; put b.tif or b_img.tif"):
        find_pairs(tmp_path)
    as_tiff(tmp_path / "b", image)
    as_png(tmp_path / "b", image)
    with pytest.raises(InputError, match=r"two files have the same name; got b.png and b.tif"):
        find_pairs(tmp_path)
    (tmp_path / "b.png").unlink()
    (found,) = find_pairs(tmp_path)
    wrong = ((labels + 0.5).astype(np.float32), -1 * labels.astype(np.int16))
    for array in wrong:
        as_tiff(tmp_path / "b_masks", array)
        with pytest.raises(InputError, match="labels must be whole numbers, 0 for background"):
            read_pair(found)
    as_tiff(tmp_path / "b_masks", labels.astype(np.float32))
    np.testing.assert_array_equal(read_pair(found)[1][0], labels)
    (tmp_path / "b_masks.tif").unlink()
    as_png(tmp_path / "b_masks", np.stack([labels, labels, 2 * labels], axis=2))
    (found,) = find_pairs(tmp_path)
    with pytest.raises(InputError, match="labels must have one channel; got 3"):
        read_pair(found)


def test_two_sets_of_labels(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    as_tiff(tmp_path / "a", image)
    as_tiff(tmp_path / "a_masks", labels)
    as_png(tmp_path / "a_cp_masks", labels)
    with pytest.raises(InputError, match=r"two sets of labels; got a_cp_masks.png and a_masks"):
        find_pairs(tmp_path)


def test_licences_of_data(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    folders = [write_twins(tmp_path / name, as_tiff, image, labels) for name in "ab"]

    def noted(*licences: str) -> list[str | int]:
        return [source["licence"] for source in read_dataset(folders, licences=licences).sources]

    assert noted() == ["unstated", "unstated"]
    assert noted("CC0-1.0") == ["CC0-1.0", "CC0-1.0"]
    assert noted("CC0-1.0", "MIT") == ["CC0-1.0", "MIT"]
    with pytest.raises(InputError, match="licences do not match the data folders"):
        noted("CC0-1.0", "MIT", "BSD")


def test_a_folder_named_twice_is_drawn_from_twice_as_often(tmp_path: Path) -> None:
    image, labels = (array.squeeze() for array in pair())
    for number in range(4):
        as_tiff(tmp_path / f"image{number}", image)
        as_tiff(tmp_path / f"image{number}_masks", labels)
    once, twice = (read_dataset([tmp_path] * times, holdout=["image0*"]) for times in (1, 2))
    assert [item.source for item in twice.training] == [0, 0, 0, 1, 1, 1]
    # but what is held out is scored once
    assert len(twice.held_out) == len(once.held_out) == 1
    assert [source["held out"] for source in twice.sources] == [1, 0]


@pytest.mark.parametrize("text", ["null", "3", '"a.tif"', '{"a.tif": 1}', "[null]", "[1, 2]"])
def test_lists_that_are_none(tmp_path: Path, text: str) -> None:
    listed = tmp_path / "held.json"
    listed.write_text(text)
    with pytest.raises(
        InputError, match=r"held\.json: no list of file names; got .*allowed: as in"
    ):
        _lines(listed)
    listed.write_text('["a.tif ", "", "b.tif"]')
    assert _lines(listed) == ["a.tif", "b.tif"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, wrong: float) -> None:
    """Not after hours, as a training that has diverged."""
    image = np.ones((20, 24), np.float32)
    image[3, 4] = wrong
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "a_masks.tif", np.eye(20, 24, dtype=np.uint16))
    with pytest.raises(InputError, match=r"a\.tif: the image has voxels that are not finite"):
        items_of((tmp_path / "a.tif", tmp_path / "a_masks.tif"), 0)
