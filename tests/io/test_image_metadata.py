"""Addresses, identities and voxel sizes of images."""

from __future__ import annotations

import os
import pickle
import re
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from tests import ome
from tests.checks import REGION, assert_refused, same
from tests.synthetic import TiffKind, voxels, write_ome_zarr, write_tiff

from terapose.io.images.opening import open_image
from terapose.io.images.units import micrometres

VOXEL_SIZE = (2.0, 0.5, 0.25)
KINDS: tuple[TiffKind, ...] = ("tiled", "strips", "contiguous", "ome", "imagej")


def test_images_on_a_server(tmp_path: Path, server: str) -> None:
    array = voxels(5, 33, 47)
    write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE, chunks=(2, 16, 16))
    image = open_image(f"{server}/a.zarr")
    assert image.voxel_size == VOXEL_SIZE
    assert same(image, array[None])
    assert image.identity == open_image(f"{server}/a.zarr").identity
    for kind in KINDS:
        write_tiff(tmp_path / f"{kind}.tif", array, kind=kind)
        assert same(open_image(f"{server}/{kind}.tif"), array[None])
    assert_refused("there is no such file", f"{server}/b.tif")
    assert_refused("the address cannot be read", "http://127.0.0.1:9/a.tif")


def test_ome_tiff_on_a_server(tmp_path: Path, server: str) -> None:
    """In one file, whatever it is called now; not in several."""
    array = voxels(1, 2, 5, 33, 47)
    planes = "".join(
        ome.plane(0, c, z, 5 * c + z, "old.tif", "u") for c in (0, 1) for z in range(5)
    )
    xml = ome.document(ome.image(array, planes), uuid="u") + "\x01"
    ome.write(tmp_path / "new.tif", array.reshape(10, 33, 47), xml)
    assert same(open_image(f"{server}/new.tif"), array[0])
    ome.write_set(tmp_path, array, "C")
    for name in ("0.ome.tif", "set.companion.ome"):
        assert_refused("several files is read from a local disk only", f"{server}/{name}")


def test_local_url(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    path = write_tiff(tmp_path / "a b.tif", array)
    assert same(open_image(path.as_uri()), array[None])


@pytest.mark.parametrize("kind", [*KINDS, "zarr", "hdf5"])
def test_another_process_reads_the_same(tmp_path: Path, kind: Any) -> None:
    array = voxels(5, 33, 47)
    if kind == "zarr":
        path = write_ome_zarr(tmp_path / "a.zarr", array)
    elif kind == "hdf5":
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["raw"] = array
    else:
        path = write_tiff(tmp_path / "a.tif", array, kind=kind)
    image = open_image(path)
    image.read(REGION)  # a handle is open when the process forks and when the image is pickled
    assert same(pickle.loads(pickle.dumps(image)), array[None])
    with get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(image.read, (REGION,)), array[REGION])


def test_identity_changes_with_the_content(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    for path in (
        write_tiff(tmp_path / "a.tif", array),
        write_ome_zarr(tmp_path / "a.zarr", array, chunks=(5, 16, 47)),
    ):
        before = open_image(path).identity
        assert before == open_image(path).identity
        assert re.fullmatch("[0-9a-f]{64}", before)
        changed = path if path.is_file() else path / "0/c/0/1/0"
        changed.write_bytes(changed.read_bytes())
        os.utime(changed, ns=(0, 2**62))
        assert open_image(path).identity != before
    renamed = (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    moved = tmp_path / "folder/b.tif"
    moved.parent.mkdir()
    identity = open_image(renamed).identity
    assert open_image(renamed.rename(moved)).identity == identity  # the folder does not count


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (230, "nm", 0.23),
        (230, "nanometer", 0.23),
        (2.5, "µm", 2.5),
        (2.5, "μm", 2.5),
        (2.5, "\\u00B5m", 2.5),
        (2.5, "micron", 2.5),
        (0.001, "millimeter", 1.0),
        (0.002, "mm", 2.0),
        (1e-6, "meter", 1.0),
        (5000, "angstrom", 0.5),
        (5000, "Å", 0.5),
        (2, "inch", 50800),
        (1, "pixel", None),
        (1, None, None),
        (0, "µm", None),
        (float("nan"), "µm", None),
    ],
)
def test_micrometres(value: float, unit: str | None, expected: float | None) -> None:
    got = micrometres(value, unit)
    assert got is None if expected is None else got == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
@pytest.mark.parametrize(("unit", "factor"), [("µm", 1), ("nm", 1000), ("mm", 0.001)])
def test_tiff_voxel_size(tmp_path: Path, kind: TiffKind, unit: str, factor: float) -> None:
    z, y, x = (size * factor for size in VOXEL_SIZE)
    path = write_tiff(
        tmp_path / "a.tif", voxels(5, 33, 47), kind=kind, voxel_size=(z, y, x), unit=unit
    )
    assert open_image(path).voxel_size == pytest.approx(VOXEL_SIZE, rel=1e-6)


def test_tiff_resolution_tags(tmp_path: Path) -> None:
    plane, path = voxels(33, 47), tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "minisblack", "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, plane, resolution=(40000, 20000), **options)
    assert open_image(path).voxel_size == (0.5, 0.5, 0.25)  # one plane is as thick as a row
    tifffile.imwrite(path, plane, resolution=(300, 300), resolutionunit="INCH")
    assert open_image(path).voxel_size is None  # a printing resolution
    tifffile.imwrite(path, voxels(5, 33, 47), resolution=(40000, 20000), **options)
    assert open_image(path).voxel_size is None  # the distance of planes is not known


