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
    assert command("spatialdata", segmented(tmp_path), tmp_path / "sd.zarr").code == 0
    stores = [str(tmp_path / name) for name in ("sd.zarr", "b.zarr")]
    words = [str(PYTHON), "-W", "ignore", "-c", _OPENS, *stores]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
