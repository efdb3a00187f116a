"""Which files of a stack are opened by `check`, and count for the identity of the image."""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused, same
from tests.io.test_stacks import write
from tests.synthetic import voxels

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.opening import open_image
from terapose.stages.check import check_readable


@pytest.mark.parametrize(
    ("name", "axes", "time", "used"),
    [
        ("{t}", "", 2, [1]),
        ("{t}", "TYX", 3, [2]),
        ("{t}", "ZYX", None, [0, 1, 2, 3]),
        ("{t}", "CYX", None, [0, 1, 2, 3]),
        ("{z}", "", None, [0, 1, 2, 3]),
        ("{z}", "TYX", 4, [3]),
    ],
)
def test_files_that_are_checked_and_known(
    tmp_path: Path, name: str, axes: str, time: int | None, used: list[int]
) -> None:
    """All files whose voxels are read, whatever their names call the axis; and no others."""
    write(tmp_path, voxels(4, 33, 47), "p{0}")
    chosen: dict[str, Any] = {"stack": True, "axes": axes, "time": time}
    for n in range(4):
        image = open_image(tmp_path / f"p{name}.tif", **chosen)
        path, before = tmp_path / f"p{n}.tif", image.identity
        content = path.read_bytes()
        os.utime(path, ns=(0, 2**62))
        changed = open_image(tmp_path / f"p{name}.tif", **chosen)
        assert (changed.identity != before) == (n in used)
        if n in used[1:]:  # the first one says what the others are
            tifffile.imwrite(path, np.zeros((5, 6), np.uint16))
            with pytest.raises(InputError, match="has another shape or type"):
                check_readable(image, check({"channels": 1}))
        path.write_bytes(content)


@contextmanager
def _few_open_files(most: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="files cannot be counted here")
def test_more_files_than_can_be_open(tmp_path: Path) -> None:
    array = voxels(300, 8, 9)
    folder = write(tmp_path / "a", array, "p{0}")
    opened = len(os.listdir("/proc/self/fd"))
    with _few_open_files(opened + 40):
        image = open_image(folder, stack=True)
        check_readable(image, check({"stack": True}))
        assert same(image, array[None])
    assert len(os.listdir("/proc/self/fd")) <= opened + 1


def test_only_files_that_are_needed_are_opened(tmp_path: Path) -> None:
    array = voxels(40, 8, 9)
    folder = write(tmp_path / "a", array, "p{0}")
    for n in (1, *range(5, 40)):
        (folder / f"p{n}.tif").write_bytes(b"anything")
    image = open_image(folder, stack=True)
    np.testing.assert_array_equal(
        image.read((slice(2, 5), slice(1, 3), slice(0, 9))), array[2:5, 1:3]
    )
    assert len(image.identity) == 64


def _pages(path: Path, axes: str, array: np.ndarray, kind: str) -> None:
    """A file with pages that are no planes of a volume."""
    if kind == "imagej":
        tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes})
    elif kind == "plain":
        tifffile.imwrite(path, array, photometric="minisblack", metadata=None)
    else:
        tifffile.imwrite(
            path, array, photometric="minisblack", ome=kind == "ome", metadata={"axes": axes}
        )


@pytest.mark.parametrize("kind", ["ome", "imagej", "shaped"])
@pytest.mark.parametrize("axes", ["CYX", "TYX", "ZCYX"])
def test_channels_and_times_in_files_are_no_planes(tmp_path: Path, axes: str, kind: str) -> None:
    """Those of OME-TIFF were read along Z."""
    array = voxels(2, *(3 + n for n in range(len(axes) - 2)), 33, 47)
    for n, part in enumerate(array):
        _pages(tmp_path / f"p{n}.tif", axes, part, kind)
    message = rf"holds more than a plane, .*; got .* axes {axes}; .* or give axes"
    pattern = tmp_path / ("p{c}.tif" if "C" not in axes else "p{t}.tif")
    assert_refused(message, pattern, stack=True)
    if axes == "CYX":
        image = open_image(pattern, stack=True, axes="TCYX", time=2)
        assert same(image, array[1][:, None])


