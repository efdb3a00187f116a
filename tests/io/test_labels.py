"""Label images open in ome-zarr-py, pass its validators, and have the same bytes every time."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v04 as models_v04
import ome_zarr_models.v05 as models_v05
import pydantic_zarr.v2
import pytest
import yaozarrs
import zarr
from ome_zarr import OMEZarrLabels
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader
from ome_zarr_models import open_ome_zarr
from tests.synthetic import nuclei, write_ome_zarr

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image
from terapose.io.labels import ome_zarr as labels

SHAPE = (20, 150, 130)
VOXEL_SIZE = (2.0, 0.5, 0.5)
VERSIONS: tuple[labels.Version, ...] = ("0.4", "0.5")


def written(path: Path, version: labels.Version = "0.5", **options: Any) -> np.ndarray:
    """Write blobs with a pyramid to a path and return level 0."""
    truth = nuclei(SHAPE, seed=1)[1]
    truth[:, :, 40:] = 0  # empty chunks
    factors = labels.pyramid_factors(SHAPE, VOXEL_SIZE, smallest=40)
    arguments: dict[str, Any] = {
        "shape": SHAPE,
        "dtype": "uint32",
        "voxel_size": VOXEL_SIZE,
        "chunks": (16, 32, 32),
    }
    labels.create(str(path), factors=factors, version=version, **(arguments | options))
    for level, factor in enumerate(factors):
        labels.open_level(str(path), level)[...] = labels.downsample(truth, factor)
    return truth


def rebuild_models() -> None:
    """The 0.4 models of ome-zarr-models 1.6 lack a name that pydantic 2.13 and later want."""
    for model in (models_v04.Image, models_v04.ImageLabel):
        names = {**vars(pydantic_zarr.v2), **vars(sys.modules[model.__module__])}
        model.model_rebuild(force=True, _types_namespace=names)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("inner", ["", "/cells"])
def test_ome_zarr_py_reads_labels(tmp_path: Path, version: labels.Version, inner: str) -> None:
    truth = written(tmp_path / "labels.zarr", version)
    nodes = list(Reader(parse_url(f"{tmp_path}/labels.zarr{inner}"))())
    node = nodes[-1]
    assert [bool(node.data) for node in nodes] == ([False, True] if not inner else [True])
    assert node.load(Label)
    assert node.visible
    assert node.metadata["name"] == "cells"
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    np.testing.assert_array_equal(np.asarray(node.data[0]), truth)
    for level, factor in ((1, (1, 2, 2)), (2, (1, 4, 4))):
        steps = tuple(slice(None, None, f) for f in factor)
        np.testing.assert_array_equal(np.asarray(node.data[level]), truth[steps])
        scale = [s * f for s, f in zip(VOXEL_SIZE, factor, strict=True)]
        assert node.metadata["coordinateTransformations"][level] == [
            {"type": "scale", "scale": scale}
        ]
    group = zarr.open_group(tmp_path / "labels.zarr/cells", mode="r")
    image = OMEZarrLabels.from_ome_zarr(group).images[0]
    assert image.scale == dict(zip("zyx", VOXEL_SIZE, strict=True))
    assert image.axes_units == dict.fromkeys("zyx", "micrometer")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", [None, "../.."])
def test_validators_accept_labels(
    tmp_path: Path, version: labels.Version, source: str | None
) -> None:
    path = tmp_path / "labels.zarr"
    written(path, version, source=source)
    if version == "0.4":
        rebuild_models()
    models = {"0.4": models_v04, "0.5": models_v05}[version]
    image = open_ome_zarr(str(path / "cells"), version=version)
    assert isinstance(image, models.ImageLabel | models.Image)  # in 0.4, both fit
    attributes: Any = zarr.open_group(path / "cells", mode="r").attrs
    label = attributes.get("ome", attributes)["image-label"]
    assert label.get("source") == (None if source is None else {"image": source})
    # as the schemas of the specification have it, which refuse an empty list of colours
    assert "colors" not in label
    if source is None:
        yaozarrs.validate_zarr_store(str(path / "cells"))
    if source is None and version == "0.5":  # the list of label images of 0.4 says no version
        yaozarrs.validate_zarr_store(str(path))


def test_labels_of_an_image_as_they_stand(tmp_path: Path) -> None:
    """Moved into an image, the group is that image's labels."""
    image = write_ome_zarr(tmp_path / "image.zarr", np.zeros(SHAPE, np.uint8))
    truth = written(image / "labels", source="../..")
    yaozarrs.validate_zarr_store(str(image))
    nodes = list(Reader(parse_url(str(image)))())
    assert len(nodes) == 3
    np.testing.assert_array_equal(np.asarray(nodes[-1].data[0]), truth)


