"""Settings that tests of trainings share, and results that tests of viewers do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.in_image import segmented
from tests.synthetic import nuclei, write_ome_zarr

from terapose.pipeline import planning


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are slower on several threads, and much slower on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of a volume in OME-Zarr, with all axes, and of a plane in TIFF.

    Files of the volume's labels contain several chunks.
    """
    folder = tmp_path_factory.mktemp("viewed")
    voxels = nuclei((6, 60, 70))[0]
    image = write_ome_zarr(
        folder / "volume.zarr",
        np.stack([voxels[::-1], voxels])[None],
        axes="tczyx",
        voxel_size=(2.0, 0.5, 0.5),
        channel_names=["actin", "DNA"],
        translations=[(10.0, -3.0, 7.5)],
        chunks=(1, 1, 4, 32, 32),
    )
    # planes that are joined: views along Y and X would cost a hundred tiles, and show the same
    stitched = {"mode": "stitch", "channels": (2,), "diameter": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "CHUNKS", (4, 32, 32))
        shards = {"label_files": "shards"}
        segmented(Path("nuclei-small"), image, folder / "volume", **stitched, **shards)
    tifffile.imwrite(folder / "plane.tif", voxels[3], metadata={"axes": "YX"})
    plane = folder / "plane.tif"
    given = {"table": "csv", "diameter": 10, "ome_zarr_version": "0.4"}
    segmented(Path("nuclei-small"), plane, folder / "plane", **given)
    return folder
