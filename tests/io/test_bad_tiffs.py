"""TIFF files that lead nowhere, in ways that tifffile does not end by itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.command import Terapose

from terapose.apps.train.files import read_pair
from terapose.core.errors import InputError
from terapose.io.images.opening import open_image


def _circle(path: Path, *, pages: int, back_to: int, big: bool) -> None:
    """Pages of which the last one is followed by an earlier one."""
    data = np.zeros((pages, 16, 16), np.uint8)
    with tifffile.TiffWriter(path, bigtiff=big) as file:
        for plane in data:
            file.write(plane, contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
        form = file.tiff
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from(form.tagnoformat, content, offsets[-1])
    place = offsets[-1] + form.tagnosize + tags * form.tagsize
    struct.pack_into(form.offsetformat, content, place, offsets[back_to])
    path.write_bytes(content)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("pages", "back_to"), [(1, 0), (2, 0), (5, 4), (5, 2), (150, 120)])
def test_directories_in_a_circle(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    pages: int,
    back_to: int,
    big: bool,
) -> None:
    path = tmp_path / "image.tif"
    _circle(path, pages=pages, back_to=back_to, big=big)
    said = Terapose(monkeypatch, capsys).refuses("check", path)
    assert said.startswith(f"{path}: the TIFF file is damaged or incomplete; got directories that")
    with pytest.raises(InputError, match="circle"):
        read_pair((path, path))


def test_a_circle_on_a_server(tmp_path: Path, server: str) -> None:
    _circle(tmp_path / "image.tif", pages=5, back_to=1, big=False)
    with pytest.raises(InputError, match="circle"):
        open_image(f"{server}/image.tif")


@pytest.mark.parametrize("edge", ["TileWidth", "TileLength"])
@pytest.mark.parametrize("page", [0, 1])
def test_tiles_far_larger_than_the_image(tmp_path: Path, edge: str, page: int) -> None:
    """Each tile would be decoded into all of its size."""
    path = tmp_path / "image.tif"
    series = np.zeros((64, 64), np.uint16), np.zeros((96, 64), np.uint16)
    with tifffile.TiffWriter(path) as file:
        for plane in series:
            file.write(plane, tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.get(page).aspage().tags[edge].overwrite(2**30, dtype="I")
    said = "got tiles of .* pixels in planes of"
    with pytest.raises(InputError, match=said):
        open_image(path, series=str(page + 1))
    if not page:
        with pytest.raises(InputError, match=said):
            read_pair((path, path))
