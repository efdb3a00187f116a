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