@pytest.mark.parametrize("version", VERSIONS)
def test_open_image_reads_labels(tmp_path: Path, version: labels.Version) -> None:
    truth = written(tmp_path / "labels.zarr", version)
    image = open_image(tmp_path / "labels.zarr/cells", level=1)
    assert image.format == f"ome-zarr-{version}"
    assert image.voxel_size == (2.0, 1.0, 1.0)
    whole = image.read((slice(None), slice(None), slice(None)))
    np.testing.assert_array_equal(whole, truth[:, ::2, ::2])


@pytest.mark.parametrize("version", VERSIONS)
def test_two_dimensions(tmp_path: Path, version: labels.Version) -> None:
    plane = nuclei((1, 90, 70))[1][0]
    path = str(tmp_path / "labels.zarr")
    factors = labels.pyramid_factors((1, 90, 70), smallest=32)
    assert factors == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    labels.create(
        path,
        shape=(90, 70),
        dtype="uint32",
        voxel_size=(0.5, 0.5, 0.25),
        factors=factors,
        version=version,
    )
    labels.open_level(path, 2)[...] = plane[::4, ::4]
    node = next(node for node in Reader(parse_url(path))() if node.data)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["y", "x"]
    assert node.metadata["coordinateTransformations"][2][0]["scale"] == [2.0, 1.0]
    np.testing.assert_array_equal(np.asarray(node.data[2]), plane[::4, ::4])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_translation_is_that_of_all_levels(tmp_path: Path, version: labels.Version) -> None:
    """Levels take the first voxel of each group, whose centre stays where it is."""
    path = tmp_path / "labels.zarr"
    written(path, version, translation=(100.0, -20.0, 30.5))
    moved = {"type": "translation", "translation": [100.0, -20.0, 30.5]}
    node = next(node for node in Reader(parse_url(str(path)))() if node.data)
    levels = node.metadata["coordinateTransformations"]
    assert len(levels) > 1
    assert [level[1:] for level in levels] == [[moved]] * len(levels)
    if version == "0.4":
        rebuild_models()
    open_ome_zarr(str(path / "cells"), version=version)
    assert open_image(path / "cells", level=1).translation == (100.0, -20.0, 30.5)


def test_voxels_of_a_coarser_level_without_a_size(tmp_path: Path) -> None:
    labels.create(
        str(tmp_path / "labels.zarr"),
        shape=(60, 70),
        dtype="uint32",
        voxel_size=None,
        voxels=(1.0, 2.0, 2.0),
        translation=(0.0, 0.5, 0.5),
        factors=[(1, 1, 1), (1, 2, 2)],
    )
    content = json.loads((tmp_path / "labels.zarr/cells/zarr.json").read_text())
    datasets = content["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert [dataset["coordinateTransformations"] for dataset in datasets] == [
        [{"type": "scale", "scale": scale}, {"type": "translation", "translation": [0.5, 0.5]}]
        for scale in ([2.0, 2.0], [4.0, 4.0])
    ]


