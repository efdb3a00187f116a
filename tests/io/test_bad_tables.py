"""Tables that spreadsheets and people write: read, or refused in one sentence."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

from terapose.core.errors import InputError
from terapose.io.listing import listed
from terapose.io.markers import read_markers
from terapose.io.tables.writers import write_table


@pytest.mark.parametrize(
    "text",
    [
        "marker_name,,\nDNA,,\nCD3,,\n",
        "marker_name,note,,,\nDNA,x,,,\nCD3,,,,,,,\n",
        'channel_number,marker_name,"",\n1,DNA,"",\n2,CD3,"",\n',
        ",marker_name\n,DNA\n,CD3\n",
        "marker_name;;\nDNA;;\nCD3\n",
    ],
)
def test_markers_with_spare_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "markers.csv"
    path.write_text(text)
    assert read_markers(path, 2, "image") == ("DNA", "CD3")


@pytest.mark.parametrize(
    "text",
    [
        "marker_name\nDNA,spare\nCD3\n",
        "marker_name,marker_name\nDNA,DNA\nCD3,CD3\n",
        'marker_name\n"DNA\nCD3\n',
        'marker_name\n""\nCD3\n',
        "marker_name,channel_number\nDNA,1e999\nCD3,nan\n",
        "marker_name,channel_number\nDNA,%s\nCD3,2\n" % ("9" * 5000),
        "\0marker_name\nDNA\nCD3\n",
        '"' + "x" * 200_000 + "\n",
        "",
        "\n\n,,,\n",
    ],
)
def test_markers_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "markers.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_markers(path, 2, "image")
    assert str(path) in str(caught.value) and len(str(caught.value)) < 4000


@pytest.fixture
def sheet(tmp_path: Path) -> Callable[[str], list[tuple[str, str, dict[str, str]]]]:
    """Read a samplesheet of these lines."""
    write_tiff(tmp_path / "image.tif", nuclei((1, 24, 28))[0])

    def read(text: str) -> list[tuple[str, str, dict[str, str]]]:
        path = tmp_path / "sheet.csv"
        path.write_text(text)
        return [
            (name, Path(image).name, dict(own))
            for name, image, own in listed(str(path), stack=False).samples
        ]

    return read


@pytest.mark.parametrize(
    "text",
    [
        'sample,image\n"a","image.tif"\n',
        'sample,image,""\na,image.tif,""\n',
        'sample,image\n"",""\na,image.tif\n',
        'sample,image,diameter\na,image.tif,""\n',
        "sample,image,,,\na,image.tif,,,\n",
    ],
)
def test_samplesheets_with_empty_quotes(
    sheet: Callable[[str], list[tuple[str, str, dict[str, str]]]], text: str
) -> None:
    assert sheet(text) == [("a", "image.tif", {})]


@pytest.mark.parametrize(
    "text",
    [
        'sample,image\n"",image.tif\n',
        'sample,image\na,""\n',
        '"",""\na,image.tif\n',
        'sample,image\n"a,image.tif\n',
        "sample,image\na,image.tif,spare\n",
        'sample,image,""\na,image.tif,spare\n',
        "sample,image\n%s,image.tif\n" % ("x" * 5000),
    ],
)
def test_samplesheets_that_are_none(
    sheet: Callable[[str], list[tuple[str, str, dict[str, str]]]], text: str
) -> None:
    with pytest.raises(InputError) as caught:
        sheet(text)
    assert len(str(caught.value)) < 4000


@pytest.mark.parametrize("at", [0, 1, 11, 20, 30])
@pytest.mark.parametrize("size", [0, 100_000])
def test_a_nul_is_said_and_not_taken_for_utf16(tmp_path: Path, at: int, size: int) -> None:
    text = "sample,image,series\na,image.tif,Zoë\nb,image.tif,%s\n" % ("x" * size)
    path = tmp_path / "sheet.csv"
    path.write_text(f"{text[:at]}\0{text[at:]}" if size == 0 else f"{text}{'y' * at}\0")
    line = (2 if at > 19 else 1) if size == 0 else 4
    wanted = f"contains a NUL character; got one in line {line}; allowed: a CSV file in UTF-8"
    with pytest.raises(InputError, match=wanted):
        listed(str(path), stack=False)


@pytest.mark.parametrize("sign", "\n\x1f\x7f\u2028\u2029\u202e\u2067\u200b\ufeff")
@pytest.mark.parametrize("column", [0, 1])
def test_signs_that_nobody_sees(
    sheet: Callable[[str], list[tuple[str, str, dict[str, str]]]], sign: str, column: int
) -> None:
    names = ["sample", "image.tif"]
    names[column] = f"a{sign}b"
    with pytest.raises(InputError, match="a name contains control characters; got "):
        sheet('sample,image\n"{}","{}"\n'.format(*names))


def test_names_that_a_spreadsheet_would_calculate(tmp_path: Path) -> None:
    names = ["=1+1", "+CD3", "-CD4", "@SUM(A1)", "DNA", "a=b", "'=x"]
    columns = {"CellID": np.array([1, 2]), **{n: np.array([-1.5, 2.0]) for n in names}}
    paths = {kind: tmp_path / f"cells.{kind}" for kind in ("csv", "parquet")}
    write_table([{**columns, "X_centroid": np.zeros(2)}], paths, "s", "cells")
    with paths["csv"].open(newline="") as file:
        header, first, _ = csv.reader(file)
    assert header[1:-1] == ["'=1+1", "'+CD3", "'-CD4", "'@SUM(A1)", "DNA", "a=b", "'=x"]
    # numbers stay numbers
    assert first[1:-1] == ["-1.5"] * len(names)
    table: pa.Table = pyarrow.parquet.read_table(paths["parquet"])
    assert table.column_names[1:-1] == names


def test_each_heading_is_there_once(tmp_path: Path) -> None:
    """An apostrophe before a name may make it that of another channel."""
    names = ["'=x", "=x", "''=x", "-a", "'-a"]
    columns = {name: np.array([number]) for number, name in enumerate(names)}
    write_table([columns], {"csv": tmp_path / "cells.csv"}, "s", "cells")
    with (tmp_path / "cells.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert header == ["'=x", "'''=x", "''=x", "''-a", "'-a"] and row == list("01234")


@pytest.mark.parametrize(
    "content",
    [
        b"PAR1" + bytes(100) + b"PAR1",
        b"CellID,X_centroid,Y_centroid\n1,x,y\n",
        b"CellID,X_centroid,Y_centroid\n1,nan,1e999\n",
        b"CellID,X_centroid,Y_centroid\n" + b"9" * 400 + b",1,1\n",
        b"CellID,X_centroid,Y_centroid\n1,1\n1,2,3,4,5\n",
        b"\xff\xfe\x00",
        b"CellID,CellID,X_centroid\n1,2,3\n",
        b"",
        None,
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_cells(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | None,
    suffix: str,
) -> None:
    image, table = tmp_path / "image.tif", tmp_path / f"cells.{suffix}"
    write_tiff(image, nuclei((1, 24, 28))[0])
    if content is None:
        table.mkdir()
    else:
        table.write_bytes(content)
    said = Terapose(monkeypatch, capsys).refuses(
        "cut", image, "-", table, tmp_path / "cells.zarr", "--window-size", 9
    )
    assert str(table) in said
    assert not (tmp_path / "cells.zarr").exists()
