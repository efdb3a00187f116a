"""Constant images are refused before anything is computed where that is known cheaply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

import terapose
from terapose.core.errors import InputError
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.pipeline import constant
from terapose.pipeline.constant import refuse_constant

SHAPE = (3, 40, 50)
SENTENCE = "the image is constant; got 7 in every voxel; allowed: an image with more than one"


def as_zarr(path: Path, array: NDArray[Any]) -> None:
    zarr.create_array(str(path), data=array, chunks=(2, 16, 16))


def as_tiff(path: Path, array: NDArray[Any]) -> None:
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"})


def as_compressed_tiff(path: Path, array: NDArray[Any]) -> None:
    tifffile.imwrite(path, array, metadata={"axes": "ZYX"}, compression="zlib", rowsperstrip=7)


def as_hdf5(path: Path, array: NDArray[Any]) -> None:
    with h5py.File(path, "w") as file:
        file["raw"] = array


WRITERS = {
    "zarr": as_zarr,
    "tif": as_tiff,
    "ome.tif": as_compressed_tiff,
    "h5": as_hdf5,
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_constant_or_nearly_so(tmp_path: Path, ending: str, dtype: str) -> None:
    array = np.full(SHAPE, 7, dtype)
    WRITERS[ending](tmp_path / f"a.{ending}", array)
    with pytest.raises(InputError, match=SENTENCE):
        refuse_constant(open_image(tmp_path / f"a.{ending}"), [1])
    # one voxel makes the difference, wherever it is
    for name, at in (("first", (0, 0, 0)), ("middle", (1, 20, 33)), ("last", (-1, -1, -1))):
        array[...] = 7
        array[at] = 8
        WRITERS[ending](tmp_path / f"{name}.{ending}", array)
        refuse_constant(open_image(tmp_path / f"{name}.{ending}"), [1])


def counted(image: Image) -> tuple[Image, list[int]]:
    """An image, and the voxels that are read of it."""
    read: list[int] = []

    class Counted:
        def __init__(self) -> None:
            self.source = image.open_source()

        def __getitem__(self, index: Any) -> Any:
            part = self.source[index]
            read.append(part.size)
            return part

    return replace(image, open_source=Counted), read


def test_as_little_as_possible_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(1).integers(0, 99, SHAPE).astype(np.uint16)
    as_zarr(tmp_path / "full.zarr", array)
    image, read = counted(open_image(tmp_path / "full.zarr"))
    refuse_constant(image, [1])
    assert read == [2 * 16 * 16]
    # what is larger is not read at all: it may be sparse
    as_zarr(tmp_path / "dark.zarr", np.zeros(SHAPE, np.uint16))
    monkeypatch.setattr(constant, "SMALL", array.size - 1)
    image, read = counted(open_image(tmp_path / "dark.zarr"))
    refuse_constant(image, [1])
    assert not read


def test_only_channels_in_use(tmp_path: Path) -> None:
    array = np.full((2, 3, 40, 50), 7, np.uint16)
    array[1, 2, 30, 40] = 9
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "CZYX"})
    image = open_image(tmp_path / "a.ome.tif")
    refuse_constant(image, [2])
    with pytest.raises(InputError, match=f"channel 1: {SENTENCE}"):
        refuse_constant(image, [2, 1])


def test_voxels_that_are_no_numbers_are_left_to_intensities(tmp_path: Path) -> None:
    as_hdf5(tmp_path / "a.h5", np.full(SHAPE, np.nan, np.float32))
    refuse_constant(open_image(tmp_path / "a.h5"), [1])


@pytest.mark.parametrize("words", [(), ("--normalize", "none"), ("--mode", "2d")])
def test_check_and_segment_refuse_it_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    as_tiff(tmp_path / "a.tif", np.full(SHAPE, 7, np.uint16))
    command = Terapose(monkeypatch, capsys)
    for name, more in (("check", ()), ("segment", (tmp_path / "out",))):
        assert SENTENCE in command.refuses(name, tmp_path / "a.tif", *more, *words)
    assert not (tmp_path / "out").exists()


def test_measured_it_is_an_image_like_any_other(tmp_path: Path) -> None:
    """Nothing is normalised: an empty channel has means, too."""
    voxels, labels = nuclei((8, 44, 50))
    image = np.stack([np.full_like(voxels[4], 7), voxels[4]])
    address = write_ome_zarr(tmp_path / "image.zarr", image, axes="cyx", channel_names=["A", "B"])
    tifffile.imwrite(tmp_path / "labels.tif", labels[4].astype(np.uint32))
    given: dict[str, Any] = {"renumber": True, "allow_pieces": True, "report": True}
    given |= {"workers": 1, "progress": False}
    found = terapose.measure(address, tmp_path / "labels.tif", tmp_path / "out", **given)
    assert found.cells == len(found.table()) > 5
    assert (found.table()["A"] == 7).all() and (found.table()["B"] != 7).all()
    # to a network it is an image in which nothing can be found
    with pytest.raises(InputError, match="the image is constant"):
        terapose.run(address, tmp_path / "own", diameter=10, workers=1, progress=False)
