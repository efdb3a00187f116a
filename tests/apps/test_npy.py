"""`terapose npy`: what Cellpose's window and its functions read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cellpose import io, utils
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_tiff

from terapose.apps.cellpose_npy import MOST

IMAGE, LABELS = nuclei((6, 50, 62), radius=6, spacing=12)


def read(path: Path) -> dict[str, Any]:
    """The content, as Cellpose reads it."""
    found: dict[str, Any] = np.load(path, allow_pickle=True).item()
    return found


def test_a_plane_beside_its_image(tmp_path: Path, command: Terapose) -> None:
    write_tiff(tmp_path / "a.tif", IMAGE[3])
    write_ome_zarr(tmp_path / "labels.zarr", LABELS[3] * 7, axes="yx")
    said = command("npy", tmp_path / "labels.zarr", tmp_path / "a_seg.npy")
    found = read(tmp_path / "a_seg.npy")
    cells = len(np.unique(LABELS[3])) - 1
    assert said.out.endswith(f": {cells} cells\n") and cells > 5
    masks = found["masks"]
    assert masks.shape == LABELS[3].shape and masks.max() == cells == len(found["ismanual"])
    ids = np.unique(LABELS[3])
    np.testing.assert_array_equal(ids[masks], LABELS[3])
    np.testing.assert_array_equal(found["outlines"] > 0, utils.masks_to_outlines(masks))
    np.testing.assert_array_equal(found["outlines"][found["outlines"] > 0],
                                  masks[found["outlines"] > 0])  # fmt: skip
    assert found["filename"] == str(tmp_path / "a.tif") and "img" not in found
    # its own functions find and read it by the name of the image
    names, _ = io.get_label_files([str(tmp_path / "a.tif")], mask_filter="_seg.npy")
    assert names == [str(tmp_path / "a_seg.npy")]
    assert len(utils.outlines_list(masks)) == cells


def test_a_volume_with_its_image(tmp_path: Path, command: Terapose) -> None:
    image = np.stack([IMAGE, IMAGE[::-1]])
    write_ome_zarr(tmp_path / "image.zarr", image, axes="czyx")
    write_ome_zarr(tmp_path / "labels.zarr", LABELS)
    words = ("npy", tmp_path / "labels.zarr", tmp_path / "b_seg.npy")
    assert command(*words, "--image", tmp_path / "image.zarr", "--channels", "2,1").code == 0
    found = read(tmp_path / "b_seg.npy")
    assert found["masks"].shape == LABELS.shape
    np.testing.assert_array_equal(found["masks"] > 0, LABELS > 0)
    np.testing.assert_array_equal(found["img"][..., 0], image[1])
    np.testing.assert_array_equal(found["img"][..., 1], image[0])
    assert found["img"].shape == (*LABELS.shape, 3) and not found["img"][..., 2].any()
    outlines = np.stack([utils.masks_to_outlines(plane) for plane in found["masks"]])
    np.testing.assert_array_equal(found["outlines"] > 0, outlines)


def test_corrections_are_not_replaced(tmp_path: Path, command: Terapose) -> None:
    write_tiff(tmp_path / "a.tif", IMAGE[3])
    write_ome_zarr(tmp_path / "labels.zarr", LABELS[3], axes="yx")
    words = ("npy", tmp_path / "labels.zarr", tmp_path / "a_seg.npy")
    words[2].write_bytes(b"corrected by hand")
    assert "already exists; choose another name, or give --overwrite" in command.refuses(*words)
    assert words[2].read_bytes() == b"corrected by hand"
    assert command(*words, "--overwrite").code == 0 and "masks" in read(words[2])


@pytest.mark.parametrize("shape", [(50, 61), (6, 49, 62)])
def test_the_image_beside_has_the_shape_of_the_labels(
    tmp_path: Path, command: Terapose, shape: tuple[int, ...]
) -> None:
    write_tiff(tmp_path / "a.tif", np.zeros(shape, np.uint16))
    labels = write_ome_zarr(tmp_path / "labels.zarr", LABELS[3], axes="yx")
    said = command.refuses("npy", labels, tmp_path / "a_seg.npy")
    assert "a.tif: image and labels differ in shape" in said
    assert not (tmp_path / "a_seg.npy").exists()
    # Cellpose may open what Terapose does not, and take pages for channels
    for content in (b"no TIFF", None):
        if content is None:
            write_tiff(tmp_path / "a.tif", IMAGE[:2])
        else:
            (tmp_path / "a.tif").write_bytes(content)
        assert command("npy", labels, tmp_path / "a_seg.npy", "--overwrite").code == 0


def test_what_is_refused(tmp_path: Path, command: Terapose) -> None:
    write_ome_zarr(tmp_path / "labels.zarr", LABELS)
    write_ome_zarr(tmp_path / "small.zarr", IMAGE[:, 1:])
    large = zarr.create_array(str(tmp_path / "large.zarr"), shape=(2, 10_000, 10_000), dtype="u4")
    assert np.prod(large.shape) > MOST
    labels, out = tmp_path / "labels.zarr", tmp_path / "a_seg.npy"
    twice = ("--image", tmp_path / "large.zarr")
    for words, sentence in {
        (labels, out): "has no image beside it",
        (labels, tmp_path / "a.npy", "--image", labels): "is not the name of a file that Cellpose",
        (labels, out, "--image", tmp_path / "small.zarr"): "image and labels differ in shape",
        (labels, out, "--channels", 1): "there is no image",
        (tmp_path / "large.zarr", out, *twice): "is too large for _seg.npy",
    }.items():
        said = command.refuses("npy", *words)
        assert sentence in said, said
    assert not out.exists()
    out.mkdir()
    said = command.refuses("npy", labels, out, "--image", labels)
    assert "a folder in place of a file" in said and not list(out.iterdir())
    said = command.refuses("npy", labels, labels / "a_seg.npy", "--image", labels)
    assert "inside it" in said and not (labels / "a_seg.npy").exists()


@pytest.mark.parametrize(
    ("dtype", "sentence"),
    [
        (np.int32, "whole numbers from 0 up; got -1; write 0"),
        (np.float32, "must have whole numbers; got float32; allowed: an integer type; save"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, command: Terapose, dtype: Any, sentence: str) -> None:
    zarr.create_array(str(tmp_path / "labels.zarr"), data=LABELS[3].astype(dtype) - 1)
    write_tiff(tmp_path / "a.tif", IMAGE[3])
    said = command.refuses("npy", tmp_path / "labels.zarr", tmp_path / "a_seg.npy")
    assert sentence in said
