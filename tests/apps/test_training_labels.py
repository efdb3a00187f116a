"""Labels as people have them: read as the cells that they mean, or a sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from terapose.apps.train.data import items_of
from terapose.apps.train.dataset import read_dataset
from terapose.apps.train.files import find_pairs, read_pair
from terapose.core.errors import InputError

Array = NDArray[Any]
CELLS = np.zeros((40, 48), np.uint8)
for number, (row, column) in enumerate(np.ndindex(3, 4), start=1):
    CELLS[4 + 12 * row : 12 + 12 * row, 2 + 12 * column : 11 + 12 * column] = number
IMAGE = np.random.default_rng(1).integers(200, 400, CELLS.shape).astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(1, 255, (256, 3)).astype(np.uint8)
COLOURS[0] = 0


def tiff(path: Path, array: Array, **options: Any) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), array, **options)


def png(path: Path, array: Array) -> None:
    assert cv2.imwrite(str(path.with_suffix(".png")), array)


def hdf5(path: Path, array: Array) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["label"] = array


def pillow(path: Path, array: Array, colours: Array = COLOURS, ending: str = ".png") -> None:
    image = Image.fromarray(array, mode="P")
    image.putpalette(colours.tobytes())
    image.save(path.with_suffix(ending))


def palette_tiff(path: Path, array: Array) -> None:
    tiff(path, array, photometric="palette", colormap=COLOURS.T.astype(np.uint16) * 257)


def quantised(path: Path, array: Array) -> None:
    """Colours as a picture program sorts them: 0 is some cell."""
    image = Image.fromarray(COLOURS[array]).quantize(32)
    assert np.asarray(image)[array == 0].all()
    image.save(path.with_suffix(".png"))


def bits(path: Path, array: Array) -> None:
    Image.fromarray(array > 0).save(path.with_suffix(".png"))


def grey_of(array: Array) -> Array:
    return np.stack([array] * 3, axis=-1)


def wrapped(dtype: type) -> Array:
    return np.where(CELLS, CELLS.astype(np.int64), -1).astype(dtype)


FORMS: dict[str, Callable[[Path], None]] = {
    "floats": lambda p: tiff(p, CELLS.astype(np.float32)),
    "doubles in HDF5": lambda p: hdf5(p, CELLS.astype(np.float64)),
    "-1": lambda p: tiff(p, wrapped(np.int16)),
    "-1 of 32 bits": lambda p: tiff(p, wrapped(np.int32)),
    "-1 of 64 bits": lambda p: hdf5(p, wrapped(np.int64)),
    "-1 as floats": lambda p: tiff(p, wrapped(np.float32)),
    "-1 as 255": lambda p: png(p, wrapped(np.uint8)),
    "-1 as 65535": lambda p: tiff(p, wrapped(np.uint16)),
    "NaN": lambda p: tiff(p, np.where(CELLS, CELLS, np.nan).astype(np.float32)),
    "0 and 255": lambda p: tiff(p, np.where(CELLS, 255, 0).astype(np.uint8)),
    "0 and 255, PNG": lambda p: png(p, np.where(CELLS, 255, 0).astype(np.uint8)),
    "0 and 1": lambda p: tiff(p, np.where(CELLS, 1, 0).astype(np.uint16)),
    "0 and 1, floats": lambda p: tiff(p, np.where(CELLS, 1, 0).astype(np.float32)),
    "-1 and 1": lambda p: tiff(p, np.where(CELLS, 1, -1).astype(np.int8)),
    "bits": lambda p: tiff(p, CELLS > 0),
    "bits, PNG": lambda p: bits(p, CELLS),
    "palette": lambda p: pillow(p, CELLS),
    "palette, quantised": lambda p: quantised(p, CELLS),
    "palette, TIFF": lambda p: palette_tiff(p, CELLS),
    "palette, TIFF of Pillow": lambda p: pillow(p, CELLS, ending=".tif"),
    "grey as RGB": lambda p: png(p, grey_of(CELLS)),
    "grey as RGBA": lambda p: png(p, np.dstack([grey_of(CELLS), np.full_like(CELLS, 255)])),
    "grey as RGB, TIFF": lambda p: tiff(p, grey_of(CELLS), photometric="rgb"),
}


def folder_of(folder: Path, write: Callable[[Path], None]) -> Path:
    folder.mkdir()
    tiff(folder / "a", IMAGE)
    write(folder / "a_masks")
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_forms_give_the_same_cells(tmp_path: Path, form: str) -> None:
    (expected,) = items_of(
        find_pairs(folder_of(tmp_path / "plain", lambda p: tiff(p, CELLS)))[0], 0
    )
    (item,) = items_of(find_pairs(folder_of(tmp_path / "other", FORMS[form]))[0], 0)
    np.testing.assert_array_equal(item.labels > 0, CELLS > 0)
    # the same cells under other numbers
    assert len(np.unique(np.stack([item.labels, expected.labels]).reshape(2, -1), axis=1).T) == 13
    assert item.diameter == expected.diameter


def test_binary_volumes(tmp_path: Path) -> None:
    volume = np.zeros((6, 20, 20), np.uint8)
    volume[1:5, 2:8, 2:8] = volume[1:4, 12:18, 12:18] = 255
    image = np.random.default_rng(1).integers(200, 400, volume.shape).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["label"] = image, volume
    _, labels, *_ = read_pair(find_pairs(tmp_path)[0])
    assert labels[2, 4, 4] == 1 and labels[2, 14, 14] == 2 and labels.max() == 2
    np.testing.assert_array_equal(labels > 0, volume > 0)


def test_one_warning_for_a_folder_of_binary_masks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate("abc"):
        tiff(
            tmp_path / name, IMAGE + IMAGE.dtype.type(number)
        )  # copies have a warning of their own
        tiff(tmp_path / f"{name}_masks", np.where(CELLS, 255, 0).astype(np.uint8))
    with caplog.at_level(logging.WARNING):
        read_dataset([tmp_path], every=3)
    (record,) = caplog.records
    assert "masks have one number for all cells; pieces that do not touch" in record.message


def test_what_looks_like_it_but_is_not(tmp_path: Path) -> None:
    # a cell of the number 255 where all are there, and one of many pieces beside another
    many = np.arange(256 * 4, dtype=np.uint16).reshape(32, 32) // 4
    labels = np.where(many == 0, 1, many).astype(np.uint8)
    folder = tmp_path / "all"
    folder.mkdir()
    tiff(folder / "a", labels.astype(np.uint16))
    tiff(folder / "a_masks", labels)
    np.testing.assert_array_equal(read_pair(find_pairs(folder)[0])[1][0], labels)
    two = np.where(CELLS > 6, 7, CELLS)
    pair = find_pairs(folder_of(tmp_path / "two", lambda p: tiff(p, two)))[0]
    np.testing.assert_array_equal(read_pair(pair)[1][0], two)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "halves": (
        lambda p: tiff(p, CELLS.astype(np.float32) / 12),
        "labels must be whole numbers, .* got float32 values from 0 to 1; write 0 where there",
    ),
    "-1 beside 0": (
        lambda p: tiff(p, np.where(CELLS == 3, -1, CELLS.astype(np.int16))),
        "labels must be whole numbers, 0 for background; got int16 values from -1 to 12; write 0",
    ),
    "NaN beside 0": (
        lambda p: tiff(p, np.where(CELLS == 3, np.nan, CELLS).astype(np.float32)),
        "labels must be whole numbers, 0 for background; got float32 values from nan to nan; write",
    ),
    "negative": (
        lambda p: tiff(p, -CELLS.astype(np.int16)),
        "got int16 values from -12 to 0; write 0 where there is no cell, and 1, 2, 3 and so on",
    ),
    "colours": (
        lambda p: png(p, COLOURS[CELLS]),
        "labels must have one channel; got 3 channels or colours; save the numbers of the cells",
    ),
    "colours, TIFF": (
        lambda p: tiff(p, COLOURS[CELLS], photometric="rgb"),
        "labels must have one channel; got 3 channels or colours; save the numbers of the cells",
    ),
    "palette without black": (
        lambda p: pillow(p, CELLS, np.maximum(COLOURS, 1)),
        "the palette does not show which number is the background; got 0 black colours in use",
    ),
    "palette of two blacks": (
        lambda p: pillow(p, CELLS, np.where(np.arange(256)[:, None] == 3, 0, COLOURS)),
        "the palette does not show which number is the background; got 2 black colours in use",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_a_sentence_for_the_others(tmp_path: Path, form: str) -> None:
    write, sentence = REFUSED[form]
    pair = find_pairs(folder_of(tmp_path / "one", write))[0]
    with pytest.raises(InputError, match=sentence):
        read_pair(pair)


@pytest.mark.parametrize("others", [False, True])
def test_files_of_the_window_are_not_read(tmp_path: Path, others: bool) -> None:
    tiff(tmp_path / "a", IMAGE)
    saved: Any = {"masks": CELLS, "outlines": CELLS * 0}
    np.save(tmp_path / "a_seg.npy", saved)
    if others:
        tiff(tmp_path / "b", IMAGE)
        tiff(tmp_path / "b_masks", CELLS)
    sentence = (
        r"a_seg.npy: cells saved by the GUI of Cellpose cannot be read .*; allowed: a_masks.tif"
    )
    with pytest.raises(InputError, match=sentence) as caught:
        find_pairs(tmp_path)
    # what it says to do does it
    order = str(caught.value).split("in Python: ")[1].removesuffix(", or remove it")
    order = order.replace("'a_", f"'{tmp_path}/a_")
    exec(order, {"tifffile": tifffile, "numpy": np})
    np.testing.assert_array_equal(read_pair(find_pairs(tmp_path)[0])[1][0], CELLS)


@pytest.mark.parametrize("place", ["images", "labels"])
def test_files_of_the_window_among_twins(tmp_path: Path, place: str) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    tiff(tmp_path / "images" / "a", IMAGE)
    np.save(tmp_path / place / "a_seg.npy", CELLS)
    with pytest.raises(InputError, match=f"{place}/a_seg.npy: cells saved by the GUI"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("ending", ["npy", "jpg", "mat"])
def test_masks_in_files_that_are_not_read(tmp_path: Path, ending: str) -> None:
    tiff(tmp_path / "a", IMAGE)
    tiff(tmp_path / "b", IMAGE)
    tiff(tmp_path / "b_masks", CELLS)
    (tmp_path / f"a_masks.{ending}").write_bytes(b"...")
    with pytest.raises(
        InputError, match=f"a_masks.{ending}: labels cannot be read from files of t"
    ):
        find_pairs(tmp_path)
    # beside masks that are read it does not matter
    tiff(tmp_path / "a_masks", CELLS)
    assert len(find_pairs(tmp_path)) == 2
