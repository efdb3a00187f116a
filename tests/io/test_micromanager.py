"""Stacks of Micro-Manager and NDTiff are read by their index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import micromanager, ome
from tests.checks import assert_refused, same
from tests.raw_tiff import RawTiff, text
from tests.synthetic import voxels

from terapose.io.images.opening import open_image


def _array(positions: int, frames: int, channels: int, slices: int = 5) -> np.ndarray:
    return voxels(positions, frames, channels, slices, 33, 47)


@pytest.mark.parametrize("with_ome", [True, False])
@pytest.mark.parametrize(
    ("order", "flags"),
    [
        ("PTZC", {}),
        ("PTCZ", {"SlicesFirst": True}),
        ("TPZC", {"TimeFirst": True}),
        ("ZCTP", {"SlicesFirst": True, "TimeFirst": True}),
    ],
)
@pytest.mark.parametrize("lengths", [(1, 1, 2), (1, 3, 1), (1, 2, 3)])
def test_a_stack_in_any_order(
    tmp_path: Path, lengths: Any, order: str, flags: Any, with_ome: bool
) -> None:
    array = _array(*lengths)
    xml = ome.document(ome.image(array[0], "<TiffData/>", channels="xyz")) if with_ome else ""
    path = micromanager.write_stack(
        tmp_path / "run_MMStack_Pos0.ome.tif",
        micromanager.places(array, order),
        micromanager.summary(array, **flags),
        description=xml,
    )
    image = open_image(path, time=lengths[1])
    assert (image.format, image.voxel_size) == ("micro-manager", (2.0, 0.5, 0.5))
    assert image.channel_names == ("DAPI", "GFP", "Cy5")[: lengths[2]]
    assert image.is_lazy
    assert same(image, array[0, -1])


UNNAMED = ("channel 1", "channel 2")


@pytest.mark.parametrize(
    ("told", "plane", "size", "names"),
    [
        ({"PixelSize_um": None}, {"PixelSizeUm": 0.25}, (2.0, 0.25, 0.25), ("DAPI", "GFP")),
        ({"PixelSize_um": 0}, {"PixelSizeUm": 0.0}, None, ("DAPI", "GFP")),
        ({"z-step_um": 0.0}, None, None, ("DAPI", "GFP")),
        ({"z-step_um": -2.0, "ChNames": '["a","b"]'}, None, (2.0, 0.5, 0.5), ("a", "b")),
        ({"ChNames": None}, None, (2.0, 0.5, 0.5), UNNAMED),
        ({"ChNames": "a"}, None, (2.0, 0.5, 0.5), UNNAMED),
    ],
)
def test_what_a_stack_tells_of_itself(
    tmp_path: Path, told: Any, plane: Any, size: Any, names: tuple[str, str]
) -> None:
    array = _array(1, 1, 2)
    path = micromanager.write_stack(
        tmp_path / "a.tif",
        micromanager.places(array),
        micromanager.summary(array, **told),
        plane=plane,
    )
    image = open_image(path)
    assert image.voxel_size == size
    assert image.channel_names == names


LABELS: dict[str, Any] = {"StagePositions": [{"Label": "left"}, {"Label": "right"}]}


@pytest.mark.parametrize("apart", [True, False])
def test_positions_are_images(tmp_path: Path, apart: bool) -> None:
    """In one file, or each in a file of its own, which then says which is meant."""
    array = _array(2, 1, 2)
    told = micromanager.summary(array, **LABELS)
    planes = micromanager.places(array)
    names = [f"run_MMStack_Pos{p}.ome.tif" for p in (0, 1)] if apart else ["run_MMStack.ome.tif"]
    for p, name in enumerate(names):
        inside = {place: pixels for place, pixels in planes.items() if not apart or place[3] == p}
        micromanager.write_stack(tmp_path / name, inside, told)
    paths = [tmp_path / name for name in names]
    for path in paths:
        for wanted, p in (("1", 0), ("right", 1)):
            image = open_image(path, series=wanted)
            assert image.series == (("left", "right"), p)
            assert (image.voxel_size, image.channel_names) == ((2.0, 0.5, 0.5), ("DAPI", "GFP"))
            assert image.is_lazy
            assert same(image, array[p, 0])
    if apart:
        assert same(open_image(paths[1]), array[1, 0])
        before = open_image(paths[1]).identity
        os.utime(paths[1], ns=(0, 2**61))
        assert open_image(paths[1]).identity != before
        paths[0].unlink()  # the other position is whole without it
        assert same(open_image(paths[1]), array[1, 0])
    else:
        assert_refused(r"several images; got 1 \(left: CZYX 2 x 5 x 33 x 47\), 2 \(right", paths[0])


def test_a_stack_in_several_files(tmp_path: Path) -> None:
    """Files end at 4 GB, in the midst of a stack."""
    array = _array(1, 1, 2, 9)
    told = micromanager.summary(array)
    planes = list(micromanager.places(array).items())
    paths = [
        micromanager.write_stack(tmp_path / f"run_MMStack_Pos0{end}.ome.tif", dict(part), told)
        for end, part in (("", planes[:8]), ("_1", planes[8:12]), ("_2", planes[12:]))
    ]
    images = [open_image(path) for path in paths]
    for image in images:
        assert same(image, array[0, 0])
        assert image.identity == images[0].identity
    os.utime(paths[2], ns=(0, 2**61))
    assert open_image(paths[0]).identity != images[0].identity
    paths[1].rename(tmp_path / "elsewhere.tif")
    assert_refused("planes of the image are missing; got 4 of 18", paths[0])
    paths[2].unlink()
    assert_refused("planes of the image are missing; got 4 of 9 slices; copy all", paths[0])


def test_an_acquisition_that_was_stopped(tmp_path: Path) -> None:
    array = _array(1, 4, 2)
    planes = dict(list(micromanager.places(array).items())[:23])  # 2 frames and 3 planes
    told = micromanager.summary(array)
    path = micromanager.write_stack(tmp_path / "run_MMStack.tif", planes, told)
    assert same(open_image(path, time=2), array[0, 1])
    assert_refused("planes of the image are missing; got 7 of 10", path, time=3)
    assert_refused("there is no such time point; got time 4; allowed: 1 to 3", path, time=4)


def test_an_index_that_cannot_be_believed(tmp_path: Path) -> None:
    array = _array(1, 1, 2)
    planes, told = micromanager.places(array), micromanager.summary(array)
    path = micromanager.write_stack(tmp_path / "a.tif", planes, told, shift=1)
    assert_refused("the index of this Micro-Manager file does not fit its planes", path)
    path = micromanager.write_stack(tmp_path / "b.tif", planes, told)
    content = bytearray(path.read_bytes())
    content[12:16] = bytes(4)  # the index comes last: where it is, is written at the end
    path.write_bytes(content)
    assert_refused("a Micro-Manager file without an index of the planes", path)
    in_order = array[0, 0].swapaxes(0, 1).reshape(1, 10, 33, 47)
    assert same(open_image(path, axes="ZYX"), in_order)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("files", [1, 3])
def test_ndtiff(tmp_path: Path, version: int, files: int) -> None:
    array = _array(2, 1, 2)
    planes = [
        ({"position": f"P{p}", "z": z, "channel": ("DAPI", "GFP")[c]}, array[p, 0, c, z])
        for p, z, c in np.ndindex(2, 5, 2)
    ]
    numbers = [n % files for n in range(len(planes))]
    told = {"z-step_um": 2.0}
    paths = micromanager.write_ndtiff(tmp_path, planes, told=told, files=numbers, version=version)
    assert_refused("the file holds several images", paths[0])
    for path in [tmp_path, *paths]:  # the folder stands for its files
        for p in (0, 1):
            image = open_image(path, series=f"P{p}")
            assert (image.format, image.voxel_size) == ("ndtiff", (2.0, 0.25, 0.25))
            assert image.channel_names == ("DAPI", "GFP")
            assert same(image, array[p, 0])
    before = open_image(paths[0], series="1").identity
    os.utime(tmp_path / "NDTiff.index", ns=(0, 2**61))
    assert open_image(paths[0], series="1").identity != before
    (tmp_path / "NDTiff.index").unlink()
    assert_refused("a Micro-Manager file without an index of the planes.*NDTiff.index", paths[0])


def test_ndtiff_without_all_files(tmp_path: Path) -> None:
    array = _array(1, 1, 1)
    planes = [({"z": z}, array[0, 0, 0, z]) for z in range(5)]
    paths = micromanager.write_ndtiff(tmp_path, planes, told={}, files=[0, 1, 0, 1, 0])
    assert same(open_image(tmp_path), array[0, 0])
    identity = open_image(tmp_path).identity
    assert open_image(paths[1]).identity == identity
    os.utime(paths[1], ns=(0, 2**61))
    assert open_image(tmp_path).identity != identity
    paths[1].rename(tmp_path / "elsewhere.tif")
    for address in (tmp_path, paths[0]):
        assert_refused("files of this NDTiff dataset are missing; got run_NDTiffStack_1", address)
    index = tmp_path / "NDTiff.index"
    index.write_bytes(
        index.read_bytes().replace(b"run_NDTiffStack_1.tif", b"../_NDTiffStack_1.tif")
    )
    assert_refused("files of this NDTiff dataset are outside its folder; got ../_", paths[0])
    index.write_bytes(b"")
    assert_refused("files of this NDTiff dataset are missing; got an empty index", tmp_path)


def test_ndtiff_without_all_planes(tmp_path: Path) -> None:
    array = _array(1, 2, 1)
    planes = [({"time": t, "z": z}, array[0, t, 0, z]) for t, z in np.ndindex(2, 5)]
    (path,) = micromanager.write_ndtiff(tmp_path, planes[:-1], told={})
    assert same(open_image(path, time=1), array[0, 0])
    assert_refused("planes of the image are missing; got 1 of 5 planes", path, time=2)


def test_one_plane_of_micromanager(tmp_path: Path) -> None:
    """Without an index: as the option of one file for each plane has it."""
    array = voxels(33, 47)
    file = RawTiff()
    file.page(array, [text(51123, '{"PixelSizeUm": 0.25}')])
    path = tmp_path / "img_000000000_DAPI_000.tif"
    path.write_bytes(file.content)
    image = open_image(path)
    assert image.voxel_size == (0.25, 0.25, 0.25)
    assert same(image, array[None, None])
