"""TIFFs of ImageJ and of tifffile: hyperstacks, units, labels, large files, stale descriptions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused, same
from tests.raw_tiff import RawTiff, text
from tests.synthetic import voxels

from terapose.io.images.opening import open_image

LENGTHS = {"T": 2, "Z": 5, "C": 3}


def _described(path: Path, planes: np.ndarray, lines: str | bytes, **options: Any) -> Path:
    """Planes with a description of any bytes."""
    content = lines.encode() if isinstance(lines, str) else lines
    options = {"photometric": "minisblack", "metadata": None, **options}
    tifffile.imwrite(path, planes, description=b"ImageJ=1.54f\n" + content, **options)
    return path


@pytest.mark.parametrize("order", ["".join(o) for o in itertools.permutations("czt")])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 7}])
def test_hyperstacks_in_any_order(tmp_path: Path, order: str, options: Any) -> None:
    """The first letter is the axis that changes fastest."""
    array = voxels(2, 5, 3, 33, 47)
    axes = order[::-1].upper()
    planes = array.transpose(*("TZC".index(axis) for axis in axes), 3, 4).reshape(-1, 33, 47)
    lines = f"images=30\nchannels=3\nslices=5\nframes=2\nhyperstack=true\norder={order}\n"
    path = _described(tmp_path / "a.tif", planes, lines, **options)
    image = open_image(path, time=2)
    assert image.axes == f"{axes}YX"
    assert same(image, array[1].swapaxes(0, 1))


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TYX", "ZCYX", "TCYX", "TZYX", "TZCYX", "YX"])
def test_stacks_as_tifffile_writes_them_for_imagej(tmp_path: Path, axes: str) -> None:
    array = voxels(*(LENGTHS.get(axis, 0) or {"Y": 33, "X": 47}[axis] for axis in axes))
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": axes})
    image = open_image(tmp_path / "a.tif", time=2 if "T" in axes else None)
    whole = array[1] if "T" in axes else array
    rest = axes.replace("T", "")
    expected = whole.swapaxes(0, 1) if rest == "ZCYX" else whole
    assert same(image, expected.reshape(-1, 5 if "Z" in axes else 1, 33, 47))


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        (b"unit=micron\nspacing=2.0\n", (2.0, 0.5, 0.25)),
        (b"unit=\\u00B5m\nspacing=2.0\n", (2.0, 0.5, 0.25)),
        (b"unit=\xb5m\nspacing=2.0\n", (2.0, 0.5, 0.25)),  # Latin, and Mac Roman
        (b"unit=\xc2\xb5m\nspacing=2.0\n", (2.0, 0.5, 0.25)),  # UTF-8
        (b"unit=\xc3\x82\xc2\xb5m\nspacing=2.0\n", (2.0, 0.5, 0.25)),  # UTF-8 twice
        (b"unit=\x83\xcam\nspacing=2.0\n", (2.0, 0.5, 0.25)),  # Shift JIS
        (b"unit=\xa6\xccm\nspacing=2.0\n", (2.0, 0.5, 0.25)),  # GBK
        (b"unit=nm\nspacing=2000\n", (2.0, 0.0005, 0.00025)),
        (b"unit=inch\nspacing=2.0\n", (50800.0, 12700.0, 6350.0)),
        (b"unit=um\nspacing=-2.0\n", (2.0, 0.5, 0.25)),
        (b"unit=um\nyunit=mm\nzunit=nm\nspacing=2000.0\n", (2.0, 500.0, 0.25)),
        (b"unit=um\nspacing=2,0\n", None),
        (b"unit=um\nspacing=0\n", None),
        (b"unit=um\n", None),
        (b"unit=pixel\nspacing=2.0\n", None),
        (b"spacing=2.0\n", None),
    ],
)
def test_units(tmp_path: Path, lines: bytes, size: Any) -> None:
    array = voxels(5, 33, 47)
    path = tmp_path / "a.tif"
    _described(path, array, b"images=5\nslices=5\n" + lines, resolution=(4, 2))
    image = open_image(path)
    assert image.voxel_size == (size if size is None else pytest.approx(size))
    assert same(image, array[None])


def test_resolution_without_a_unit_is_that_of_the_tags(tmp_path: Path) -> None:
    plane = voxels(33, 47)
    options: dict[str, Any] = {"resolution": (40000, 20000), "resolutionunit": "CENTIMETER"}
    path = _described(tmp_path / "a.tif", plane, "", **options)
    assert open_image(path).voxel_size == (0.5, 0.5, 0.25)
    path = _described(tmp_path / "a.tif", plane, "", resolution=(72, 72), resolutionunit="INCH")
    assert open_image(path).voxel_size is None
    path = _described(tmp_path / "a.tif", plane, "unit=pixel\n", **options)
    assert open_image(path).voxel_size is None


@pytest.mark.parametrize(
    ("axes", "labels", "names"),
    [
        ("CYX", ["DAPI", "CD3"], ("DAPI", "CD3")),
        ("CYX", ["c:1/2 - DAPI", "c:2/2 - CD3"], ("DAPI", "CD3")),
        ("CYX", ["a.nd2", "a.nd2"], None),
        ("CYX", ["DAPI"], None),
        ("ZCYX", [f"c:{c}/2 z:{z}/3 - {'ab'[c - 1]}" for z in (1, 2, 3) for c in (1, 2)], "ab"),
        ("ZCYX", [f"c:{c}/2 z:{z}/3 - a.nd2" for z in (1, 2, 3) for c in (1, 2)], None),
        ("ZCYX", [f"plane {n}" for n in range(6)], None),
        ("TCYX", ["DAPI", "CD3"] * 2, ("DAPI", "CD3")),
    ],
)
def test_labels_that_name_channels(tmp_path: Path, axes: str, labels: Any, names: Any) -> None:
    lengths = {"T": 2, "Z": 3, "C": 2, "Y": 33, "X": 47}
    array = voxels(*(lengths[axis] for axis in axes))
    metadata = {"axes": axes, "Labels": labels}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata)
    image = open_image(tmp_path / "a.tif", time=1 if "T" in axes else None)
    assert image.channel_names == (("channel 1", "channel 2") if names is None else tuple(names))


def _one_page(path: Path, array: np.ndarray, lines: str) -> Path:
    """As ImageJ writes what is larger than 4 GB: one directory, and all planes after it."""
    planes = array.reshape(-1, *array.shape[-2:])
    file = RawTiff()
    told = [text(270, "ImageJ=1.54f\n" + lines)]
    file.page(planes, told, repeated=len(planes), data_last=True)
    path.write_bytes(file.content)
    return path


def test_one_directory_for_all_planes(tmp_path: Path) -> None:
    array = voxels(5, 3, 33, 47)
    lines = "images=15\nchannels=3\nslices=5\nhyperstack=true\nunit=um\nspacing=2\n"
    path = _one_page(tmp_path / "a.tif", array, lines)
    image = open_image(path)
    assert image.is_lazy
    assert same(image, array.swapaxes(0, 1))
    plain = _one_page(tmp_path / "b.tif", array, "images=15\n")
    assert same(open_image(plain), array.reshape(1, 15, 33, 47))
    assert "axis of 15" in open_image(plain).layout.note
    assert same(open_image(plain, axes="CYX"), array.reshape(15, 1, 33, 47))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 33 * 47 * 2])
    assert_refused("the TIFF file is damaged or incomplete", path)


def test_more_than_4_gigabytes(tmp_path: Path) -> None:
    """The file has a hole where its planes are zero."""
    planes, high, wide = 2200, 1024, 1024
    plane = voxels(high, wide)
    path = _one_page(tmp_path / "a.tif", plane, f"images={planes}\nslices={planes}\n")
    start = len(path.read_bytes()) - plane.nbytes
    end = start + planes * plane.nbytes
    assert end > 2**32
    with path.open("r+b") as file:
        file.truncate(end)
        file.seek(end - plane.nbytes)
        file.write((plane + 1).tobytes())
    image = open_image(path, axes="ZYX")
    assert image.shape == (planes, high, wide)
    region = (slice(3, 9), slice(5, 12))
    for z, expected in ((0, plane), (1, plane * 0), (planes - 1, plane + 1)):
        block = image.read((slice(z, z + 1), *region))
        np.testing.assert_array_equal(block[0], expected[region])
    with path.open("r+b") as file:
        file.truncate(end - 1)
    assert_refused("the TIFF file is damaged or incomplete", path)


@pytest.mark.parametrize("told", [4, 6])
@pytest.mark.parametrize("contiguous", [True, False])
def test_pages_that_the_description_does_not_tell(
    tmp_path: Path, told: int, contiguous: bool
) -> None:
    """Other programs cut and add pages, and copy the description."""
    array = voxels(5, 33, 47)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for n, plane in enumerate(array):
            first = f"ImageJ=1.54f\nimages={told}\nslices={told}\n" if n == 0 else None
            options: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
            file.write(plane, description=first, contiguous=contiguous, **options)
    path = tmp_path / "a.tif"
    assert_refused("its description cannot be used; got .*, or give axes", path)
    image = open_image(path, axes="ZYX")
    assert same(image, array[None])
    assert "is not used" in image.layout.note


def test_pages_that_tifffile_does_not_tell(tmp_path: Path) -> None:
    """Its own description has the shape of the array, which pages may no longer have."""
    array = voxels(5, 33, 47)
    told, path = '{"shape": [2, 3, 33, 47], "axes": "CZYX"}', tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None, "contiguous": False}
    for planes, reason in ((array, "where the second page is"), ([*array, *array], "invalid")):
        with tifffile.TiffWriter(path) as file:
            for n, plane in enumerate(planes):
                file.write(plane, description=told if n == 0 else None, **options)
        path.write_bytes(path.read_bytes() + bytes(array.nbytes))
        assert_refused(f"its description cannot be used; got .*{reason}", path)
        assert same(open_image(path, axes="ZYX"), np.asarray(planes)[None])


FOUR_AND_FIVE = [
    (2, 5, 33, 47),
    (5, 2, 33, 47),
    (5, 33, 47, 2),
    (2, 3, 5, 33, 47),
    (1, 5, 1, 33, 47),
]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("shape", FOUR_AND_FIVE)
def test_plain_arrays_of_four_and_five_axes(tmp_path: Path, shape: Any, options: Any) -> None:
    array = voxels(*shape)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    given = {4: "CZYX", 5: "TCZYX"}[len(shape)]
    if shape[-1] == 2:
        given = "ZYXC"
    elif shape == (5, 2, 33, 47):
        given = "ZCYX"
    if 1 in shape:  # axes of length 1 do no harm
        assert same(open_image(path), array.reshape(1, 5, 33, 47))
    else:
        assert_refused("of unknown meaning; got axes Q.*give them with the par", path)
    image = open_image(path, axes=given, time=1)
    one = array[0] if "T" in given else array
    rest = given.replace("T", "")
    assert same(image, one.transpose([rest.index(axis) for axis in "CZYX"]))


def test_axes_of_length_1_at_the_end(tmp_path: Path) -> None:
    for shape in ((5, 33, 47, 1), (1, 5, 33, 47, 1), (5, 1, 33, 47)):
        array = voxels(*shape)
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
        assert same(open_image(tmp_path / "a.tif"), array.reshape(1, 5, 33, 47))


def test_signed_numbers_of_imagej_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    array = voxels(5, 33, 47)
    for c0, is_signed in ((-32768.0, True), (0.0, False)):
        told = {"axes": "ZYX", "c0": c0, "c1": 1.0, "vunit": "gray value"}
        tifffile.imwrite(path, array, imagej=True, metadata=told)
        image = open_image(path)
        assert same(image, array[None])
        assert ("32768 higher" in image.layout.note) == is_signed