def test_unknown_voxel_size_has_no_unit(tmp_path: Path) -> None:
    path = tmp_path / "labels.zarr"
    labels.create(
        str(path), shape=SHAPE, dtype="uint64", voxel_size=None, factors=[(1, 1, 1), (2, 2, 2)]
    )
    multiscale = json.loads((path / "cells/zarr.json").read_text())["attributes"]["ome"]
    multiscale = multiscale["multiscales"][0]
    assert all("unit" not in axis for axis in multiscale["axes"])
    assert multiscale["datasets"][1]["coordinateTransformations"][0]["scale"] == [2.0, 2.0, 2.0]
    yaozarrs.validate_zarr_store(str(path))
    assert isinstance(open_ome_zarr(str(path / "cells")), models_v05.ImageLabel | models_v05.Image)


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file under a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_depend_on_the_content_alone(tmp_path: Path, version: labels.Version) -> None:
    """Written whole, or chunk by chunk in another order over other values: the same files."""
    truth = written(tmp_path / "a.zarr", version)
    written(tmp_path / "b.zarr", version)
    factors = labels.pyramid_factors(SHAPE, VOXEL_SIZE, smallest=40)
    for level, factor in enumerate(factors):
        array = labels.open_level(str(tmp_path / "b.zarr"), level)
        array[...] = 9
        reduced = labels.downsample(truth, factor)
        corners = itertools.product(
            *(range(0, n, c) for n, c in zip(array.shape, array.chunks, strict=True))
        )
        for corner in reversed(list(corners)):
            region = tuple(slice(a, a + c) for a, c in zip(corner, array.chunks, strict=True))
            array[region] = reduced[region]
    first, second = contents(tmp_path / "a.zarr"), contents(tmp_path / "b.zarr")
    assert first == second
    chunks = (16, 32, 32)
    corners = itertools.product(*(range(0, n, c) for n, c in zip(SHAPE, chunks, strict=True)))
    filled = sum(truth[z : z + 16, y : y + 32, x : x + 32].any() for z, y, x in corners)
    assert 0 < filled < 2 * 5 * 5
    stored = [name for name in first if re.match(r"cells/0/(c/)?\d", name)]
    assert len(stored) == filled


def test_create_removes_what_was_there(tmp_path: Path) -> None:
    written(tmp_path / "a.zarr")
    options: dict[str, Any] = {"shape": SHAPE, "dtype": "uint32", "voxel_size": None}
    labels.create(str(tmp_path / "a.zarr"), factors=[(1, 1, 1)], **options)
    labels.create(str(tmp_path / "b.zarr"), factors=[(1, 1, 1)], **options)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="the label image cannot be written"):
        written(tmp_path / "a.zarr")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match=r"the label image cannot be written.*choose a folder"):
        written(tmp_path / "a/labels.zarr")


@pytest.mark.parametrize("factor", [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)])
@pytest.mark.parametrize("block", [(7, 30, 23), (16, 32, 32), (1, 150, 3)])
def test_blocks_downsample_as_the_whole(factor: Any, block: Any) -> None:
    whole = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    expected = labels.downsample(whole, factor)
    assert expected.shape == labels.level_shape(SHAPE, factor)
    assembled = np.full_like(expected, -1)
    for start in itertools.product(*(range(0, n, b) for n, b in zip(SHAPE, block, strict=True))):
        stop = tuple(min(s + b, n) for s, b, n in zip(start, block, SHAPE, strict=True))
        part = whole[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        region = labels.level_region(start, stop, factor)
        assembled[region] = labels.downsample(part, factor, start)
    np.testing.assert_array_equal(assembled, expected)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "expected"),
    [
        ((100, 200, 256), None, [(1, 1, 1)]),
        ((600, 600, 600), None, [(1, 1, 1), (2, 2, 2), (4, 4, 4)]),
        ((100, 2000, 2000), (5, 1, 1), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]),
        ((300, 300, 300), (1, 4, 4), [(1, 1, 1), (2, 1, 1), (4, 2, 2)]),
        ((1, 1000, 1000), (1, 1, 1), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        ((3, 40, 1100), (1, 1, 1), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (4, 8, 8)]),
        ((1000, 20, 20), (50, 1, 1), [(1, 1, 1), (2, 2, 2), (4, 4, 4)]),
    ],
)
def test_pyramid_factors(shape: Any, voxel_size: Any, expected: Any) -> None:
    assert labels.pyramid_factors(shape, voxel_size) == expected


def test_pyramid_ends_at_the_smallest() -> None:
    factors = labels.pyramid_factors((4000, 20000, 20000), (4.0, 1.8, 1.8), smallest=100)
    assert max(labels.level_shape((4000, 20000, 20000), factors[-1])) <= 100
    assert max(labels.level_shape((4000, 20000, 20000), factors[-2])) > 100
