"""An OME-TIFF in several files is one image, whichever of them is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests import ome
from tests.checks import assert_refused, same
from tests.synthetic import voxels

from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image

TILES: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
STRIPS: dict[str, Any] = {"rowsperstrip": 7, "compression": "lzw"}


def _array(*lengths: int) -> np.ndarray:
    return voxels(*lengths, 5, 33, 47)


@pytest.mark.parametrize("companion", ["set.companion.ome", "", "0.ome.tif", "1.ome.tif"])
@pytest.mark.parametrize(
    ("across", "options"),
    [("C", {}), ("Z", TILES), ("CZ", STRIPS), ("T", {"bigtiff": True}), ("TC", {})],
)
def test_every_file_of_a_set_is_the_image(
    tmp_path: Path, across: str, options: Any, companion: str
) -> None:
    array = _array(2, 2)
    paths = ome.write_set(tmp_path, array, across, companion=companion, **options)
    images = [open_image(path, time=2) for path in paths]
    for image in images:
        assert image.channel_names == ("DNA", "Actin")
        assert (image.format, image.voxel_size) == ("ome-tiff", ome.VOXEL_SIZE)
        assert image.identity == images[0].identity
    for image in images[:: len(images) - 1]:
        assert same(image, array[1])
    for path in paths:
        before = open_image(paths[0], time=1).identity
        os.utime(path, ns=(0, 2**61))
        assert open_image(paths[0], time=1).identity != before


def test_pyramids_of_a_set(tmp_path: Path) -> None:
    array = _array(1, 2)
    planes = "".join(ome.plane(0, c, z, z, f"{c}.tif", f"u{c}") for c in (0, 1) for z in range(5))
    (tmp_path / "a.companion.ome").write_text(ome.document(ome.image(array, planes)))
    for c in (0, 1):
        with tifffile.TiffWriter(tmp_path / f"{c}.tif", ome=False) as file:
            description = ome.pointer("a.companion.ome", f"u{c}", "u9") if c == 0 else "u1"
            for z in range(5):
                options = {"photometric": "minisblack", "metadata": None, **TILES}
                first = description if z == 0 else None
                file.write(array[0, c, z], description=first, subifds=1, **options)
                file.write(array[0, c, z, ::2, ::2], subfiletype=1, **options)
    for path in ("0.tif", "a.companion.ome"):
        assert same(open_image(tmp_path / path), array[0])
        coarse = open_image(tmp_path / path, level=1)
        assert (coarse.levels, coarse.voxel_size) == (2, (2.0, 1.0, 0.5))
        assert same(coarse, array[0, ..., ::2, ::2])


def test_identifiers_may_be_wrong_names_are_right(tmp_path: Path) -> None:
    """Some programs give all files of a set the same identifier."""
    array = _array(1, 2)
    planes = "".join(
        ome.plane(0, c, z, z, f"{c}.tif", ome.identifier(1)) for c in (0, 1) for z in range(5)
    )
    xml = ome.document(ome.image(array, planes), uuid=ome.identifier(1))
    for c in (0, 1):
        ome.write(tmp_path / f"{c}.tif", array[0, c], xml)
    assert same(open_image(tmp_path / "0.tif"), array[0])
    assert same(open_image(tmp_path / "1.tif"), array[0])


@pytest.mark.parametrize("uuid", ["", ome.identifier(0)])
def test_a_file_that_was_renamed(tmp_path: Path, uuid: str) -> None:
    """Its metadata still names the old file, which may be there, too."""
    array = _array(1, 1)
    planes = "".join(ome.plane(0, 0, z, z, "old.tif", ome.identifier(0)) for z in range(5))
    xml = ome.document(ome.image(array, planes), uuid=uuid)
    path = ome.write(tmp_path / "new.tif", array[0, 0], xml)
    assert same(open_image(path), array[0])
    assert open_image(path).identity == open_image(path.rename(tmp_path / "new.tif")).identity
    ome.write(tmp_path / "old.tif", array[0, 0] + 1, xml)
    assert same(open_image(path), array[0])


def test_a_renamed_member_is_known_by_its_identifier(tmp_path: Path) -> None:
    array = _array(1, 2)
    paths = ome.write_set(tmp_path, array, "C", companion="")
    renamed = paths[1].rename(tmp_path / "other.tif")
    assert same(open_image(renamed), array[0])
    assert_refused("files of the image are missing; got 1.ome.tif", paths[0])


@pytest.mark.parametrize("how", ["renamed for each other", "renamed", "link"])
def test_two_names_of_one_file(tmp_path: Path, how: str) -> None:
    """It was read for both channels."""
    paths = ome.write_set(tmp_path, _array(1, 2), "C", companion="")
    last = paths[1].rename(tmp_path / "x")
    if how == "link":
        paths[1].symlink_to(paths[0].name)
    elif how == "renamed for each other":
        paths[0].rename(paths[1])
    if how != "link":
        last.rename(paths[0])
    assert_refused(
        r"two names in the OME-XML are the same file; got 0.ome.tif and 1.ome.tif, ", paths[0]
    )


@pytest.mark.parametrize(
    ("lost", "companion", "what"),
    [
        ("1.ome.tif", "", "files of the image are missing; got 1.ome.tif; copy all"),
        ("1.ome.tif", "s.companion.ome", "files of the image are missing; got 1.ome.tif; copy all"),
        ("s.companion.ome", "s.companion.ome", "got a pointer to s.companion.ome, which is miss"),
        ("1.ome.tif", "1.ome.tif", "OME-XML cannot be used; got a pointer to 1.ome.tif, which is"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, lost: str, companion: str, what: str) -> None:
    array = _array(1, 3)
    paths = ome.write_set(tmp_path, array, "C", companion=companion, channels=("a", "b", "c"))
    (tmp_path / lost).unlink()
    assert_refused(what, paths[0])
    if "pointer" in what:  # what is there can still be read by itself
        image = open_image(paths[0], axes="ZYX")
        assert same(image, array[:, 0])
        assert "its OME-XML is not used: a pointer to" in image.layout.note


@pytest.mark.parametrize("options", [{}, TILES, STRIPS])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_truncated_member(tmp_path: Path, options: Any, part: float) -> None:
    paths = ome.write_set(tmp_path, _array(1, 2), "C", **options)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: int(len(content) * part)])
    assert_refused("the TIFF file is damaged or incomplete", paths[0])


def test_a_member_that_ends_within_its_last_plane(tmp_path: Path) -> None:
    paths = ome.write_set(tmp_path, _array(1, 2)[:, :, :1], "C")
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1])
    assert_refused(r"damaged or incomplete; got 1\.ome\.tif: \d+ bytes where its", paths[0])


OUTSIDE = ["../0.tif", "/data/0.tif", "..\\0.tif", "C:\\data\\0.tif", "a/../../0.tif"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_files_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    array = _array(1, 2)
    inside, outside = tmp_path / "inside", tmp_path / "0.tif"
    inside.mkdir()
    planes = ome.plane(0, 0, 0, 0, name, "u1") + ome.plane(0, 1, 0, 0, "1.tif", "u0")
    xml = ome.document(ome.image(array[:, :, :1], planes), uuid="u0")
    ome.write(outside, array[0, 0, :1], xml)
    for file in ("1.tif", "a.companion.ome"):
        ome.write(inside / file, array[0, 1, :1], xml)
        assert_refused("names a file outside of the image's folder; got .*; put all", inside / file)
    (inside / "b.companion.ome").write_text(xml)
    assert_refused("names a file outside of the image's folder", inside / "b.companion.ome")
    ome.write(inside / "2.tif", array[0, 1, :1], ome.pointer(name, "u0", "u1"))
    assert_refused("names a file outside of the image's folder", inside / "2.tif")


def test_files_in_a_folder_beside_it(tmp_path: Path) -> None:
    array = _array(1, 2)
    (tmp_path / "data").mkdir()
    planes = "".join(ome.plane(0, c, 0, c, "data/0.tif", "u1") for c in (0, 1))
    xml = ome.document(ome.image(array[:, :, :1], planes), uuid="u0")
    (tmp_path / "a.companion.ome").write_text(xml)
    ome.write(tmp_path / "data/0.tif", array[0, :, 0], "u1")
    assert same(open_image(tmp_path / "a.companion.ome"), array[0, :, :1])


def test_links_to_files_of_a_set(tmp_path: Path) -> None:
    """As workflows stage them: one file alone, or a folder of links to files from anywhere."""
    array = _array(1, 2)
    (tmp_path / "data").mkdir()
    paths = ome.write_set(tmp_path / "data", array, "C")
    (tmp_path / "staged").mkdir()
    for path in paths:
        (tmp_path / "staged" / path.name).symlink_to(path)
        assert same(open_image(tmp_path / "staged" / path.name), array[0])
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "staged/1.ome.tif").unlink()
    (tmp_path / "staged/1.ome.tif").symlink_to(paths[1].rename(moved / "x.tif"))
    assert same(open_image(tmp_path / "staged/0.ome.tif"), array[0])


def _scenes(folder: Path, first: np.ndarray, second: np.ndarray, *, apart: bool) -> str:
    """Two images with names, in one file or in two."""
    files = ["a.tif", "b.tif"] if apart else ["a.tif", "a.tif"]
    starts = [0, 0] if apart else [0, first.shape[2]]
    images = [
        ome.image(
            array,
            "".join(ome.plane(0, 0, z, start + z, file, f"u{file}") for z in range(array.shape[2])),
            name=name,
            number=n,
            channels=[f"channel of {name}"],
        )
        for n, (array, file, start, name) in enumerate(
            zip((first, second), files, starts, ("left", "right"), strict=True)
        )
    ]
    xml = ome.document(*images, uuid="ua.tif")
    if apart:
        ome.write(folder / "a.tif", first[0, 0], xml)
        ome.write(folder / "b.tif", second[0, 0], ome.pointer("a.tif", "ub.tif", "ua.tif"))
    else:
        ome.write(folder / "a.tif", [*first[0, 0], *second[0, 0]], xml)
    return xml


@pytest.mark.parametrize("planes", [5, 3])
def test_scenes_of_one_file(tmp_path: Path, planes: int) -> None:
    first, second = _array(1, 1), _array(1, 1)[:, :, :planes] + 3
    _scenes(tmp_path, first, second, apart=False)
    path = tmp_path / "a.tif"
    assert_refused(
        rf"several images; got 1 \(left: ZYX 5 x 33 x 47\), 2 \(right: ZYX {planes} x 33 x", path
    )
    for wanted in ("2", "right"):
        image = open_image(path, series=wanted)
        np.testing.assert_array_equal(image.read((slice(None),) * 3), second[0, 0])
        assert image.channel_names == ("channel of right",)
        text = "\n".join(describe(image))
        assert "format    ome-tiff, series 2 of 2 (right)" in text
        assert "series    1 (left), 2 (right)" in text
    assert same(open_image(path, series="left"), first[0])
    assert_refused(
        r"no such image in the file; got series x; allowed: 1 \(left\), 2", path, series="x"
    )


def test_scenes_of_files_of_their_own(tmp_path: Path) -> None:
    """The file that is named says which is meant; only what it needs has to be there."""
    first, second = _array(1, 1), _array(1, 1) + 3
    xml = _scenes(tmp_path, first, second, apart=True)
    assert same(open_image(tmp_path / "a.tif"), first[0])
    assert same(open_image(tmp_path / "b.tif"), second[0])
    assert same(open_image(tmp_path / "b.tif", series="left"), first[0])
    assert open_image(tmp_path / "b.tif").series == (("left", "right"), 1)
    (tmp_path / "c.companion.ome").write_text(xml)
    assert_refused("the file holds several images", tmp_path / "c.companion.ome")
    assert same(open_image(tmp_path / "c.companion.ome", series="2"), second[0])
    (tmp_path / "b.tif").unlink()
    assert same(open_image(tmp_path / "c.companion.ome", series="1"), first[0])
    assert same(open_image(tmp_path / "a.tif"), first[0])
    assert_refused("files of the image are missing; got b.tif", tmp_path / "a.tif", series="2")


def test_an_image_without_planes_does_not_shift_the_others(tmp_path: Path) -> None:
    array = _array(1, 1)
    planes = "".join(ome.plane(0, 0, z, z) for z in range(5))
    empty = ome.image(array, "<MetadataOnly/>", name="empty", channels=["wrong"])
    full = ome.image(array, planes, name="full", channels=["right"], number=1)
    path = ome.write(tmp_path / "a.tif", array[0, 0], ome.document(empty, full))
    image = open_image(path, series="full")
    assert same(image, array[0])
    assert image.channel_names == ("right",)
    assert_refused("OME-XML cannot be used; got it does not fit the pages", path, series="empty")


def test_planes_that_were_never_written(tmp_path: Path) -> None:
    """An acquisition that was stopped: whole time points can be read."""
    array = _array(3, 1)
    planes = "".join(ome.plane(t, 0, z, 5 * t + z) for t in range(3) for z in range(5))
    xml = ome.document(ome.image(array, planes))
    path = ome.write(tmp_path / "a.tif", array.reshape(15, 33, 47)[:12], xml)
    assert same(open_image(path, time=2), array[1])
    assert_refused("planes of the image are missing; got 3 of 5 planes", path, time=3)
    cut = ome.document(ome.image(array, planes.rpartition("<TiffData")[0]))
    path = ome.write(tmp_path / "b.tif", array.reshape(15, 33, 47), cut)
    assert_refused("planes of the image are missing; got 1 of 5 planes", path, time=3)


def test_companion_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?><SpimData version="0.2"/>')
    assert_refused("BigDataViewer XML are neither in an HDF5 file nor in N5", tmp_path / "a.xml")
    (tmp_path / "a.companion.ome").write_text(ome.document("<Image><Pixels></Image>"))
    assert_refused("OME-XML cannot be used; got mismatched tag", tmp_path / "a.companion.ome")
    (tmp_path / "b.companion.ome").write_text(ome.document())
    assert_refused("OME-XML cannot be used; got no image in it", tmp_path / "b.companion.ome")
    array = _array(1, 1)
    inline = ome.document(ome.image(array, "<BinData>AAAA</BinData>"))
    (tmp_path / "c.companion.ome").write_text(inline)
    assert_refused("OME-XML cannot be used; got it names no TIFF", tmp_path / "c.companion.ome")
    pointing = ome.pointer("d.tif", "u0", "u1")
    ome.write(tmp_path / "d.tif", array[0, 0], pointing)
    assert_refused("got a pointer to d.tif, which holds a pointer itself", tmp_path / "d.tif")


_STORED: dict[str, dict[str, Any]] = {
    "raw": {},
    "raw, reversed": {"byteorder": ">"},
    "raw in strips": {"rowsperstrip": 7},
    "zlib": {"compression": "zlib"},
    "lzw, reversed": {"compression": "lzw", "byteorder": ">"},
    "predicted": {"compression": "zlib", "predictor": 2},
}


@pytest.mark.parametrize(
    ("first", "second"),
    [(a, b) for a in _STORED for b in _STORED if a != b and "strips" not in (a + b)]
    + [("raw in strips", "raw"), ("raw, reversed", "raw in strips")],
)
def test_files_of_a_set_that_are_stored_in_different_ways(
    tmp_path: Path, first: str, second: str
) -> None:
    """Of noise, which takes as many bytes compressed as without."""
    array = np.random.default_rng(1).integers(0, 2**16, (1, 2, 5, 33, 47), np.uint16)
    paths = _mixed_set(tmp_path, array, _STORED[first], _STORED[second])
    for path in paths:
        image = open_image(path)
        assert same(image, array[0])
        np.testing.assert_array_equal(
            image.read((slice(3, 4), slice(8, 9), slice(2, 4)), 2), array[0, 1, 3:4, 8:9, 2:4]
        )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (STRIPS, {"compression": "lzw"}),
        (STRIPS, {**STRIPS, "rowsperstrip": 8}),
        (TILES, STRIPS),
        (TILES, {**TILES, "tile": (16, 32)}),
        ({}, TILES),
    ],
)
def test_files_of_a_set_that_are_cut_in_different_pieces(
    tmp_path: Path, first: Any, second: Any
) -> None:
    for path in _mixed_set(tmp_path, _array(1, 2), first, second):
        assert_refused(
            "files of the image are cut into different tiles or strips; got 0.ome.tif: ", path
        )


@pytest.mark.parametrize("kind", [np.int16, np.float16, np.uint8, np.uint32])
def test_files_of_a_set_that_hold_another_type(tmp_path: Path, kind: Any) -> None:
    array = _array(1, 2).astype(np.uint16)
    paths = ome.write_set(tmp_path, array, "C", companion="")
    with tifffile.TiffFile(paths[1]) as file:
        xml = file.pages.first.description
    ome.write(paths[1], array[0, 1].astype(kind), xml)
    for path in paths:
        assert_refused("files of the image hold different planes; got 0.ome.tif: ", path)


def _mixed_set(folder: Path, array: np.ndarray, first: Any, second: Any) -> list[Path]:
    """Two channels in files that are written in different ways."""
    paths = ome.write_set(folder, array, "C", companion="", **first)
    with tifffile.TiffFile(paths[1]) as file:
        xml = file.pages.first.description
    ome.write(paths[1], array[0, 1], xml, **second)
    return paths