@pytest.mark.parametrize("kind", ["ome", "imagej", "shaped", "plain"])
def test_planes_in_files(tmp_path: Path, kind: str) -> None:
    array = voxels(2, 5, 33, 47)
    for n, part in enumerate(array):
        _pages(tmp_path / f"p{n}.tif", "ZYX", part, kind)
    image = open_image(tmp_path / "p{c}.tif", stack=True)
    assert same(image, array)
    assert ("does not say what its axis of 5 is" in image.layout.note) == (kind == "plain")
    check_readable(image, check({"channels": 1}))
    # a file that says something else than the first
    _pages(tmp_path / "p1.tif", "CYX", array[1], "ome")
    with pytest.raises(InputError, match=r"p1.tif: has another shape.*got .* axes CYX"):
        check_readable(open_image(tmp_path / "p{c}.tif", stack=True), check({"channels": 1}))


def test_a_set_with_a_file_for_each_channel(tmp_path: Path) -> None:
    """Its OME-XML describes all files: as many pages as it has planes along Z are these."""
    array = voxels(2, 5, 33, 47)
    data = "".join(
        f'<TiffData FirstC="{n}" PlaneCount="5"><UUID FileName="p{n}.tif">urn:uuid:{n}</UUID>'
        "</TiffData>"
        for n in range(2)
    )
    for n, part in enumerate(array):
        _pages(tmp_path / f"p{n}.tif", "ZYX", part, "ome")
        with tifffile.TiffFile(tmp_path / f"p{n}.tif") as file:
            text = (file.ome_metadata or "").replace('SizeC="1"', 'SizeC="2"')
        start, end = text.index("<TiffData"), text.index("</Pixels>")
        tifffile.tiffcomment(tmp_path / f"p{n}.tif", text[:start] + data + text[end:])
    assert same(open_image(tmp_path / "p{c}.tif", stack=True), array)


@pytest.mark.parametrize("pages", [6, 20])
def test_files_with_pages_stored_in_other_ways(tmp_path: Path, pages: int) -> None:
    """Their pages were decoded like the first; a single file of this kind was refused."""
    array = voxels(2, pages, 33, 47)
    for n, volume in enumerate(array):
        with tifffile.TiffWriter(tmp_path / f"p{n}.tif") as file:
            for z, plane in enumerate(volume):
                how: dict[str, Any] = {"predictor": n == 1 and z == 4, "compression": "zlib"}
                file.write(plane, contiguous=False, metadata=None, **how)
    image = open_image(tmp_path / "p{c}.tif", stack=True)
    message = "p1.tif: (planes of the image are stored in different ways|holds several images)"
    with pytest.raises(InputError, match=message):
        check_readable(image, check({"channels": 1}))
    with pytest.raises(InputError, match=message):
        image.read((slice(0, pages), slice(0, 33), slice(0, 47)), 2)


def test_files_whose_directories_lead_nowhere(tmp_path: Path) -> None:
    """tifffile goes on with the pages that it finds: of a volume three would be left."""
    for n in range(2):
        path = tmp_path / f"p{n}.tif"
        with tifffile.TiffWriter(path) as file:
            for plane in voxels(5, 33, 47):
                file.write(plane, contiguous=False, metadata=None, photometric="minisblack")
        with tifffile.TiffFile(path) as file:
            form, offset = file.tiff, file.pages[2].offset
        content = bytearray(path.read_bytes())
        (tags,) = struct.unpack_from(form.tagnoformat, content, offset)
        place = offset + form.tagnosize + tags * form.tagsize
        struct.pack_into(form.offsetformat, content, place, 2**30)
        path.write_bytes(content)
    assert_refused("p0.tif: the TIFF file is damaged", tmp_path / "p{c}.tif", stack=True)
