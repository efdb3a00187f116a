"""Tables of markers in every form that has one meaning, and a sentence for the others."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pandas as pd
import pytest

from terapose.core.errors import InputError
from terapose.io.markers import read_markers

NAMES = ("DNA 1", "CD3, low", "\N{GREEK SMALL LETTER ALPHA}-SMA; µ", "CD8")
PLAIN = ("DNA", "CD3", "CD8")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def read(tmp_path: Path, text: str | bytes, channels: int = 3) -> tuple[str, ...]:
    path = tmp_path / "markers.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_markers(path, channels, "slide.tif")


@pytest.mark.parametrize(
    ("encoding", "separator", "end"),
    [*itertools.product(ENCODINGS, ",;\t", ("\n", "\r\n", "\r"))],
)
def test_as_spreadsheets_write_it(tmp_path: Path, encoding: str, separator: str, end: str) -> None:
    path = tmp_path / "markers.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator=end)
        writer.writerow(["channel_number", "cycle_number", "marker_name"])
        writer.writerows((n, 1, name) for n, name in enumerate(NAMES, 1))
    assert read_markers(path, 4, "slide.tif") == NAMES


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_as_pandas_writes_it(tmp_path: Path, separator: str) -> None:
    frame = pd.DataFrame({"channel": [2.0, 1.0, 3.0, 4.0], "marker_name": [*NAMES]})
    frame.to_csv(tmp_path / "markers.csv", sep=separator)
    found = read_markers(tmp_path / "markers.csv", 4, "slide.tif")
    assert found == (NAMES[1], NAMES[0], *NAMES[2:])


@pytest.mark.parametrize(
    "text",
    [
        "DNA\nCD3\nCD8\n",
        "DNA\r\nCD3\r\nCD8",
        "\n DNA\n\nCD3 \n\nCD8\n\n",
        "DNA;\nCD3;\nCD8;\n",
        '"DNA"\n"CD3"\n"CD8"\n',
        "marker_name\nDNA\nCD3\nCD8\n",
        "Marker Name\nDNA\nCD3\nCD8\n",
        "MARKER-NAME,\nDNA,\nCD3,\nCD8,\n",
        "marker\nDNA\nCD3\nCD8\n",
        "Name;cycle\nDNA;1\nCD3;1\nCD8;2\n",
        "channel_name\tx\nDNA\t1\nCD3\t1\nCD8\t2\n",
        "channel\nDNA\nCD3\nCD8\n",
        "sep=;\nchannel_number;marker_name\n1;DNA\n2;CD3\n3;CD8\n",
        '"sep=;"\r\nchannel_number;marker_name\r\n1;DNA\r\n2;CD3\r\n3;CD8\r\n',
        "channel_number,marker_name\n3,CD8\n1,DNA\n2,CD3\n",
        "channel,marker_name\n3.0,CD8\n1.0,DNA\n2.0,CD3\n",
        "channel,marker_name\nDAPI,DNA\nFITC,CD3\nCy5,CD8\n",
        "channel_number,marker_name\n,DNA\n,CD3\n,CD8\n",
        "name,marker_name\na,DNA\nb,CD3\nc,CD8\n",
        "channel_number,marker_name\n1,DNA\n\n2,CD3\n,,\n3,CD8\n,\n",
        'channel_number, marker_name\n1, "DNA"\n2, "CD3"\n3,\tCD8\n',
        "channel_number,marker_name,remark\n1,DNA\n2,CD3,dim\n3,CD8,,,\n",
    ],
)
def test_forms_with_one_meaning(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == PLAIN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a table of markers; got columns none; allowed: a CSV file with the column"),
        ("DNA\nCD3\n", "got 2 lines without a header for 3 channels; .* write marker_name above"),
        ("DNA,CD3,CD8\n", "got columns DNA, CD3, CD8; .* write marker_name above the names"),
        ("1,DNA\n2,CD3\n3,CD8\n", "got columns 1, DNA; .* write marker_name above the names"),
        ("makrer_name\nDNA\nCD3\n", "got columns makrer_name; .* write marker_name above"),
        ("channel_number,cycle\n1,1\n2,1\n3,2\n", "has no column with the names of markers; got"),
        ("marker,name\nDNA,a\nCD3,b\nCD8,c\n", "several columns .* call the column .* marker_name"),
        ("marker_name\nDNA\nCD3, low\nCD8\n", "line 3: a line has more fields than the header; go"),
        (
            "channel_number,marker_name\n0,a\n1,b\n2,c\n",
            "do not run from 1; got 0, 1, 2; .* or l",
        ),
        ("channel_number,marker_name\n1,a\n2,b\n3,c\n3,c\n", "do not run from 1; got 1, 2, 3, 3"),
        ("channel_number,marker_name\n1,a\n0_2,b\n3,c\n", "do not run from 1; got 1, 0_2, 3"),
        ("channel_number,marker_name\na,a\nb,b\nc,c\n", "do not run from 1; got a, b, c"),
        ("channel,marker_name\n405,a\n488,b\n561,c\n", "do not run from 1; got 405, 488, 561"),
        ('marker_name\na\n" "\nc\n', "a marker has no name; got none for 2"),
        ('a\n" "\nc\n', "a marker has no name; got none for 2"),
        ("marker_name\na\nb\nc\nd\n", "does not fit the image; got 4 markers; allowed: 3, one for"),
        ("cycle,marker_name\n1,a\n1,\n1,c\n", "a marker has no name; got none for 2; .* fill the"),
        ('marker_name\n"DNA\nCD3\nCD8\n', "is not a table as text; got unexpected end of data"),
        (b"marker_name\n\xe1\nb\nc\n", "is not a table as text; .* CSV file in UTF-8"),
        (b"PK\x03\x04\x14\x00", "is a workbook or an archive, .* save it as CSV"),
    ],
)
def test_a_sentence_for_the_others(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, text)


def test_a_workbook(tmp_path: Path) -> None:
    # any zip is one for this purpose: there is no writer of workbooks here
    import zipfile

    with zipfile.ZipFile(tmp_path / "markers.xlsx", "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InputError, match="is a workbook"):
        read_markers(tmp_path / "markers.xlsx", 3, "slide.tif")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read; got Is a directory"):
        read_markers(tmp_path, 3, "slide.tif")
