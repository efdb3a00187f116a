"""TIFF files that lead nowhere, in ways that tifffile does not end by itself."""

from __future__ import annotations

import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.command import Terapose

from terapose.apps.train.files import read_pair
from terapose.core.errors import InputError
from terapose.io.images.opening import open_image
from terapose.io.images.tiff_files import said_by_tifffile


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


CUT: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "tiles": ({"tile": (64, 64)}, ("TileOffsets", "TileByteCounts")),
    "strips": ({"rowsperstrip": 16}, ("StripOffsets", "StripByteCounts")),
}
"""How to write 16 of them, and the tags that say where they are."""


def _lose_places(path: Path, tags: tuple[str, ...], page: int) -> None:
    """Of 16 tiles or strips the tags name the first 12 only."""
    with tifffile.TiffFile(path) as file:
        places = [file.pages.get(page).aspage().tags[tag].offset for tag in tags]
        form = file.tiff
    content = bytearray(path.read_bytes())
    for place in places:
        struct.pack_into(f"{form.byteorder}I", content, place + 4, 12)
    path.write_bytes(content)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("lost", [slice(None), slice(0, 1), slice(1, 2)])
def test_places_of_tiles_that_are_missing(
    tmp_path: Path, kind: str, compression: str | None, lost: slice
) -> None:
    """They would be read as zeros."""
    plane = np.random.default_rng(0).integers(1, 600, (256, 256)).astype(np.uint16)
    how, tags = CUT[kind]
    for name, pages in (("one", 1), ("page", 3)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for _ in range(pages):
                file.write(plane, metadata=None, compression=compression, contiguous=False, **how)
    read = open_image(tmp_path / "page.tif", axes="ZYX").read(np.s_[2:3, :256, :256])
    assert (read == plane).all()
    for name, number in (("one", 0), ("page", 2)):
        _lose_places(tmp_path / f"{name}.tif", tags[lost], number)
        try:
            image = open_image(tmp_path / f"{name}.tif")
        except InputError as error:
            assert "TIFF file is damaged" in str(error)
        else:
            # in one piece, of which the place of the first strip says where it is
            assert (kind, compression, lost) == ("strips", None, slice(0, 1))
            block = image.read(np.s_[: image.shape[0], :256, :256])
            assert (block == plane).all()


@pytest.mark.parametrize("kind", CUT)
def test_places_that_are_missing_in_a_file_of_a_stack(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    how, tags = CUT[kind]
    for number in range(3):
        with tifffile.TiffWriter(tmp_path / f"i{number}.tif") as file:
            plane = np.full((256, 256), 7, np.uint16)
            file.write(plane, metadata=None, compression="zlib", **how)
    stack = open_image(tmp_path, stack=True)
    whole = (slice(None), slice(None), slice(None))
    assert (stack.read(whole) == 7).all()
    _lose_places(tmp_path / "i1.tif", tags, 0)
    assert stack.check_files is not None
    with pytest.raises(InputError, match=r"i1.tif.*12 of 16"):
        stack.check_files()
    with pytest.raises(InputError, match=r"i1.tif.*12 of 16"):
        stack.read(whole)
    assert capsys.readouterr().err == ""


def test_tiles_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    plane = np.zeros((256, 256), np.uint16)
    plane[:64, :64] = 5
    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, plane, tile=(64, 64), metadata=None)
    with tifffile.TiffFile(path) as file:
        tags = [file.pages.first.tags[tag] for tag in CUT["tiles"][1]]
        places = [(tag.valueoffset, tag.dtype) for tag in tags]
        form = file.tiff
    content = bytearray(path.read_bytes())
    for place, dtype in places:
        size = {3: "H", 4: "I"}[int(dtype)]
        struct.pack_into(
            f"{form.byteorder}15{size}", content, place + struct.calcsize(size), *[0] * 15
        )
    path.write_bytes(content)
    image = open_image(path)
    assert (image.read(np.s_[:1, :256, :256])[0] == plane).all()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("lost", [0, 1])
def test_a_place_without_a_length(
    tmp_path: Path, kind: str, compression: str | None, lost: int
) -> None:
    """One of both is 0: this part would be read as zeros, as if it was never written."""
    how, tags = CUT[kind]
    path = tmp_path / "image.tif"
    plane = np.random.default_rng(0).integers(1, 600, (256, 256)).astype(np.uint16)
    tifffile.imwrite(path, plane, metadata=None, compression=compression, **how)
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags[tags[lost]]
        tag.overwrite([0 if n == 5 else value for n, value in enumerate(tag.value)])
    said = ("a length, but no place", "a place, but no length")[lost]
    with pytest.raises(InputError, match=rf"image.tif, page 0: {kind[:-1]} 5 has {said}"):
        open_image(path)


@pytest.mark.parametrize("maker", ["Aperio Image Library v12\r\n", "somebody else"])
def test_tiles_that_a_scanner_left_out(tmp_path: Path, maker: str) -> None:
    path = tmp_path / "slide.tif"
    plane = np.ones((256, 256), np.uint8)
    tifffile.imwrite(path, plane, tile=(64, 64), metadata=None, description=maker)
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags["TileByteCounts"]
        tag.overwrite([0, *tag.value[1:]])
    if not maker.startswith("Aperio"):
        with pytest.raises(InputError, match="tile 0 has a place, but no length"):
            open_image(path)
        return
    plane[:64, :64] = 0
    assert (open_image(path).read(np.s_[:1, :256, :256])[0] == plane).all()


@pytest.mark.parametrize("odd", [2, 3])
def test_pages_of_several_sizes(tmp_path: Path, odd: int) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as file:
        for number in range(12):
            edge = 16 if number == odd else 64
            file.write(np.ones((edge, edge), np.uint8), metadata=None, contiguous=False)
    with pytest.raises(InputError, match=r"different sizes.*write pages of one size"):
        open_image(path)


def test_what_tifffile_says_in_another_thread(tmp_path: Path) -> None:
    """A good file was refused for the damage of another one that was opened at the same time."""
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    tifffile.imwrite(good, np.ones((9, 16, 16), np.uint8), metadata=None, compression="zlib")
    bad.write_bytes(good.read_bytes()[:-200])
    logger = logging.getLogger("tifffile")
    before = logger.propagate, list(logger.handlers)
    with said_by_tifffile() as said, ThreadPoolExecutor(8) as pool:
        opened = [pool.submit(open_image, path) for path in (good, bad) * 40]
        assert all(one.result().shape == (9, 16, 16) for one in opened[::2])
        assert all(isinstance(one.exception(), InputError) for one in opened[1::2])
    assert not said
    assert (logger.propagate, list(logger.handlers)) == before
    with said_by_tifffile() as said:
        logger.warning("inside")
    assert said == ["inside"]
