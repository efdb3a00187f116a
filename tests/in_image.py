"""Images with a place of their own, and results of them, whose labels go into the image."""

from __future__ import annotations

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
