"""Pages of one file that are stored in different ways are read right or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused

from terapose.io.images.opening import open_image

PLANES = np.random.default_rng(0).integers(0, 60000, (4, 64, 70)).astype(np.uint16)
WHOLE = (slice(0, 4), slice(0, 64), slice(0, 70))
_XML = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="70" SizeY="64" SizeZ="4" '
    'SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
    '<TiffData IFD="0" PlaneCount="4"/></Pixels></Image></OME>'
)


def _write(path: Path, options: list[dict[str, Any]], **file: Any) -> Path:
    """An OME-TIFF with a way to store each plane."""
    with tifffile.TiffWriter(path, ome=True, **file) as tiff:
        for plane, how in zip(PLANES, options, strict=True):
            tiff.write(
                plane,
                contiguous=False,
                photometric="minisblack",
                metadata={"axes": "YX"},
                **how,
            )
    tifffile.tiffcomment(path, _XML)
    return path


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("file", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize("odd", [1, 3])
@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"compression": None}, {"compression": "zlib"}),
        ({"compression": "zlib"}, {"compression": None}),
        ({"compression": "zlib"}, {"compression": "lzw"}),
        ({"compression": None}, {"compression": "packbits"}),
        ({"compression": "zlib"}, {"compression": "zlib", "predictor": True}),
    ],
)
def test_pages_of_one_file_in_different_ways(
    tmp_path: Path, first: dict[str, Any], other: dict[str, Any], odd: int, file: Any, tile: Any
) -> None:
    ways = [{**(other if n == odd else first), "tile": tile} for n in range(4)]
    path = _write(tmp_path / "a.ome.tif", ways, **file)
    message = rf"planes of the image are stored in different ways; got \w+ .* in plane {odd + 1}"
    assert_refused(message, path)


@pytest.mark.parametrize("rows", [(7, 8), (64, 32), (16, 17)])
def test_strips_of_other_lengths(tmp_path: Path, rows: tuple[int, int]) -> None:
    ways = [{"compression": "zlib", "rowsperstrip": rows[n % 2]} for n in range(4)]
    path = _write(tmp_path / "a.ome.tif", ways)
    assert_refused("incompatible keyframe|different ways; got rows of a strip 16", path)


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_pages_that_are_alike_are_read(tmp_path: Path, compression: Any, tile: Any) -> None:
    path = _write(tmp_path / "a.ome.tif", [{"compression": compression, "tile": tile}] * 4)
    np.testing.assert_array_equal(open_image(path).read(WHOLE), PLANES)


ODD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "compression": ({}, {"compression": "zlib"}),
    "predictor": ({"compression": "zlib"}, {"compression": "zlib", "predictor": True}),
    "rows of a strip": ({"rowsperstrip": 32}, {"rowsperstrip": 16}),
    "meaning of values": ({}, {"photometric": "miniswhite"}),
    "bits": ({}, {"dtype": np.uint8}),
    "format of samples": ({}, {"dtype": np.int16}),
    "width of a tile": ({"tile": (16, 32)}, {"tile": (16, 16)}),
}
"""What differs in one page, and how the others and that page are written."""


def _pages(path: Path, sizes: list[tuple[int, int]], options: list[dict[str, Any]]) -> Path:
    """A plain TIFF with a size and a way to store each page."""
    with tifffile.TiffWriter(path) as tiff:
        for (height, width), how in zip(sizes, options, strict=True):
            plane = np.resize(PLANES, (height, width)) % 200
            how = {"photometric": "minisblack", **how}
            plane = plane.astype(how.pop("dtype", plane.dtype))
            tiff.write(plane, metadata=None, contiguous=False, **how)
    return path


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize(("pages", "odd"), [(6, 3), (6, 0), (20, 1), (20, 7), (20, 12), (20, 19)])
def test_a_page_in_another_way_is_no_thumbnail(
    tmp_path: Path, what: str, pages: int, odd: int
) -> None:
    """It was dropped as a small image of its own: later planes moved up by one."""
    ways = [ODD[what][n == odd] for n in range(pages)]
    path = _pages(tmp_path / "a.tif", [(64, 70)] * pages, ways)
    assert_refused(f"stored in different ways; got {what} |different sizes or types", path)


def test_a_thumbnail_is_smaller(tmp_path: Path) -> None:
    """Of another size as the planes, clearly smaller or said to be; else it may be a plane."""
    alike: list[dict[str, Any]] = [{}] * 6
    for size in ((32, 35), (20, 50)):
        path = _pages(tmp_path / "a.tif", [(64, 70)] * 5 + [size], alike)
        assert open_image(path).shape == (5, 64, 70)
    for size in ((70, 64), (64, 69), (60, 60)):
        path = _pages(tmp_path / "a.tif", [(64, 70)] * 5 + [size], alike)
        assert_refused("the file holds several images; got 1 .*, 2 ", path)
        assert open_image(path, series="1").shape == (5, 64, 70)
    reduced = [*alike[:5], {"subfiletype": 1}]
    path = _pages(tmp_path / "a.tif", [(64, 70)] * 5 + [(60, 60)], reduced)
    assert open_image(path).shape == (5, 64, 70)


@pytest.mark.parametrize("kind", ["ome", "shaped"])
def test_a_volume_and_a_plane_of_its_size(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.concatenate([PLANES, PLANES]), metadata={"axes": "ZYX"})
        tiff.write(PLANES[0], metadata={"axes": "YX"})
    assert_refused("the file holds several images; got .*8 x 64 x 70.*64 x 70", path)
    assert open_image(path, series="1").shape == (8, 64, 70)


@pytest.mark.parametrize("size", [(70, 64), (128, 70), (64, 71), (35, 128)])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["ome", "plain"])
def test_a_page_of_another_size_in_between(
    tmp_path: Path, kind: str, compression: Any, size: tuple[int, int]
) -> None:
    """It was read with the width and the length of the first page."""
    pages = 4 if kind == "ome" else 12
    sizes = [size if n == 2 else (64, 70) for n in range(pages)]
    name = "a.ome.tif" if kind == "ome" else "a.tif"
    path = _pages(tmp_path / name, sizes, [{"compression": compression}] * pages)
    if kind == "ome":
        tifffile.tiffcomment(path, _XML)
    assert_refused("stored in different ways; got (width|length) |have different sizes", path)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_a_page_of_several_samples_in_between(tmp_path: Path, planarconfig: str) -> None:
    path = tmp_path / "a.ome.tif"
    two = np.stack((PLANES[0], PLANES[1]), -1 if planarconfig == "contig" else 0)
    with tifffile.TiffWriter(path) as tiff:
        for n, plane in enumerate(PLANES):
            how: dict[str, Any] = {"planarconfig": planarconfig} if n == 1 else {}
            tiff.write(
                two if n == 1 else plane,
                photometric="minisblack",
                contiguous=False,
                metadata=None,
                **how,
            )
    tifffile.tiffcomment(path, _XML)
    assert_refused(
        "got samples of a pixel 1 in the first plane, 2 in plane 2|different sizes", path
    )