def test_voxel_size_of_ome_zarr_without_units(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    known = write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE, unit=None)
    assert open_image(known).voxel_size == VOXEL_SIZE
    unknown = write_ome_zarr(tmp_path / "b.zarr", array, factors=(1, 2))
    assert open_image(unknown).voxel_size is None
    assert open_image(unknown, level=1).voxel_size is None
    pixels = write_ome_zarr(tmp_path / "c.zarr", array, voxel_size=VOXEL_SIZE, unit="pixel")
    assert open_image(pixels).voxel_size is None


def test_translation_of_ome_zarr(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    levels: dict[str, Any] = {
        "voxel_size": (2000.0, 500.0, 250.0),
        "unit": "nanometer",
        "factors": (1, 2),
        "translations": ((1e5, -2e4, 3e4), (1e5, -1.975e4, 3.0125e4)),
    }
    path = write_ome_zarr(tmp_path / "a.zarr", array, **levels)
    assert open_image(path).translation == (100.0, -20.0, 30.0)
    assert open_image(path, level=1).origin == (100.0, -19.75, 30.125)
    # a scale of all levels acts on their translations, a translation of all levels comes last
    shared = write_ome_zarr(tmp_path / "b.zarr", array, shared_scale=(1, 2, 4), **levels)
    attributes = zarr.open_group(shared).attrs
    ome: Any = attributes["ome"]
    ome["multiscales"][0]["coordinateTransformations"].append(
        {"type": "translation", "translation": [1000.0, 0.0, 500.0]}
    )
    attributes["ome"] = ome
    image = open_image(shared)
    assert image.voxel_size == (2.0, 1.0, 1.0)
    assert image.translation == (101.0, -40.0, 120.5)


def test_axes_without_translation_or_place(tmp_path: Path) -> None:
    """A channel is nowhere, and a plane without Z lies at 0 along it."""
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        voxels(2, 33, 47),
        axes="cyx",
        voxel_size=VOXEL_SIZE,
        translations=[(9.0, 2.0, 3.0)],
    )
    assert open_image(path).translation == (0.0, 2.0, 3.0)
    plain = write_ome_zarr(tmp_path / "b.zarr", voxels(5, 33, 47), factors=(1, 2))
    assert open_image(plain, level=1).origin == (0.0, 0.0, 0.0)


def test_translation_without_units_is_in_voxels_of_level_0(tmp_path: Path) -> None:
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        voxels(4, 32, 48),
        factors=(1, 2),
        translations=[(10.0, 20.0, 30.0), (10.0, 20.5, 30.5)],
    )
    image = open_image(path, level=1)
    assert image.voxel_size is None
    assert image.translation == (10.0, 20.5, 30.5)
    assert image.factors == (1.0, 2.0, 2.0)
    # of voxels whose size is given, it is so many voxels
    assert open_image(path, level=1, voxel_size=(2, 1, 1)).translation == (20.0, 10.25, 15.25)


def test_a_level_of_a_tiff_lies_in_the_middle_of_what_it_stands_for(tmp_path: Path) -> None:
    array = voxels(1, 61, 94)
    known = write_tiff(
        tmp_path / "a.tif", array[0], kind="ome", factors=(1, 2, 4), voxel_size=VOXEL_SIZE
    )
    assert open_image(known).origin == (0.0, 0.0, 0.0)
    assert open_image(known, level=2).origin == (0.0, 0.75, 0.375)
    unknown = write_tiff(tmp_path / "b.tif", array[0], kind="ome", factors=(1, 2, 4))
    assert open_image(unknown, level=2).origin == (0.0, 1.5, 1.5)


def test_given_voxel_size_wins(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 33, 47), voxel_size=VOXEL_SIZE)
    assert open_image(path, voxel_size=(3, 2, 1)).voxel_size == (3.0, 2.0, 1.0)
    assert_refused("three positive lengths", path, voxel_size=(3.0, 0.0, 1.0))
    assert_refused("three positive lengths", path, voxel_size=(3.0, float("nan"), 1.0))


@pytest.mark.parametrize("unit", ["micrometer", "millimeter", None])
def test_a_place_in_micrometres_stays_where_it_is(tmp_path: Path, unit: str | None) -> None:
    """The stage was there, whatever its pixels are; levels still lie over one another."""
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        voxels(4, 32, 48),
        voxel_size=(2.0, 0.5, 0.5),
        unit=unit,
        factors=(1, 2),
        translations=[(10.0, 100.0, -7.0), (10.0, 100.25, -6.75)],
    )
    scale = 1000 if unit == "millimeter" else 1
    place = tuple(scale * v for v in (10.0, 100.0, -7.0))
    image = open_image(path, voxel_size=(8.0, 2.0, 2.0))
    assert image.translation == pytest.approx(place)
    assert image.origin == pytest.approx(place)
    assert open_image(path, voxel_size=(8, 2, 2), region="1:2,3:9,5:9").origin == pytest.approx(
        (place[0] + 8, place[1] + 6, place[2] + 10)
    )
    coarse = open_image(path, level=1, voxel_size=(8.0, 4.0, 4.0))
    assert coarse.translation == pytest.approx((place[0], place[1] + 1, place[2] + 1))


def test_ome_zarr_channel_names(tmp_path: Path) -> None:
    path = write_ome_zarr(
        tmp_path / "a.zarr", voxels(3, 5, 9, 9), axes="czyx", channel_names=("DNA", "")
    )
    assert open_image(path).channel_names == ("DNA", "channel 2", "channel 3")
