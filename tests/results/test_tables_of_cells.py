"""Tables of cells in the forms that spreadsheets write; columns and channels that there are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from tests.command import Terapose

from terapose.core.errors import InputError
from terapose.results.thumbnails.chosen_cells import read_cells

SHAPE = (1, 40, 50)
FRAME = pd.DataFrame(
    {
        "CellID": [7, 3, 12],
        "DNA": [10.5, 1e3, 0.25],
        "X_centroid": [10.75, 3.5, 40.0],
        "Y_centroid": [20.25, 30.9, 5.0],
        "Name": ["a;b", "c,d", "\N{GREEK SMALL LETTER ALPHA}"],
    }
)


def same(table: Path | pd.DataFrame) -> None:
    cells = read_cells(table, SHAPE)
    assert cells.ids.tolist() == [7, 3, 12] and cells.boxes is None
    assert cells.centers.tolist() == [[0, 20, 10], [0, 30, 3], [0, 5, 40]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", ".")]
)
def test_as_spreadsheets_write_it(
    tmp_path: Path, encoding: str, separator: str, decimal: str
) -> None:
    path = tmp_path / "cells.csv"
    FRAME.to_csv(path, sep=separator, decimal=decimal, encoding=encoding)
    same(path)


def test_the_separator_may_be_told(tmp_path: Path) -> None:
    text = FRAME.to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "cells.csv").write_text(f"sep=;\n{text}")
    same(tmp_path / "cells.csv")


def test_rows_that_end_in_separators(tmp_path: Path) -> None:
    """Pandas would take the first field for an index, and read each column from the one beside."""
    lines = FRAME.to_csv(index=False).splitlines()
    path = tmp_path / "cells.csv"
    path.write_text("\n".join([lines[0], *(f"{line},," for line in lines[1:])]))
    same(path)
    path.write_text("\n".join([lines[0], *(f"{n},{line}" for n, line in enumerate(lines[1:]))]))
    with pytest.raises(InputError, match="more fields in its rows than columns in its header"):
        read_cells(path, SHAPE)


@pytest.mark.parametrize(
    "names", [str.lower, str.upper, lambda c: c.replace("_", " "), "{} ".format]
)
def test_names_of_columns_in_any_case(tmp_path: Path, names: Any) -> None:
    frame = FRAME.rename(columns=names)
    same(frame)
    frame.to_csv(tmp_path / "cells.csv")
    same(tmp_path / "cells.csv")
    frame.to_parquet(tmp_path / "cells.parquet")
    same(tmp_path / "cells.parquet")


@pytest.mark.parametrize("dtype", [str, object, "float32", "uint16", "Int64"])
def test_positions_of_any_type_count_from_the_region(dtype: Any) -> None:
    """Numbers that are text, or unsigned, are shifted like any others; boxes, too."""
    frame = pd.DataFrame(
        {
            "CellID": [7, 3],
            **{f"{axis}_centroid": [30, 25] for axis in "XYZ"},
            **{f"BoundingBox_{axis}{end}": [24 + 4 * end, 20] for axis in "zyx" for end in (0, 1)},
        }
    )
    frame.loc[1, [f"BoundingBox_{axis}1" for axis in "zyx"]] = 29
    positions = {name: frame[name].astype(dtype) for name in frame if name != "CellID"}
    cells = read_cells(frame.assign(**positions), (60, 60, 60), (0, 21, 22))
    assert cells.centers.tolist() == [[30, 9, 8], [25, 4, 3]]
    assert cells.boxes is not None
    assert cells.boxes.tolist() == [[24, 3, 2, 28, 7, 6], [20, -1, -2, 29, 8, 7]]
    # what is outside is named as the table has it
    with pytest.raises(InputError, match=r"got Y_centroid 25 of cell 3; allowed: 26 to 85,"):
        read_cells(frame.assign(**positions), (60, 60, 60), (0, 26, 22))


def test_the_very_name_comes_first(tmp_path: Path) -> None:
    frame = FRAME.assign(x_centroid=0, **{"Y Centroid": 0})
    frame.to_csv(tmp_path / "cells.csv")
    same(tmp_path / "cells.csv")
    # of two that are alike none is
    with pytest.raises(InputError, match="has no column X_centroid; got columns "):
        read_cells(frame.rename(columns={"X_centroid": "X_Centroid"}), SHAPE)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"X_centroid": "X_centre", "Y_centroid": "Y_centre"},
            "has no column X_centroid, Y_centroid; got columns CellID, DNA, X_centre, Y_centre, "
            "Name; allowed: a table with CellID, X_centroid, Y_centroid; if it contains these "
            "values, rename X_centre to X_centroid, Y_centre to Y_centroid",
        ),
        (
            {"X_centroid": "Centroid X", "Y_centroid": "Centroid Y", "CellID": "Cell"},
            "rename Cell to CellID, Centroid X to X_centroid, Centroid Y to",
        ),
        (
            {"CellID": "index"},
            "has no column CellID; got columns index, DNA, X_centroid, Y_centroid, Name; allowed: "
            "a table with CellID, X_centroid, Y_centroid; name the table of cells that belongs to",
        ),
    ],
)
def test_columns_that_there_are_not(tmp_path: Path, columns: dict[str, str], sentence: str) -> None:
    frame = FRAME.rename(columns=columns)
    frame.to_csv(tmp_path / "cells.csv", index=False)
    frame.to_parquet(tmp_path / "cells.parquet")
    for table in (frame, tmp_path / "cells.csv", tmp_path / "cells.parquet"):
        with pytest.raises(InputError) as caught:
            read_cells(table, SHAPE)
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cut", "IMAGE", "-", "TABLE", "out.zarr", "--channels", "dna"), "did you mean DNA?"),
        (("cut", "IMAGE", "-", "TABLE", "out.zarr", "--channels", "1,CD-3"), "did you mean CD3?"),
        (("cut", "IMAGE", "-", "TABLE", "out.zarr", "--channels", "FOXP3"), "check the spelling"),
        (("plan", "IMAGE", "--channels", "DNA "), None),
        (("plan", "IMAGE", "--channels", "DNA_1"), "did you mean DNA?"),
        (("plan", "IMAGE", "--measure", "DNA,CD3."), "did you mean CD3?"),
        (("segment", "IMAGE", "out", "--cell-channels", "Cd3"), "did you mean CD3?"),
        (("check", "IMAGE", "--model", "nuclei_smal"), "did you mean nuclei-small?"),
    ],
)
def test_names_of_channels_and_networks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite(
        "image.ome.tif",
        np.random.default_rng(1).integers(0, 99, (2, 40, 50)).astype(np.uint16),
        metadata={"axes": "CYX", "Channel": {"Name": ["DNA", "CD3"]}},
    )
    FRAME.to_csv("cells.csv")
    command = Terapose(monkeypatch, capsys)
    given = [{"IMAGE": "image.ome.tif", "TABLE": "cells.csv"}.get(w, w) for w in words]
    if said is None:
        assert command(*given).code == 0
    else:
        assert command.refuses(*given).endswith(said)
