"""Results take the place of results, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

from terapose.core.errors import InputError
from terapose.results.earlier import GOING, RECORD, announce, refuse_foreign

PLANES = 3
FOREIGN = "although nothing says that Terapose has written it"
NAMES = ["labels.zarr", "cells.csv", "thumbnails.zarr", "cell.tif"]
RECORDED = {"tables": ["cells.csv"], "masks": ["cell.tif"], "thumbnails": "thumbnails.zarr"}


@pytest.fixture
def planes(tmp_path: Path) -> Path:
    """A folder with an image of several files, and a mask of its tissue."""
    folder = tmp_path / "planes"
    folder.mkdir()
    for z, plane in enumerate(nuclei((PLANES, 24, 28))[0]):
        write_tiff(folder / f"p_{z}.tif", plane.astype(np.uint16))
    write_tiff(folder / "tissue.tif", np.ones((PLANES, 24, 28), np.uint8))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("mask", "how"),
    [("p_1.tif", FOREIGN), ("tissue.tif", "would be overwritten by the results")],
)
@pytest.mark.parametrize("name", ["segment", "check"])
def test_what_a_run_reads_is_not_replaced(
    command: Terapose, planes: Path, tiny_model: Path, mask: str, how: str, name: str
) -> None:
    before = content(planes)
    said = command.refuses(
        *(name, planes / "p_{z}.tif", *((planes,) if name == "segment" else ("--output", planes))),
        *("--stack", "--model", tiny_model),
        *("--mask-tiff", mask, "--region", planes / "tissue.tif"),
    )
    assert how in said and str(planes / mask) in said
    assert content(planes) == before


@pytest.mark.parametrize("name", ["labels.zarr", "cells.csv", "cell.tif"])
def test_what_others_wrote_is_not_replaced(
    command: Terapose, planes: Path, tmp_path: Path, tiny_model: Path, name: str
) -> None:
    out = tmp_path / "out"
    mine = out / name / "mine" if name.endswith(".zarr") else out / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    words = (planes / "p_{z}.tif", out, "--stack", "--model", tiny_model)
    said = command.refuses("segment", *words, "--mask-tiff", "cell.tif", "--table", "csv")
    assert FOREIGN in said and f"{out / name}: " in said
    assert mine.read_text() == "mine" and list(out.iterdir()) == [out / name]


@pytest.mark.parametrize("file", [RECORD, GOING])
def test_a_record_and_a_note_say_what_is_known(tmp_path: Path, file: str) -> None:
    there = [tmp_path / name for name in NAMES]
    for path in there:
        path.touch()
    with pytest.raises(InputError, match=FOREIGN):
        refuse_foreign(tmp_path, NAMES)
    refuse_foreign(tmp_path, ["cells.parquet"])
    # a note is of what is not there yet
    with pytest.raises(InputError, match=FOREIGN):
        announce(tmp_path, RECORDED)
    assert sorted(tmp_path.iterdir()) == sorted(there)
    for path in there:
        path.unlink()
    announce(tmp_path, RECORDED)
    for path in there:
        path.touch()
    (tmp_path / GOING).rename(tmp_path / file)
    refuse_foreign(tmp_path, NAMES)
    (tmp_path / "nucleus.ome.tif").touch()
    with pytest.raises(InputError, match=r"got nucleus\.ome\.tif, and no"):
        refuse_foreign(tmp_path, [*NAMES, "nucleus.ome.tif"])
    # another note leaves out nothing that may be there
    (tmp_path / "nucleus.ome.tif").unlink()
    announce(tmp_path, {"masks": ["nucleus.ome.tif"]})
    (tmp_path / "nucleus.ome.tif").touch()
    refuse_foreign(tmp_path, [*NAMES, "nucleus.ome.tif"])
