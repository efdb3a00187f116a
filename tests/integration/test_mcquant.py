"""The table of cells against the real MCQuant, on the real tonsil where it is there.

MCQUANT_HOME names a checkout of labsyspharm/quantification; no part of it is here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from terapose.api.runner import segment_file
from terapose.core.params import check

ROOT = Path(__file__).parents[2]
HOME = os.environ.get("MCQUANT_HOME")
DATA = Path(os.environ.get("TERAPOSE_DATA", ROOT / "../shared/data")) / "slide_tonsil"

pytestmark = pytest.mark.skipif(
    not HOME, reason="MCQUANT_HOME names no checkout of labsyspharm/quantification"
)


def tonsil(folder: Path) -> tuple[Path, Path]:
    """The registered image and names for its channels; where it is not there, a made-up slide."""
    image, markers = DATA / "tonsil_registered_12ch_rebuilt.ome.tif", folder / "markers.csv"
    if image.exists():
        names = [f"DNA\nmarker {n}\nempty" for n in range(4)]
        markers.write_text("marker_name\n" + "\n".join(names) + "\n")
        return image, markers
    rng = np.random.default_rng(4)
    values = rng.integers(0, 60_000, (3, 200, 220), np.uint16)
    y, x = np.indices((200, 220))
    values[0] = 200 + 900 * ((y % 25 - 12) ** 2 + (x % 25 - 12) ** 2 < 60)
    tifffile.imwrite(folder / "slide.ome.tif", values, metadata={"axes": "CYX"}, tile=(64, 64))
    markers.write_text("marker_name\nDNA\nCD3\nCD3\n")
    return folder / "slide.ome.tif", markers


@pytest.mark.parametrize("expand", [None, 3.0])
def test_equal_to_mcquant(tmp_path: Path, expand: float | None) -> None:
    image, markers = tonsil(tmp_path)
    params = {"markers": str(markers), "diameter": 10, "mode": "2d", "expand": expand}
    segment_file(str(image), tmp_path / "out", check({**params, "mask_tiff": "cell.ome.tif"}))
    (tmp_path / "mcquant").mkdir()
    names = {"cell": "cells"} | ({"nucleus": "nuclei", "cytoplasm": "cytoplasm"} if expand else {})
    for mask, table in names.items():
        words = ["--masks", tmp_path / "out" / f"{mask}.ome.tif", "--image", image]
        words += ["--channel_names", markers, "--output", tmp_path / "mcquant"]
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "mcquant.cli", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(HOME)},
            check=True,
            capture_output=True,
        )
        theirs = pd.read_csv(next((tmp_path / "mcquant").glob(f"*_{mask}.csv")))
        ours = pd.read_csv(tmp_path / "out" / f"{table}.csv")
        # MCQuant has no line for a cytoplasm without pixels
        ours = ours[ours["Area"] > 0].reset_index(drop=True)
        assert len(ours) > 50
        assert list(ours.columns[: len(theirs.columns)]) == list(theirs.columns)
        for column in theirs.columns:
            if column == "Orientation":
                # of a line, either end
                turn = np.abs(ours[column] - theirs[column])
                assert np.minimum(turn, np.pi - turn).max() < 1e-5
            else:
                np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-5, atol=1e-5)
