"""What the metadata of an image name lies in its own folder, or is not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tests.synthetic import write_ome_zarr

from terapose.core.errors import InputError
from terapose.io.images.array_like import open_labels
from terapose.io.images.opening import open_image

OUTSIDE = "lead to an array outside the image's own folder, which is not followed; got "


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of one level, and an array beside it."""
    path = tmp_path / "in/a.zarr"
    path.parent.mkdir()
    write_ome_zarr(path, np.zeros((4, 8, 8), np.uint8))
    zarr.create_array(tmp_path / "secret", data=np.ones((4, 8, 8), np.uint8))
    return path


def edited(path: Path, **changed: Any) -> None:
    document = path / "zarr.json"
    node = json.loads(document.read_text())
    node["attributes"]["ome"].update(changed)
    document.write_text(json.dumps(node))


def multiscales(path: Path, name: str) -> list[Any]:
    found = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    found[0]["datasets"][0]["path"] = name
    return list(found)


@pytest.mark.parametrize(
    "name", ["../../secret", "0/../../../secret", "/secret", "file:///etc/0", "..\\secret", ".."]
)
def test_levels(image: Path, name: str) -> None:
    edited(image, multiscales=multiscales(image, name))
    with pytest.raises(InputError, match=OUTSIDE):
        open_image(image)


@pytest.mark.parametrize("name", ["../in/a.zarr", "./0/..", "x"])
def test_series(image: Path, name: str) -> None:
    group = image.parent / "b.zarr"
    zarr.create_group(group, attributes={"ome": {"bioformats2raw.layout": 3, "series": [name]}})
    (group / "x").symlink_to(image)
    with pytest.raises(InputError, match=OUTSIDE):
        open_image(group)


def test_links(image: Path, tmp_path: Path) -> None:
    (image / "link").symlink_to(tmp_path / "secret")
    edited(image, multiscales=multiscales(image, "link"))
    with pytest.raises(InputError, match=OUTSIDE + "link;"):
        open_image(image)


def test_links_that_stay_inside(image: Path, tmp_path: Path) -> None:
    (image / "link").symlink_to(image / "0" if (image / "0").exists() else image / "s0")
    edited(image, multiscales=multiscales(image, "link"))
    (tmp_path / "b.zarr").symlink_to(image)
    for path in (image, tmp_path / "b.zarr"):
        assert open_image(path).shape == (4, 8, 8)


def test_wells(image: Path) -> None:
    plate = {"wells": [{"path": "../a.zarr"}]}
    group = image.parent / "p.zarr"
    zarr.create_group(group, attributes={"ome": {"plate": plate}})
    with pytest.raises(InputError, match=OUTSIDE):
        open_image(group)


def test_labels(image: Path) -> None:
    group = image.parent / "labels.zarr"
    zarr.create_group(group, attributes={"ome": {"labels": ["../a.zarr"]}})
    with pytest.raises(InputError, match=OUTSIDE):
        open_labels(group)
