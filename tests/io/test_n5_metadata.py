"""Metadata of N5 that says nothing, and metadata that tells one image from another."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.checks import assert_refused, same
from tests.command import Terapose
from tests.io.test_bdv import write_xml
from tests.io.test_n5 import group, write_bigdataviewer, write_n5
from tests.synthetic import voxels

from terapose.io.images.opening import open_image


def test_paintera_and_levels_of_any_factor(tmp_path: Path) -> None:
    array = voxels(6, 33, 47)
    path = group(tmp_path / "a.n5", n5="2.0.0")
    raw = group(path / "raw", painteraData={"type": "raw"})
    data = group(raw / "data", multiScale=True, resolution=[0.25, 0.5, 2.0])
    write_n5(data / "s0", array)
    write_n5(data / "s1", array[::2, ::3, ::3], downsamplingFactors=[3, 3, 2])
    image = open_image(path, level=1)
    assert image.voxel_size == (4.0, 1.5, 0.75)
    assert same(image, array[None, ::2, ::3, ::3])


@pytest.mark.parametrize("factors", [[0, -2, 2], [2, 2, 0], [-2, -2, 1], [2, "x", 1]])
@pytest.mark.parametrize("place", ["own", "group"])
def test_factors_that_are_none(tmp_path: Path, factors: list[Any], place: str) -> None:
    """The lengths of the levels tell, as where nothing is said."""
    array = voxels(6, 33, 47)
    path = group(tmp_path / "a.n5", n5="2.0.0")
    above = {"downsamplingFactors": [[1, 1, 1], factors]} if place == "group" else {}
    own: dict[str, Any] = {"downsamplingFactors": factors} if place == "own" else {}
    data = group(path / "raw", resolution=[0.25, 0.5, 2.0], **above)
    write_n5(data / "s0", array)
    write_n5(data / "s1", array[:, ::2, ::2], **own)
    assert open_image(path, level=1).voxel_size == (2.0, 1.0, 0.5)


@pytest.mark.parametrize("size", [[0, 0.5, 2], [0.25, -0.5, 2], [0.25, 0.5, 0]])
def test_sizes_that_are_none(tmp_path: Path, size: list[float]) -> None:
    array = voxels(5, 33, 47)
    transform = {"axes": ["z", "y", "x"], "scale": size[::-1], "units": ["um"] * 3}
    stated: list[dict[str, Any]] = [
        {"pixelResolution": {"unit": "um", "dimensions": size}},
        {"resolution": size, "axes": ["x", "y", "z"]},
        {"transform": transform},
    ]
    for n, told in enumerate(stated):
        written = write_n5(tmp_path / f"{n}.n5", array, **{"axes": ["x", "y", "z"], **told})
        image = open_image(written)
        assert image.axes == "ZYX"
        assert image.voxel_size is None


@pytest.mark.parametrize("folder", ["", "setup1", "setup1/timepoint0"])
def test_metadata_above_a_dataset_counts_for_its_identity(tmp_path: Path, folder: str) -> None:
    """The voxel size may stand in any of these groups."""
    path = write_bigdataviewer(tmp_path / "a.n5", voxels(2, 1, 5, 33, 47))
    before = [open_image(path, series=name).identity for name in ("setup0", "setup1")]
    document = path / folder / "attributes.json"
    attributes = json.loads(document.read_text())
    changed = {**attributes, "pixelResolution": {"unit": "um", "dimensions": [1, 1, 3]}}
    for content in (changed, attributes):
        document.write_text(json.dumps(content))
        after = [open_image(path, series=name).identity for name in ("setup0", "setup1")]
        is_same = content is attributes
        assert [a == b for a, b in zip(before, after, strict=True)] == [
            is_same or folder != "",
            is_same,
        ]


def test_the_xml_of_bigdataviewer_counts_for_the_identity(tmp_path: Path) -> None:
    path = write_bigdataviewer(tmp_path / "a.n5", voxels(2, 1, 5, 33, 47))
    known = {open_image(path, series="1").identity}
    for options in ({"unit": "nm"}, {"unit": "um"}):
        write_xml(tmp_path / "a.xml", ("one", "two"), target="a.n5", loader="bdv.n5", **options)
        beside, named = (
            open_image(address, series="1").identity for address in (path, tmp_path / "a.xml")
        )
        assert beside == named
        assert beside not in known
        known.add(beside)


@pytest.mark.parametrize("name", ["resolution", "pixelResolution"])
def test_a_level_with_sizes_of_its_own(tmp_path: Path, name: str) -> None:
    """They were multiplied once more by the factor of the level."""
    array = voxels(6, 33, 47)
    path = group(tmp_path / "a.n5", n5="2.0.0")
    for level, size in enumerate(([0.25, 0.5, 2.0], [0.5, 1.0, 2.0])):
        told: dict[str, Any] = {"resolution": size, "units": ["um"] * 3, "axes": ["x", "y", "z"]}
        if name == "pixelResolution":
            told = {name: {"unit": "um", "dimensions": size}}
        part = array[:, :: level + 1, :: level + 1]
        write_n5(path / f"raw/s{level}", part, downsamplingFactors=[level + 1] * 2 + [1], **told)
    assert open_image(path).voxel_size == (2.0, 0.5, 0.25)
    assert open_image(path, level=1).voxel_size == (2.0, 1.0, 0.5)


def test_channels_of_which_one_is_missing(tmp_path: Path) -> None:
    """Those behind it would have other numbers."""
    array = voxels(4, 5, 33, 47)
    path = group(tmp_path / "a.n5", n5="2.0.0")
    for n in (0, 1, 2, 10):
        write_n5(path / f"c{n}/s0", array[min(n, 3)])
    assert_refused("channels of the image are missing; got no c3, but c0, c1, c2, c10", path)
    shutil.rmtree(path / "c10")
    assert same(open_image(path), array[:3])
    shutil.rmtree(path / "c1")
    assert_refused("channels of the image are missing; got no c1, but c0, c2", path)
    assert same(open_image(path / "c2"), array[2:3])


@pytest.mark.parametrize(
    "told",
    [
        {"pixelResolution": {"dimensions": [1, 2, 3], "unit": 5}},
        {"dimensions": [47, -1, 5]},
        {"dimensions": [0, 33, 5]},
        {"dimensions": [math.inf, 33, 5]},
        {"dimensions": 5},
        {"dataType": ["uint16"]},
        {"transform": {"axes": ["z", "y", "x"], "scale": [1, 1, 1], "units": [1, 1, 1]}},
        {"transform": {"axes": ["z", "y", "x"], "scale": [1, 1, 1], "units": 2.5}},
        {"blockSize": [[2]]},
        {"compression": {"type": []}},
    ],
)
def test_attributes_of_other_types(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    told: dict[str, Any],
) -> None:
    path = write_n5(tmp_path / "a.n5", voxels(5, 33, 47))
    attributes = json.loads((path / "attributes.json").read_text())
    (path / "attributes.json").write_text(json.dumps({**attributes, **told}))
    Terapose(monkeypatch, capsys).refuses("check", path)


@pytest.mark.parametrize("dimensions", [[24, 17], [0, 17, 5]])
def test_levels_that_are_no_pyramid(tmp_path: Path, dimensions: list[int]) -> None:
    path = group(tmp_path / "a.n5", n5="2.0.0")
    for level in range(2):
        folder = write_n5(path / f"raw/s{level}", voxels(5, 33, 47))
    attributes = json.loads((folder / "attributes.json").read_text())
    attributes |= {"dimensions": dimensions, "blockSize": [8] * len(dimensions)}
    (folder / "attributes.json").write_text(json.dumps(attributes))
    assert_refused("raw/s1 has another number of axes|raw/s1: the N5 dataset is damaged", path)
