"""Files of microscope makers are read as their own libraries write them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi
from tests.checks import assert_refused, same
from tests.synthetic import nuclei, voxels, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images import vendors
from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image
from terapose.io.images.series import pick
from terapose.io.labels.ome_zarr import open_level

NAMES = ("DAPI", "GFP", "RFP")


def write_czi(path: Path, array: np.ndarray) -> Path:
    """A CZI of (T, C, Z, Y, X), with voxels of 2 x 0.5 x 0.5 micrometres."""
    with czi.create_czi(str(path)) as file:
        for t, c, z in np.ndindex(array.shape[:3]):
            file.write(array[t, c, z][..., np.newaxis], plane={"T": t, "C": c, "Z": z})
        names = dict(enumerate(NAMES[: array.shape[1]]))
        sizes = {"scale_x": 5e-7, "scale_y": 5e-7, "scale_z": 2e-6}
        file.write_metadata(document_name="x", channel_names=names, **sizes)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_czi(tmp_path: Path, dtype: str) -> None:
    array = voxels(1, 3, 5, 40, 52, dtype=dtype)
    image = open_image(write_czi(tmp_path / "a.czi", array))
    assert (image.format, image.channel_names) == ("Zeiss CZI", NAMES)
    assert image.voxel_size == (2.0, 0.5, 0.5)
    assert image.chunks == (1, 40, 52)
    assert same(image, array[0])
    again = open_image(image.address, **image.selection.options)
    assert again == image and again.identity == image.identity


def test_time_points(tmp_path: Path) -> None:
    array = voxels(2, 1, 5, 40, 52)
    path = write_czi(tmp_path / "a.czi", array)
    assert_refused("several time points; got axes TCZYX", path)
    assert same(open_image(path, time=2), array[1])
    assert any("time 2 of 2" in line for line in describe(open_image(path, time=2)))
    assert_refused("no such image in the file; got series 2; allowed: 1", path, series="2")
    assert same(open_image(path, time=1, series="1"), array[0])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"ZISRAWFI", "Zeiss CZI"),
        (b"\xda\xce\xbe\x0a\0\0\0\0", "Nikon ND2"),
        (b"\x70\0\0\0\x2a\0\0\0", "Leica LIF"),
        *((head, None) for head in (b"", b"p", b"Z", b"ZISRAW", b"p\0", b"\xda\xce", b"plain te")),
    ],
)
def test_first_bytes(head: bytes, name: str | None) -> None:
    found = vendors.find_format("a.dat", head)
    assert (found and found.name) == name


def test_one_of_several_scenes_has_to_be_chosen() -> None:
    assert pick("a.lif", ["left", "right"], "right") == 1
    with pytest.raises(InputError, match=r"several images; got 1 \(left\), 2 \(right\); choose"):
        pick("a.lif", ["left", "right"], "")


def test_a_czi_is_segmented(tmp_path: Path, tiny_model: Path) -> None:
    image = nuclei((5, 40, 44))[0]
    path = write_czi(tmp_path / "a.czi", image[None, None])
    common = {"model": str(tiny_model), "cellprob_threshold": -0.5, "anisotropy": 1}
    segment_file(str(path), tmp_path / "out", check({**common, "block_shape": (3, 20, 20)}))
    plain = write_zarr(tmp_path / "a.zarr", image, dimension_names="zyx")
    segment_file(str(plain), tmp_path / "plain", check(common))
    found = [np.asarray(open_level(f"{tmp_path}/{n}/labels.zarr", 0)[:]) for n in ("out", "plain")]
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("a.czi", b"ZISRAWFILE", r"the Zeiss CZI file cannot be read"),
        ("no-suffix", b"ZISRAWFILE", r"the Zeiss CZI file cannot be read|not installed"),
        ("a.nd2", b"\xda\xce\xbe\x0a", r"the Nikon ND2 file cannot be read"),
        ("a.lif", b"\x70\x00\x00\x00", r"the Leica LIF file cannot be read"),
        ("a.vsi", b"II*\x00", r"Olympus VSI is read by .*pip install bioio bioio-bioformats"),
        ("a.oir", b"OLYMPUS", r"Olympus OIR is read by .*bioformats2raw"),
    ],
)
def test_damaged_files_and_missing_plugins(
    tmp_path: Path, name: str, head: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(head + bytes(100))
    assert_refused(said, tmp_path / name)


@pytest.mark.parametrize("suffix", [".czi", ".lif", ".nd2"])
def test_without_the_extra(tmp_path: Path, suffix: str, monkeypatch: Any) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"anything else")
    monkeypatch.setitem(sys.modules, "bioio", None)
    name = vendors.SUFFIXES[suffix].name
    message = rf"{name} is read by an optional package that is not installed; .*terapose\[formats\]"
    assert_refused(message, tmp_path / f"a{suffix}")


def test_colours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rgb.czi"
    with czi.create_czi(str(path)) as file:
        file.write(np.zeros((40, 52, 3), np.uint8))
        file.write_metadata(document_name="x", scale_x=5e-7, scale_y=5e-7, scale_z=2e-6)
    assert_refused("colour images and tiles of a mosaic.*got axes TCZYXS", path)
