"""Images with a place of their own, and results of them, whose labels go into the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.runner import segment_file
from terapose.core.params import check

VERSIONS = ("0.4", "0.5")
DOCUMENT = {"0.5": "zarr.json", "0.4": ".zattrs"}
SHAPE = (6, 24, 40)
SIZE = (2.0, 0.5, 0.5)
PLACE = (10.0, -3.0, 7.5)


class Killed(BaseException):
    """A run that ends where it is."""


def pixels() -> np.ndarray:
    """What is segmented."""
    return nuclei(SHAPE)[0].astype(np.uint16)


def placed(path: Path, version: Any = "0.5", **more: Any) -> Path:
    """An image that does not begin at 0."""
    given: dict[str, Any] = {
        "version": version,
        "voxel_size": SIZE,
        "translations": [PLACE],
        **more,
    }
    return write_ome_zarr(path, pixels(), **given)


def segmented(model: Path, image: Path, out: Path, **params: Any) -> Path:
    """Results of an image."""
    given = {"model": str(model), "cellprob_threshold": -0.5, **params}
    segment_file(str(image), out, check(given))
    return out


def labels_of(group: Path) -> np.ndarray:
    """The finest level of a label image."""
    return np.asarray(zarr.open_array(group / "0", mode="r")[:])


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def listed(image: Path, version: str = "0.5") -> list[str]:
    """The label images that an image lists."""
    path = image / "labels" / DOCUMENT[version]
    if not path.exists():
        return []
    document = json.loads(path.read_text())
    found: list[str] = (document["attributes"]["ome"] if version == "0.5" else document)["labels"]
    return found


def other(image: Path, version: Any = "0.5", name: str = "nuclei_by_hand") -> Path:
    """A label image that somebody else has put into an image."""
    made = write_ome_zarr(image.parent / "others.zarr", np.ones(SHAPE, np.uint8), version=version)
    group = zarr.open_group(made, mode="r+")
    if version == "0.5":
        group.attrs["ome"] = {**group.attrs["ome"], "image-label": {"version": version}}  # type: ignore[dict-item]
    else:
        group.attrs["image-label"] = {"version": version}
    about: Any = {"labels": [name]}
    attributes = {"ome": {"version": version, **about}, "mine": 1} if version == "0.5" else about
    zarr.create_group(
        image / "labels", zarr_format=3 if version == "0.5" else 2, attributes=attributes
    )
    made.rename(image / "labels" / name)
    return image / "labels" / name
