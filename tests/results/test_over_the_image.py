"""Results lie over the image: at its translation, and on the level that was segmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tests.fields import balls, prepared, run_stages, to_centres
from tests.synthetic import write_ome_zarr

from terapose.core.geometry import Box

SHAPE = (12, 60, 66)
SIZE = (2.0, 0.5, 0.5)


def transformations(address: str) -> list[list[dict[str, Any]]]:
    """What is done to the voxels of each level of a label image, in OME-Zarr 0.4 or 0.5."""
    attributes: Any = zarr.open_group(f"{address}/cells", mode="r").attrs
    multiscale = attributes.get("ome", attributes)["multiscales"][0]
    return [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("level", [0, 1])
def test_labels_and_positions_have_the_translation_of_the_level(
    tiny_model: Path, tmp_path: Path, version: str, level: int
) -> None:
    places = ((100.0, -20.0, 30.0), (100.0, -19.75, 30.25))
    image = np.zeros(SHAPE, np.uint8)
    write_ome_zarr(
        tmp_path / "image.zarr", image, voxel_size=SIZE, factors=(1, 2), translations=places
    )
    factor = 2**level
    shape = (SHAPE[0], SHAPE[1] // factor, SHAPE[2] // factor)
    plan, store = prepared(
        tmp_path, tiny_model, image, level=level, ome_zarr_version=version, anisotropy=1
    )
    assert plan.image.shape == shape
    store.write(
        "gradients-zy", Box.whole(shape), to_centres(balls(shape, seed=3, count=9, radius=6))
    )
    result = run_stages(plan, store)
    scale = np.array(SIZE) * (1, factor, factor)
    address = f"{store.address}/{result.states['relabel'].relabel}/labels.zarr"
    assert transformations(address)[0] == [
        {"type": "scale", "scale": scale.tolist()},
        {"type": "translation", "translation": list(places[level])},
    ]
    assert len(result.cells["CellID"]) > 2
    for n, axis in enumerate("ZYX"):
        np.testing.assert_allclose(
            result.cells[f"{axis}_centroid_um"],
            result.cells[f"{axis}_centroid"] * scale[n] + places[level][n],
        )
