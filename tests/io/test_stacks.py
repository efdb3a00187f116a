"""Files of a plane each are one image: in the order of their names, whole, or refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from tests.checks import REGION, assert_refused, same
from tests.command import Terapose
from tests.synthetic import voxels, write_tiff, write_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image
from terapose.io.images.patterns import matches
from terapose.stages.check import check_readable


def _png(path: Path, plane: np.ndarray) -> None:
    path.write_bytes(imagecodecs.png_encode(plane))


def _jp2(path: Path, plane: np.ndarray) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(plane, level=0))


def _j2k(path: Path, plane: np.ndarray) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(plane, level=0, codecformat="j2k"))


def _tiff(**options: Any) -> Callable[[Path, np.ndarray], Any]:
    return lambda path, plane: tifffile.imwrite(path, plane, **options)


WRITE: dict[str, tuple[str, Callable[[Path, np.ndarray], Any]]] = {
    "plain": ("tif", _tiff()),
    "lzw strips": ("tif", _tiff(compression="lzw", rowsperstrip=7, metadata=None)),
    "deflate tiles": ("tiff", _tiff(compression="zlib", predictor=True, tile=(16, 16))),
    "zstd big": ("TIF", _tiff(compression="zstd", bigtiff=True, byteorder=">")),
    "imagej": ("tif", _tiff(imagej=True)),
    "ome": ("ome.tif", lambda path, plane: write_tiff(path, plane, kind="ome")),
    "png": ("png", _png),
    "jp2": ("jp2", _jp2),
    "j2k": ("j2k", _j2k),
}


def write(folder: Path, array: np.ndarray, name: str, kind: str = "plain") -> Path:
    """A file for each plane, named by its place along the leading axes."""
    suffix, writer = WRITE[kind]
    for place in np.ndindex(array.shape[:-2]):
        path = folder / f"{name.format(*place)}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(path, array[place])
    return folder


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_folder(tmp_path: Path, dtype: str, kind: str) -> None:
    array = voxels(12, 33, 47, dtype=dtype)
    folder = write(tmp_path / "planes [1]", array, "img_{0}", kind)
    (folder / "notes.txt").write_text("no image")
    (folder / "._img_3.tif").write_bytes(b"what another system leaves")
    for address in (folder, folder / "img_*", folder / "img_{z}.*", folder / "img_{Z}*"):
        image = open_image(address, stack=True)
        assert same(image, array[None])
        assert image.axes == "ZYX" and not image.is_lazy and image.dtype == dtype
        again = open_image(image.address, **image.selection.options)
        assert again == image and again.identity == image.identity
        check_readable(image, check({"stack": True}))
    assert describe(image)[-1].startswith("note      12 files, Z 0 to 11")


@pytest.mark.parametrize("kind", ["plain", "deflate tiles", "png"])
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("img_{0:03}_{1}", "img_{{z}}_{{c}}.{0}"),
        ("c{1}/plane{0}", "c{{c}}/plane{{z}}.{0}"),
        ("{1}-{0}-{1}", "{{c}}-{{z}}-{{c}}.{0}"),
        ("Z{0:04}_2020_C{1:02}_x", "Z{{z}}_*_C{{c}}_?.*"),
    ],
)
def test_planes_and_channels(tmp_path: Path, name: str, pattern: str, kind: str) -> None:
    array = voxels(11, 2, 33, 47)
    folder = write(tmp_path, array, name, kind)
    image = open_image(folder / pattern.format(WRITE[kind][0]), stack=True)
    assert (image.axes, image.channel_names) == ("CZYX", ("channel 1", "channel 2"))
    assert same(image, array.swapaxes(0, 1))


def test_times_channels_and_planes(tmp_path: Path) -> None:
    array = voxels(3, 2, 5, 33, 47)
    folder = write(tmp_path, array, "t{0}_c{1}_z{2}")
    pattern = folder / "t{t}_c{c}_z{z}.tif"
    assert_refused("several time points; got axes TCZYX", pattern, stack=True)
    image = open_image(pattern, stack=True, time=2)
    assert same(image, array[1])
    only = open_image(folder / "t2_c{c}_z{z}.tif", stack=True)
    assert same(only, array[2])
    # of other times nothing is needed
    tifffile.imwrite(folder / "t0_c0_z0.tif", voxels(9, 9))
    check_readable(image, check({"stack": True, "time": 2}))
    again = open_image(pattern, stack=True, time=2)
    assert again.identity == image.identity
    assert same(again, array[1])
    message = r"t0_c0_z1\.tif: has another shape or type than t0_c0_z0\.tif"
    with pytest.raises(InputError, match=message):
        check_readable(open_image(pattern, stack=True, time=1), check({"stack": True, "time": 1}))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("DAPI", "CD3", "CD45"), ("CD3", "CD45", "DAPI")),
        (("405", "561", "640"), ("405", "561", "640")),
        (("ch10", "ch2", "ch1"), ("ch1", "ch2", "ch10")),
        (("1", "2", "3"), ("channel 1", "channel 2", "channel 3")),
    ],
)
def test_channels_are_named(tmp_path: Path, names: Any, expected: Any) -> None:
    arrays = {name: voxels(4, 33, 47) + n for n, name in enumerate(names)}
    for name, array in arrays.items():
        write(tmp_path, array.astype("uint16"), f"{name}_z{{0}}")
    image = open_image(tmp_path / "{c}_z{z}.tif", stack=True)
    assert image.channel_names == expected
    order = sorted(names, key=lambda name: (len(name), name) if name[-1].isdigit() else (9, name))
    order = ["CD3", "CD45", "DAPI"] if "DAPI" in names else order
    assert same(image, np.stack([arrays[name] for name in order]).astype("uint16"))


def test_files_of_volumes_and_slides(tmp_path: Path) -> None:
    """One file a channel: their planes, and their pixel size, are as the files have them."""
    array = voxels(2, 5, 33, 47)
    for channel, volume in enumerate(array):
        write_tiff(tmp_path / f"v_{channel}.tif", volume, kind="imagej", voxel_size=(2, 0.5, 0.25))
        tifffile.imwrite(
            tmp_path / f"s_{channel}.tif",
            volume[0],
            resolution=(40000, 20000),
            resolutionunit="CENTIMETER",
        )
    volumes = open_image(tmp_path / "v_{c}.tif", stack=True)
    assert same(volumes, array)
    assert volumes.voxel_size == pytest.approx((2, 0.5, 0.25))
    slides = open_image(tmp_path / "s_{c}.tif", stack=True)
    assert same(slides, array[:, :1])
    assert slides.voxel_size == (0.5, 0.5, 0.25)
    assert_refused("holds several planes; each file", tmp_path / "v_{z}.tif", stack=True)
    planes = open_image(tmp_path / "s_{z}.tif", stack=True)
    assert planes.voxel_size is None  # the distance of planes is not known
    sized = open_image(tmp_path / "s_{z}.tif", stack=True, voxel_size=(2, 1, 1))
    assert sized.voxel_size == (2, 1, 1)


def test_axes_say_what_the_files_are(tmp_path: Path) -> None:
    array = voxels(6, 33, 47)
    folder = write(tmp_path / "a", array, "p{0}")
    assert same(open_image(folder, stack=True, axes="CYX"), array[:, None])
    assert same(open_image(folder, stack=True, axes="TYX", time=5), array[None, 4:5])


def test_steps_of_a_number(tmp_path: Path) -> None:
    array = voxels(4, 33, 47)
    folder = write(tmp_path / "a", array, "p")  # to make the folder
    (folder / "p.tif").unlink()
    for n, plane in enumerate(array):
        tifffile.imwrite(folder / f"z{n * 5:03}_{n * n}.tif", plane)
    for address in (folder, folder / "z{z}_*.tif"):
        image = open_image(address, stack=True)
        assert same(image, array[None])
        assert "5" in describe(image)[-1].removeprefix("note      4 files")


def _named(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(folder / name, np.zeros((8, 9), "uint8"))
    return folder


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["p1.tif", "p2.tif", "p4.tif"], r"rise by 1, .*; got p2\.tif and then p4\.tif"),
        (["p0.tif", "p2.tif", "p3.tif"], r"got p0\.tif and then p2\.tif"),
        (["p05.tif", "p10.tif", "p20.tif"], r"rise by 5, .*; got p10\.tif and then p20\.tif"),
        (["p1.tif", "p01.tif"], r"same position in the stack; got p01\.tif and p1\.tif"),
        (["a1.tif", "b1.tif"], r"more than a number; got a1\.tif and b1\.tif; replace the folder"),
        (["p1.tif", "p2.png"], r"by more than a number; got p1\.tif and p2\.png; .*\*\.tif"),
        (
            ["z1_c1.tif", "z1_c2.tif", "z2_c1.tif"],
            r"several numbers .*as z\{z\}_c\{c\}\.tif or",
        ),
        (["notes.txt"], r"holds no planes; got notes\.txt; allowed: files ending in \.tif"),
        (["one/p1.tif"], r"holds no planes; got one; .*name the folder that they are in"),
    ],
)
def test_folders_that_are_no_stack(tmp_path: Path, names: list[str], message: str) -> None:
    assert_refused(message, _named(tmp_path / "a", *names), stack=True)


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["1_1", "1_2", "2_1"], "{z}_{c}", r"a file of the stack is missing; got no 2_2\.tif"),
        (["001_a", "002_b", "001_b"], "{z}_{c}", r"missing; got no 002_a\.tif"),
        (["1_1", "2_1", "4_1"], "{z}_{c}", r"missing along Z: .* rise by 1, .*got 2 and then 4"),
        (["1", "2", "4"], "{t}", r"missing along T: .*; got 2 and then 4"),
        (["1_1", "1_01"], "{z}_{c}", r"same position in the stack; got 1_01\.tif and 1_1\.tif"),
        (["1_1", "1_2"], "{z}_*", "same position in the stack"),
        (["1", "2"], "{y}", r"unknown name in the pattern; got \{Y\}; allowed: \{z\}, \{c\} and"),
        (["1", "2"], "{}", "unknown name in the pattern"),
        (["1", "2"], "p{z}", "no file matches this pattern; check the path"),
        (["1", "2"], "[z-a]", "this is not a valid pattern; got bad character range"),
    ],
)
def test_patterns_that_are_no_stack(
    tmp_path: Path, names: list[str], pattern: str, message: str
) -> None:
    folder = _named(tmp_path / "a", *(f"{name}.tif" for name in names))
    assert_refused(message, folder / f"{pattern}.tif", stack=True)


def test_what_is_no_stack(tmp_path: Path) -> None:
    folder = _named(tmp_path / "a", "1.tif", "2.tif")
    assert_refused("a stack is a folder or a pattern", folder / "1.tif", stack=True)
    assert_refused("no such folder, and not a pattern", folder / "3.tif", stack=True)
    assert_refused("from a local disk only", "https://host/a/*.tif", stack=True)
    assert_refused("a stack is one image; got series 2", folder, stack=True, series="2")
    assert_refused("no such pyramid level", folder, stack=True, level=1)


def _colour(path: Path) -> None:
    tifffile.imwrite(path, voxels(8, 9, 3, dtype="uint8"), photometric="rgb")


def _palette(path: Path) -> None:
    tifffile.imwrite(
        path, voxels(8, 9, dtype="uint8"), photometric="palette", colormap=np.zeros((3, 256), "H")
    )


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "shape": (
        lambda path: tifffile.imwrite(path, voxels(9, 9, dtype="uint8")),
        "has another shape or type than .*; got 9 x 9 uint8 tiff; allowed: 8 x 9 uint8 tiff",
    ),
    "type": (
        lambda path: tifffile.imwrite(path, voxels(8, 9)),
        "has another shape or type than .*; got 8 x 9 uint16 tiff",
    ),
    "kind": (
        lambda path: _png(path, voxels(8, 9, dtype="uint8")),
        "has another shape or type than .*; got 8 x 9 uint8 png",
    ),
    "planes": (
        lambda path: _tiff(photometric="minisblack")(path, voxels(3, 8, 9, dtype="uint8")),
        "has another shape or type than .*; got 3 x 8 x 9 uint8 tiff",
    ),
    "colour": (_colour, "contains colours, .*; got RGB YXS"),
    "palette": (_palette, "contains colours, .*; got PALETTE"),
    "text": (lambda path: path.write_text("hello"), "cannot be part of a stack; got .*b'hello'"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be part of a stack; got an empty file"),
    "damaged": (lambda path: path.write_bytes(b"II*\0hello"), "is damaged or incomplete"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_one_file_that_does_not_fit(tmp_path: Path, other: str) -> None:
    """Found when all are checked, and when it is read; never before, and never passed over."""
    folder = write(tmp_path / "a", voxels(5, 8, 9, dtype="uint8"), "p{0}")
    spoil, message = OTHERS[other]
    spoil(folder / "p3.tif")
    image = open_image(folder, stack=True)
    np.testing.assert_array_equal(
        image.read((slice(0, 3), slice(0, 8), slice(0, 9)))[0], voxels(5, 8, 9)[0]
    )
    for fails in (
        lambda: check_readable(image, check({"stack": True})),
        lambda: image.read((slice(2, 5), slice(0, 1), slice(0, 1))),
    ):
        with pytest.raises(InputError, match=rf"^\S+/p3\.tif: .*{message}"):
            fails()


@pytest.mark.parametrize("kind", ["lzw strips", "deflate tiles", "png", "jp2"])
def test_a_file_that_was_cut_off(tmp_path: Path, kind: str) -> None:
    array = voxels(5, 330, 470)
    folder = write(tmp_path / "a", array, "p{0}", kind)
    path = folder / f"p3.{WRITE[kind][0]}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    image = open_image(folder, stack=True)
    with pytest.raises(InputError, match=r"p3\.\w+: .*damaged or incomplete"):
        image.read((slice(3, 4), slice(0, 330), slice(0, 470)))


def test_processes_and_identity(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    folder = write(tmp_path / "a", array, "p{0}")
    image = open_image(folder, stack=True)
    assert same(pickle.loads(pickle.dumps(image)), array[None])
    with get_context("fork").Pool(2) as pool:
        for block in pool.map(image.read, [REGION] * 4):
            np.testing.assert_array_equal(block, array[REGION])
    identity = image.identity
    moved = folder.rename(tmp_path / "b")
    assert open_image(moved, stack=True).identity == identity
    os.utime(moved / "p4.tif", ns=(0, 2**62))
    changed = open_image(moved, stack=True).identity
    assert changed != identity
    (moved / "p4.tif").rename(moved / "p5.tif")
    (moved / "p3.tif").rename(moved / "p4.tif")
    (moved / "p5.tif").rename(moved / "p3.tif")
    assert open_image(moved, stack=True).identity not in (identity, changed)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tif", ["a 1.tif", "a2.tif", "a10.tif"]),
        ("a?.tif", ["a2.tif"]),
        ("a[!2]*.tif", ["a 1.tif", "a10.tif"]),
        ("a[0-9]*", ["a2.tif", "a10.tif"]),
        ("{c}1*.tif", ["a 1.tif", "a10.tif"]),
        ("*", ["a 1.tif", "a2.tif", "a10.tif", "b"]),
        (".*", [".a3.tif"]),
        ("b/*/a{z}.tif", ["b/c/a7.tif"]),
        ("b/*.tif", []),
        ("a(1).tif", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("a 1.tif", "a2.tif", "a10.tif", ".a3.tif", "b/c/a7.tif"):
        path = tmp_path / "in [x] {z}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [m.path for m in matches(f"{tmp_path}/in [x] {{z}}/{pattern}")]
    assert names == [f"{tmp_path}/in [x] {{z}}/{name}" for name in found]


def test_segmented_as_one_file(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any
) -> None:
    terapose = Terapose(monkeypatch, capsys)
    array = voxels(4, 2, 30, 30)
    folder = write(tmp_path / "a", array, "z{0}_c{1}")
    write_zarr(tmp_path / "a.zarr", array, dimension_names="zcyx")
    options: tuple[Any, ...] = ("--model", tiny_model, "--diameter", 30, "--jobs", 2)
    options += ("--cellprob-threshold", -9, "--channels", 2, "--block-shape", "4,16,16")
    for address, *words in ((tmp_path / "a.zarr",), (folder / "z{z}_c{c}.tif", "--stack")):
        out = tmp_path / f"out{len(words)}"
        said = terapose("segment", address, out, *options, *words)
        assert said.code == 0, said.err
    tables = [(tmp_path / f"out{n}/cells.csv").read_text() for n in range(2)]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) > 2
    said = terapose("check", folder / "z{z}_c{c}.tif", "--stack", "--model", tiny_model)
    assert "note      8 files, C 0, 1; Z 0 to 3" in said.out
    (folder / "z2_c1.tif").unlink()
    message = terapose.refuses("segment", folder / "z{z}_c{c}.tif", tmp_path / "b", "--stack")
    assert "a file of the stack is missing; got no z2_c1.tif" in message
