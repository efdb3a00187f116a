"""What is written as OME-Zarr is what the specification's JSON schemas describe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
import zarr
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry
from tests.command import Terapose
from tests.in_image import VERSIONS, pixels, placed, segmented

from terapose.apps.simulate.scene import Scene
from terapose.apps.simulate.write import write
from terapose.apps.view.pixels import Pixels
from terapose.apps.view.volumes import Served
from terapose.io.images.opening import open_image
from terapose.io.labels import ome_zarr as labels

SPECIFICATION = Path(sys.prefix) / "schemas" / "ngff_zarr" / "spec"
"""The schemas, where `make setup` puts them."""


def schemas(version: str) -> dict[str, Any]:
    """Return the schemas of a version of OME-Zarr by their addresses.

    Those that also ask for what is only recommended (strict ones) are left out.
    """
    files = (SPECIFICATION / version / "schemas").glob("*.schema")
    found = (json.loads(path.read_text()) for path in files if "strict_" not in path.name)
    return {schema["$id"]: schema for schema in found}


def check(attributes: dict[str, Any], version: str) -> list[str]:
    """Validate the attributes of a group by all schemas that are for it; return their names.

    Raises
    ------
    ValidationError
        If they are not what a schema describes.
    """
    known = schemas(version)
    registry: Registry[Any] = Registry().with_contents(known.items())
    content = attributes["ome"] if version == "0.5" else attributes
    names = {"multiscales": "image", "image-label": "label"}
    applied = [names[key] for key in names if key in content]
    for name in applied:
        address = f"https://ngff.openmicroscopy.org/{version}/schemas/{name}.schema"
        Draft202012Validator(known[address], registry=registry).validate(attributes)
    return applied


def groups(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The groups at and below a path, and their attributes."""
    for document in sorted(path.rglob("*")):
        if document.name in (".zgroup", "zarr.json"):
            node = zarr.open(document.parent, mode="r")
            if isinstance(node, zarr.Group):
                yield str(document.parent.relative_to(path)), node.attrs.asdict()


def described(path: Path, version: str) -> dict[str, list[str]]:
    """Validate all groups at and below a path; return by which schemas, where there are any."""
    found = {name: check(attributes, version) for name, attributes in groups(path) if attributes}
    return {name: applied for name, applied in found.items() if applied}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("has_unit", [True, False])
@pytest.mark.parametrize("shape", [(4, 40, 50), (40, 50)])
def test_label_images(
    tmp_path: Path, version: labels.Version, has_unit: bool, shape: tuple[int, ...]
) -> None:
    labels.create(
        str(tmp_path),
        shape=shape,
        dtype="uint32",
        voxel_size=(2.0, 0.5, 0.5) if has_unit else None,
        factors=[(1, 1, 1), (1, 2, 2)],
        names=("cells", "nuclei"),
        version=version,
        source="../..",
    )
    kinds = ["image", "label"]
    assert described(tmp_path, version) == {"cells": kinds, "nuclei": kinds}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("colors", []),
        ("colors", [{"label-value": 1, "rgba": [0, 0, 256, 0]}]),
        ("properties", [{"area": 1}]),
        ("source", {"image": 1}),
    ],
)
def test_a_fault_in_a_label_image_is_seen(
    tmp_path: Path, version: labels.Version, key: str, value: Any
) -> None:
    labels.create(
        str(tmp_path),
        shape=(4, 40, 50),
        dtype="uint32",
        voxel_size=None,
        factors=[(1, 1, 1)],
        version=version,
    )
    group = zarr.open_group(tmp_path / "cells", mode="r+")
    attributes: Any = group.attrs.asdict()
    attributes.get("ome", attributes)["image-label"][key] = value
    with pytest.raises(ValidationError):
        check(attributes, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_results_and_the_image_they_are_copied_into(
    tmp_path: Path, tiny_model: Path, version: labels.Version
) -> None:
    image = placed(tmp_path / "image.zarr", version)
    more = {"ome_zarr_version": version, "labels_in": "image"}
    segmented(tiny_model, image, tmp_path / "out", **more)
    kinds = ["image", "label"]
    assert described(tmp_path / "out" / "labels.zarr", version) == {"cells": kinds}
    inside = described(image, version)
    assert inside.pop(".") == ["image"]
    assert list(inside.values()) == [kinds]


@pytest.mark.parametrize("version", VERSIONS)
def test_crops(tmp_path: Path, command: Terapose, version: labels.Version) -> None:
    image, out = placed(tmp_path / "image.zarr", version), tmp_path / "part.zarr"
    region = ",".join(f"0:{size}" for size in open_image(image).shape)
    said = command("crop", image, out, "--region", region)
    assert said.code == 0, said.err
    assert described(out, version) == {".": ["image"]}


@pytest.mark.parametrize("channels", [1, 2])
def test_simulated_images(tmp_path: Path, channels: int) -> None:
    scene = Scene(shape=(4, 60, 50), seed=1, channels=channels)
    image, truth = write(scene, tmp_path / "a.zarr")
    assert described(image, "0.5") == {".": ["image"]}
    assert described(truth, "0.5") == {"nuclei": ["image", "label"]}


def test_what_the_viewer_serves(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(), metadata={"axes": "ZYX"})
    served = Served(Pixels((open_image(tmp_path / "a.tif"),), 1, 3), "a")
    document = json.loads(served.get("zarr.json") or b"")
    assert check(document["attributes"], "0.5") == ["image"]
