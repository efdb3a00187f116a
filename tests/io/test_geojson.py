"""Outlines as GeoJSON: measurements are those of the table, wherever a cell is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from terapose.core.tables import Table
from terapose.io.tables.geojson import write_geojson

CORNERS = np.array([[0, 0], [0, 2], [2, 2], [2, 0]], np.int32)


@pytest.mark.parametrize("far", [0, 90, 1234, 123_456, 98_765_432])
def test_positions_keep_their_fractions(tmp_path: Path, far: int) -> None:
    """A slide of 100,000 pixels and more: six digits of a position would be whole pixels."""
    ids, fractions = np.arange(1, 4), np.array([1 / 3, 0.0625, 0.99994])
    table: Table = {
        "CellID": ids,
        "DNA": np.array([1 / 3, 54321.987, 2e-7], np.float32),
        "X_centroid": far + fractions,
        "Y_centroid_um": far - fractions,
        "Area": ids * 7,
    }
    rings: Table = {
        **{name: np.zeros(3, np.int64) for name in ("kind", "plane", "polygon")},
        "id": ids,
        "end": ids * 4,
        "corner": np.tile(CORNERS, (3, 1)) + far,
    }
    write_geojson(tmp_path / "c.geojson", [(table, rings)], "slide", planes=1)
    text = (tmp_path / "c.geojson").read_text(encoding="utf-8")
    found = [one["properties"]["measurements"] for one in json.loads(text)["features"]]
    for name in ("X_centroid", "Y_centroid_um"):
        np.testing.assert_allclose([one[name] for one in found], table[name], rtol=0, atol=5e-5)
        # files stay small: no digit that means nothing
        assert all(len(repr(one[name]).partition(".")[2]) <= 6 for one in found)
    assert [one["DNA"] for one in found] == [0.333333, 54322.0, 2e-7]
    assert [one["Area"] for one in found] == [7, 14, 21]
