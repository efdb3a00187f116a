"""Results in napari: the layers that its reader gives, and the manifest by which it is found."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import terapose
from terapose.apps.view.napari_layers import get_reader, read_results
from terapose.core.geometry import Box
from terapose.io.images.opening import open_image

MANIFEST = Path(terapose.__file__).parent / "apps" / "view" / "napari.yaml"


def layers(folder: Path) -> list[Any]:
    reader = get_reader(str(folder))
    assert reader is not None
    return reader(str(folder))


def finest(layer: Any) -> Any:
    """The array of a layer, or that of the finest level."""
    data, about, _ = layer
    return data[0] if about["multiscale"] else data


def test_only_results_are_read(viewed: Path, tmp_path: Path) -> None:
    assert get_reader(str(viewed / "volume")) is read_results
    for other in (tmp_path, viewed, viewed / "plane.tif", tmp_path / "nothing"):
        assert get_reader(str(other)) is None
    assert get_reader([str(viewed / "volume")]) is None
    assert get_reader("s3://bucket/results") is None


def test_a_volume(viewed: Path) -> None:
    dna, actin, cells = layers(viewed / "volume")
    assert [kind for _, _, kind in (dna, actin, cells)] == ["image", "image", "labels"]
    assert [about["name"] for _, about, _ in (dna, actin, cells)] == ["DNA", "actin", "cells"]
    assert [about.get("visible", True) for _, about, _ in (dna, actin, cells)] == [
        True,
        False,
        True,
    ]
    for _, about, _ in (dna, actin, cells):
        assert tuple(about["scale"]) == (2.0, 0.5, 0.5)
        assert tuple(about["translate"]) == (10.0, -3.0, 7.5)
    image = open_image(viewed / "volume.zarr")
    whole = Box.whole(image.shape).slices
    assert (np.asarray(finest(dna)) == image.read(whole, 2)).all()
    assert (np.asarray(finest(actin)) == image.read(whole, 1)).all()
    labels = open_image(viewed / "volume" / "labels.zarr" / "cells").read(whole)
    assert (np.asarray(finest(cells)) == labels).all()
    table = pd.read_csv(viewed / "volume" / "cells.csv")
    features = cells[1]["features"]
    assert (features.pop("index") == table["CellID"]).all()
    pd.testing.assert_frame_equal(features, table, check_dtype=False)


def test_a_plane_has_two_axes(viewed: Path) -> None:
    channel, cells = layers(viewed / "plane")
    assert finest(channel).shape == finest(cells).shape == (60, 70)
    assert len(channel[1]["scale"]) == len(cells[1]["translate"]) == 2
    expected = open_image(viewed / "plane.tif").read((slice(0, 1), slice(0, 60), slice(0, 70)))[0]
    assert (np.asarray(finest(channel)) == expected).all()


@pytest.mark.parametrize(
    "index",
    [
        (2,),
        (slice(1, 4), 5),
        (Ellipsis, 7),
        (-1, slice(None), slice(10, 50, 7)),
        (slice(None, None, -1), slice(40, 3, -2)),
        (slice(3, 3),),
        (slice(5, 2), slice(0, 9)),
        (np.int64(3), slice(None), np.int64(-2)),
        Ellipsis,
    ],
)
def test_it_is_indexed_as_an_array_is(viewed: Path, index: Any) -> None:
    array = finest(layers(viewed / "volume")[0])
    whole = np.asarray(array)
    assert whole.shape == array.shape and whole.dtype == array.dtype and whole.ndim == array.ndim
    assert whole.size == array.size
    found = array[index]
    assert found.shape == whole[index].shape and (found == whole[index]).all()
    with pytest.raises(IndexError):
        array[6]


def test_the_package_names_the_manifest() -> None:
    project = tomllib.loads((MANIFEST.parents[4] / "pyproject.toml").read_text())["project"]
    (place,) = project["entry-points"]["napari.manifest"].values()
    module, _, file = place.partition(":")
    assert Path(*module.split(".")) / file == MANIFEST.relative_to(MANIFEST.parents[3])
    contributions = yaml.safe_load(MANIFEST.read_text())["contributions"]
    (command,) = contributions["commands"]
    assert command["python_name"] == f"{get_reader.__module__}:{get_reader.__name__}"
    (reader,) = contributions["readers"]
    assert reader["command"] == command["id"] and reader["accepts_directories"]


def test_npe2_takes_the_manifest() -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2, which reads manifests for napari, is missing")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert [reader.filename_patterns for reader in manifest.contributions.readers] == [["*"]]


def test_napari_takes_the_layers(viewed: Path) -> None:
    napari = pytest.importorskip("napari", reason="napari is missing")
    for name in ("volume", "plane"):
        for data, about, kind in layers(viewed / name):
            layer = napari.layers.Layer.create(data, about, kind)
            assert layer.multiscale == about["multiscale"] and layer.name == about["name"]
            if "features" in about:
                assert "Volume" in layer.features or "Area" in layer.features
