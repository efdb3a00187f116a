"""Tables that people hand in as text, in the forms in which spreadsheets write them.

1. Encoding: a byte order mark shows it. Without one it is UTF-16 where many of the second or of the
   first of two bytes are 0, else UTF-8. What is not valid in it is refused, and so is a NUL, which
   no table contains: other encodings cannot be distinguished.
2. Separator: a first line ``sep=;``, as Excel has it, names it. Else it is the one of comma,
   semicolon and tab with which the first line has most of the columns that are known.
3. Blank lines, and lines of nothing but separators, do not count.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terapose.core.errors import InputError
from terapose.core.near import plain
from terapose.io.documents import read_document, refuse_special

_SEPARATORS = ",;\t"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; that of UTF-32 begins like that of UTF-16, so it comes before it."""
_HEAD = 2**16
_UTF16 = 8
"""In UTF-16 at least one of so many characters is a separator, a line break or a Latin letter."""


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes
    ----------
    encoding
        As Python calls it.
    separator
        Of columns.
    skipped
        Lines before the header.
    """

    encoding: str
    separator: str
    skipped: int = 0


@dataclass(frozen=True)
class TextTable:
    """Lines of a table that are not blank; the first one may be a header.

    Attributes
    ----------
    lines
        Fields of each line, without blanks around them, up to the last one that is not empty.
    numbers
        Of the lines in the file, from 1.
    separator
        What is between two fields.
    """

    lines: list[list[str]]
    numbers: list[int]
    separator: str


def dialect_of(path: Path, known: Sequence[str]) -> Dialect:
    """Find out how a table is written, from its beginning.

    Parameters
    ----------
    path
        Local file.
    known
        Names of columns that it may have.

    Raises
    ------
    InputError
        If it is a workbook of a spreadsheet or an archive, or contains a NUL in its beginning.
    OSError
        If it cannot be read.
    """
    refuse_special(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(
            "is a workbook or an archive, not a table as text",
            where=path,
            allowed="a CSV file",
            remedy="in the spreadsheet, save it as CSV (UTF-8)",
        )
    encoding = _encoding(head)
    text = head.decode(encoding, errors="ignore")
    _refuse_nul(path, text)
    return _dialect(text, encoding, known)


def read_table(path: Path, known: Sequence[str]) -> TextTable:
    """Read a small table.

    Parameters
    ----------
    path
        Local file.
    known
        Names of columns that it may have.

    Raises
    ------
    InputError
        If it cannot be read, or is no text in one of the forms above.
    """
    try:
        dialect = dialect_of(path, known)
        content = read_document(path).decode(dialect.encoding)
        _refuse_nul(path, content)
        lines, numbers = _lines(content, dialect)
    except OSError as error:
        raise InputError("cannot be read", where=path, got=error.strerror) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "is not a table as text",
            where=path,
            got=str(error),
            allowed="a CSV file in UTF-8",
            remedy="in the spreadsheet, save it as CSV (UTF-8)",
        ) from error
    return TextTable(lines, numbers, dialect.separator)


def _lines(content: str, dialect: Dialect) -> tuple[list[list[str]], list[int]]:
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=dialect.separator,
        skipinitialspace=True,
        strict=True,
    )
    lines, numbers = [], []
    for line in reader:
        # a blank between quotes is no blank line, but a name that is missing
        if not any(line) or reader.line_num <= dialect.skipped:
            continue
        fields = [field.strip() for field in line]
        while len(fields) > 1 and not fields[-1]:
            fields.pop()
        lines.append(fields)
        numbers.append(reader.line_num)
    return lines, numbers


def _encoding(head: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    # of most letters the high byte is 0: the second one, or the first one
    high, low = head[1::2].count(0), head[::2].count(0)
    if max(high, low) * _UTF16 < len(head) // 2 or 0 not in head:
        return "utf-8"
    return "utf-16-le" if high >= low else "utf-16-be"


def _refuse_nul(path: Path, text: str) -> None:
    """Refuse a NUL character: a damaged file, or text in an encoding that cannot be recognised."""
    before, nul, _ = text.partition("\0")
    if nul:
        raise InputError(
            "contains a NUL character",
            where=path,
            got=f"one in line {before.count(chr(10)) + 1}",
            allowed="a CSV file in UTF-8",
            remedy="in the spreadsheet, save it as CSV (UTF-8)",
        )


def _dialect(text: str, encoding: str, known: Sequence[str]) -> Dialect:
    lines = text.splitlines()
    first = lines[0].strip(" ").strip('"') if lines else ""
    if first.casefold().startswith("sep=") and first[4:] in tuple(_SEPARATORS):
        return Dialect(encoding, first[4:], skipped=1)
    header = next((line for line in lines if line.strip(f"{_SEPARATORS} ")), "")
    names = {plain(name) for name in known}

    def fit(separator: str) -> tuple[int, int]:
        fields = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return sum(plain(field) in names for field in fields), len(fields)

    return Dialect(encoding, max(_SEPARATORS, key=fit))


def as_cell(text: str) -> str:
    """A text as a cell of a CSV file, or a heading.

    A spreadsheet would evaluate what begins like a formula: an apostrophe makes it text.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
