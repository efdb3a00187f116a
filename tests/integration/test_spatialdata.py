"""A store of results in SpatialData itself, and in squidpy where it is there.

SPATIALDATA_PYTHON names a Python in which spatialdata is installed; it is not among Terapose's own
requirements.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.command import Terapose
from tests.results.test_spatial_data import segmented
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.runner import segment_file
from terapose.core.params import check

PYTHON = os.environ.get("SPATIALDATA_PYTHON")

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="SPATIALDATA_PYTHON names no Python with spatialdata"
)

_OPENS = """
import sys
import numpy as np
import spatialdata
from spatialdata import get_element_instances
store = spatialdata.read_zarr(sys.argv[1])
table, outlines = store.tables["cells_table"], store["outlines"]
element = store["cells"]
if type(element).__name__ == "DataTree":
    element = element["scale0"]["image"]
labels = np.asarray(element).astype(int)
ids = sorted(table.obs["CellID"])
assert len(ids) > 20 and ids == sorted(outlines.index)
assert ids == sorted(n for n in get_element_instances(store["cells"]) if n)
assert table.uns["spatialdata_attrs"]["region"] == "cells"
assert outlines.geometry.is_valid.all()
counts = np.bincount(labels.reshape(-1))
assert all(outlines.geometry.area.loc[n] == counts[n] for n in ids)
image = store["image"]
assert image.dims == ("c", "y", "x") and image.shape[1:] == labels.shape
assert list(image.coords["c"].values) == ["nuclei", "cell bodies"]
store.write(sys.argv[2])
try:
    import squidpy
except ImportError:
    print("without squidpy")
else:
    squidpy.gr.spatial_neighbors(table, coord_type="generic", n_neighs=4)
    assert table.obsp["spatial_connectivities"].shape == (len(ids), len(ids))
    print("with squidpy")
"""


def test_spatialdata_opens_the_store(tmp_path: Path, command: Terapose) -> None:
    words = ("spatialdata", segmented(tmp_path), tmp_path / "sd.zarr", "--copy-image")
    assert command(*words).code == 0
    stores = [str(tmp_path / name) for name in ("sd.zarr", "b.zarr")]
    opens = [str(PYTHON), "-W", "ignore", "-c", _OPENS, *stores]
    done = subprocess.run(opens, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)


_REFERENCE = """
import sys
import spatialdata
store = spatialdata.read_zarr(sys.argv[1])
assert not store.images and set(store.labels) >= {"cells"} and "outlines" in store.shapes
told = store.attrs["terapose"]["image"]
labels = store["cells"]
if type(labels).__name__ == "DataTree":
    labels = labels["scale0"]["image"]
assert told["address"] == sys.argv[2] and tuple(told["shape"])[1:] == labels.shape
assert told["channels"] == ["nuclei", "cell bodies"]
"""


def test_without_a_copy_the_store_says_where_the_image_is(
    tmp_path: Path, command: Terapose
) -> None:
    assert command("spatialdata", segmented(tmp_path), tmp_path / "sd.zarr").code == 0
    words = [str(tmp_path / name) for name in ("sd.zarr", "slide.ome.tif")]
    opens = [str(PYTHON), "-W", "ignore", "-c", _REFERENCE, *words]
    done = subprocess.run(opens, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


_VOLUME = """
import sys
import spatialdata
store = spatialdata.read_zarr(sys.argv[1])
labels, image = store["cells"], store["image"]
if type(labels).__name__ == "DataTree":
    labels = labels["scale0"]["image"]
assert labels.dims == ("z", "y", "x") and image.dims == ("c", "z", "y", "x")
assert image.shape[1:] == labels.shape == (10, 40, 44)
moved = spatialdata.transformations.get_transformation(store["image"])
assert list(moved.to_affine_matrix(("z", "y", "x"), ("z", "y", "x"))[:3, 3]) == [2, 5, 3]
assert sorted(store.tables["cells_table"].obs["CellID"])
"""


def test_a_region_of_a_volume(tmp_path: Path, command: Terapose) -> None:
    volume, _ = nuclei((14, 50, 60), spacing=12)
    image = write_ome_zarr(tmp_path / "volume.zarr", volume)
    params = check({"table": "csv,h5ad", "diameter": 12, "region": "2:12,5:45,3:47"})
    segment_file(str(image), tmp_path / "out", params)
    words = ("spatialdata", tmp_path / "out", tmp_path / "sd.zarr", "--copy-image")
    assert command(*words).code == 0
    opens = [str(PYTHON), "-W", "ignore", "-c", _VOLUME, str(tmp_path / "sd.zarr")]
    done = subprocess.run(opens, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
