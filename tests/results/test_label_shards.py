"""Label images whose files contain several chunks: the same voxels, checked like any other."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from tests.in_image import segmented, tree
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.launch import network

from terapose.core.errors import StoreError
from terapose.core.params import check
from terapose.io.labels.ome_zarr import pyramid_factors
from terapose.networks.files import identify
from terapose.pipeline import planning
from terapose.pipeline.checked import open_checked
from terapose.pipeline.planning import make_plan
from terapose.results.in_image.attaching import attach
from terapose.results.verify import faults

IMAGES = ("cells", "nuclei", "cytoplasm")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and levels of which there are several in a small image."""
    levels = partial(pyramid_factors, smallest=12)
    monkeypatch.setattr(planning, "pyramid_factors", levels)
    monkeypatch.setattr(planning, "CHUNKS", (2, 8, 8))
    monkeypatch.setattr(planning, "FLAT_CHUNKS", (1, 8, 8))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume and a plane."""
    folder = tmp_path_factory.mktemp("images")
    voxels = nuclei((7, 60, 75))[0].astype(np.uint16)
    write_ome_zarr(folder / "volume.zarr", voxels, voxel_size=(1.0, 1.0, 1.0))
    tifffile.imwrite(folder / "plane.tif", voxels[3], metadata={"axes": "YX"})
    return folder


def arrays(labels: Path, name: str) -> list[zarr.Array[Any]]:
    """The levels of a label image."""
    document = json.loads((labels / name / "zarr.json").read_text())
    levels = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    return [zarr.open_array(labels / name / level["path"], mode="r") for level in levels]


def number_of_files(labels: Path) -> int:
    """Files of voxels."""
    return sum(path.is_file() for path in labels.rglob("c/**/*"))


@pytest.mark.parametrize("kind", ["volume.zarr", "plane.tif"])
def test_the_same_voxels_in_fewer_files(kind: str, images: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"diameter": 17}
    given |= {"expand": 2} if kind == "plane.tif" else {"mode": "stitch"}
    ways: dict[str, dict[str, Any]] = {
        "chunks": {"label_files": "chunks"},
        "shards": {"label_files": "shards"},
        "cut": {"label_files": "shards", "block_shape": (3, 23, 31), "max_tasks": 5},
    }
    made = {
        name: segmented(network(), images / kind, tmp_path / name, **given, **more)
        for name, more in ways.items()
    }
    assert not [fault for out in made.values() for fault in faults(out)]
    labels = {name: out / "labels.zarr" for name, out in made.items()}
    assert tree(labels["shards"]) == tree(labels["cut"])
    for name in IMAGES if kind == "plane.tif" else IMAGES[:1]:
        pairs = zip(arrays(labels["chunks"], name), arrays(labels["shards"], name), strict=True)
        for number, (one, other) in enumerate(pairs):
            assert np.asarray(one[:]).any()
            np.testing.assert_array_equal(one[:], other[:])
            assert one.chunks == other.chunks and one.shards is None
            # a region has one chunk of the third level
            assert number > 2 or (other.shards is not None) == (number < 2)
    yaozarrs.validate_zarr_store(str(labels["shards"]))
    assert number_of_files(labels["shards"]) * 4 < number_of_files(labels["chunks"])


def test_damage_is_found_and_mended(images: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"mode": "stitch", "diameter": 17, "label_files": "shards"}
    out = segmented(network(), images / "volume.zarr", tmp_path / "out", **given)
    before, labels = tree(out / "labels.zarr"), out / "labels.zarr" / "cells"
    shard = next(path for path in sorted((labels / "0" / "c").rglob("*")) if path.is_file())
    for content in (b"", shard.read_bytes()[:-1], shard.read_bytes() + b"x", None):
        if content is None:
            shard.unlink()
        else:
            shard.write_bytes(content)
        (wrong,) = faults(out)
        assert "region" in wrong
        with pytest.raises(StoreError, match="have changed"):
            attach(out)
        segmented(network(), images / "volume.zarr", out, **given)
        assert tree(out / "labels.zarr") == before


def test_they_go_into_the_image(images: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.zarr"
    shutil.copytree(images / "volume.zarr", image)
    given: dict[str, Any] = {"mode": "stitch", "diameter": 17, "label_files": "shards"}
    out = segmented(network(), image, tmp_path / "out", **given)
    attach(out)
    for one, other in zip(
        arrays(out / "labels.zarr", "cells"), arrays(image / "labels", "cells"), strict=False
    ):
        np.testing.assert_array_equal(one[:], other[:])
        assert one.shards == other.shards
    segmented(network(), image, tmp_path / "again", **given, labels_in="image")


@pytest.mark.parametrize(
    ("words", "most", "shards"),
    [
        ({}, 50_000, (1, 1, 1)),
        ({}, 100, (2, 2, 2)),
        ({"ome_zarr_version": "0.4"}, 100, (1, 1, 1)),
        ({"label_files": "chunks"}, 100, (1, 1, 1)),
        ({"label_files": "shards"}, 50_000, (2, 2, 2)),
    ],
)
def test_many_files_become_fewer(
    words: dict[str, Any],
    most: int,
    shards: tuple[int, int, int],
    images: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "MOST_FILES", most)
    params = check({"model": str(tiny_model), **words})
    image = open_checked(str(images / "volume.zarr"), params)
    assert make_plan(image, identify(tiny_model), params).output.shards == shards


@pytest.mark.parametrize("damage", ["zeros", "cut off", "flipped", "a folder", "gone"])
def test_what_is_damaged_in_the_store_is_written_again(
    damage: str, images: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"mode": "stitch", "diameter": 17, "label_files": "shards"}
    out = segmented(network(), images / "volume.zarr", tmp_path / "out", **given)
    before = tree(out / "labels.zarr")
    stored = [path for path in (out / ".terapose").rglob("labels.zarr/cells/*/c/**/*")]
    shards = [path for path in stored if path.is_file()]
    assert len(shards) > 10
    for path in shards:
        content = path.read_bytes()
        path.unlink()
        if damage == "a folder":
            path.mkdir()
        elif damage != "gone":
            half = len(content) // 2
            changed = {
                "zeros": bytes(len(content)),
                "cut off": content[:half],
                "flipped": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
            }
            path.write_bytes(changed[damage])
    shutil.rmtree(out / "labels.zarr")
    segmented(network(), images / "volume.zarr", out, **given)
    assert tree(out / "labels.zarr") == before and not faults(out)
