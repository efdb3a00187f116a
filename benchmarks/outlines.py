"""Memory, time and size of GeoJSON of many cells, plain or packed.

No image is segmented: rings of 24 corners and a table of eight measurements are made up, in batches
of 65,536 cells as **finish** has them, and written with `terapose.io.tables.geojson`.

    PYTHONPATH=bin:. python -m benchmarks.outlines --cells 10000000 --folder /tmp
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from terapose.core.tables import Table
from terapose.io.tables.geojson import write_geojson

BATCH = 65_536
CORNERS = 24
COLUMNS = ("X_centroid", "Y_centroid", "Area", "MajorAxisLength", "Eccentricity", "Solidity")


def batches(cells: int) -> Iterator[tuple[Table, Table]]:
    """Tables and rings of cells."""
    rng = np.random.default_rng(0)
    for first in range(1, cells + 1, BATCH):
        ids = np.arange(first, min(first + BATCH, cells + 1))
        table: Table = {"CellID": ids, **{name: rng.uniform(0, 500, len(ids)) for name in COLUMNS}}
        rings: Table = {
            "id": ids,
            **{name: np.zeros(len(ids), np.int64) for name in ("kind", "plane", "polygon")},
            "end": np.arange(1, len(ids) + 1) * CORNERS,
            "corner": rng.integers(0, 100_000, (len(ids) * CORNERS, 2)).astype(np.int32),
        }
        yield table, rings


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000_000)
    parser.add_argument("--name", default="cells.geojson.gz")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / given.name
    start = time.monotonic()
    write_geojson(path, batches(given.cells), "sample", planes=1)
    found = {
        "cells": given.cells,
        "seconds": round(time.monotonic() - start, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "file_mb": round(path.stat().st_size / 1e6),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
