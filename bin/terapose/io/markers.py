"""Tables of markers: a name for each channel of an image, in the forms in which people have them.

The form is MCMICRO's: one channel a line, in the order of the image, with a column
``marker_name`` and, if it has one, ``channel_number`` (or ``channel``): then lines may come in any
order. ``marker``, ``name`` and ``channel_name`` replace ``marker_name`` where that is missing.
A file without a header is read where it has one field a line, and as many lines as the image has
channels. Separators and encodings are those of `terapose.io.text_tables`.
"""

from __future__ import annotations

from pathlib import Path

from terapose.core.errors import InputError
from terapose.core.near import nearest, plain
from terapose.core.param_types import is_plain
from terapose.io.text_tables import TextTable, read_table

NAME, *_OTHER_NAMES = ("marker_name", "marker", "name", "channel_name")
NUMBER, _OTHER_NUMBER = ("channel_number", "channel")
_KNOWN = (NAME, *_OTHER_NAMES, NUMBER, _OTHER_NUMBER)
_FORMS = f"a CSV file with the column {NAME}, one row per channel, or one name per line"


def read_markers(path: Path, channels: int, image: str) -> tuple[str, ...]:
    """Read the names of an image's channels.

    Parameters
    ----------
    path
        The table.
    channels
        Number of channels of the image.
    image
        Address of the image, for the message.

    Returns
    -------
    tuple of str
        Names in the order of the image.

    Raises
    ------
    InputError
        If the table cannot be read in one way only, or does not fit the image.
    """
    table = read_table(path, _KNOWN)
    if table.lines and _columns(table.lines[0], *_KNOWN):
        names = _with_header(path, table)
    else:
        names = _without_header(path, table, channels)
    if len(names) != channels:
        raise InputError(
            "the table of markers does not fit the image",
            where=path,
            got=f"{len(names)} markers",
            allowed=f"{channels}, one for each channel of {image}",
            remedy="write one line for each channel, in the order of the image",
        )
    if blank := [str(n) for n, name in enumerate(names, 1) if not name]:
        raise InputError(
            "a marker has no name",
            where=path,
            got=f"none for {', '.join(blank)}",
            allowed="a name for each channel",
            remedy=f"fill the column {NAME}, or give channels by number without markers",
        )
    return names


def _without_header(path: Path, table: TextTable, channels: int) -> tuple[str, ...]:
    """Names of a file of one name a line."""
    single = all(len(line) == 1 for line in table.lines)
    near = [nearest(field, _KNOWN) for field in table.lines[0]] if table.lines else []
    if single and len(table.lines) == channels and not any(near):
        return tuple(line[0] for line in table.lines)
    got = f"columns {', '.join(table.lines[0])}" if table.lines else "columns none"
    if single and table.lines and not any(near):
        got = f"{len(table.lines)} lines without a header for {channels} channels"
    raise InputError(
        "is not a table of markers",
        where=path,
        got=got,
        allowed=_FORMS,
        remedy=f"write {NAME} above the names",
    )


def _with_header(path: Path, table: TextTable) -> tuple[str, ...]:
    """Names of a table with a header, in the order of the channel numbers if it has any."""
    header, rows = table.lines[0], []
    for number, line in zip(table.numbers[1:], table.lines[1:], strict=True):
        if any(line[len(header) :]):
            raise InputError(
                "a line has more fields than the header",
                where=f"{path}, line {number}",
                got=table.separator.join(line),
                allowed=f"{len(header)} fields",
                remedy="put names that contain a separator in quotes",
            )
        rows.append([*line, *[""] * len(header)])
    names = [row[_name_column(path, header, rows)] for row in rows]
    order = _order(path, header, rows)
    return tuple(names if order is None else [names[n] for n in order])


def _name_column(path: Path, header: list[str], rows: list[list[str]]) -> int:
    found = _columns(header, NAME) or _columns(header, *_OTHER_NAMES)
    if not found:
        # a column of channels that are no numbers
        found = [n for n in _columns(header, _OTHER_NUMBER) if not _has_numbers(rows, n)]
    if len(found) != 1:
        raise InputError(
            "several columns may be the names of markers"
            if found
            else "has no column with the names of markers",
            where=path,
            got=f"columns {', '.join(header)}",
            allowed=_FORMS,
            remedy=f"call the column with the names {NAME}",
        )
    return found[0]


def _columns(header: list[str], *names: str) -> list[int]:
    wanted = {plain(name) for name in names}
    return [n for n, field in enumerate(header) if plain(field) in wanted]


def _has_numbers(rows: list[list[str]], column: int) -> bool:
    return any(_number(row[column]) is not None for row in rows)


def _number(text: str) -> int | None:
    """A whole number, also as 3.0, as spreadsheets write it."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not is_plain(text):
        return None
    return int(value) if value.is_integer() else None


def _order(path: Path, header: list[str], rows: list[list[str]]) -> list[int] | None:
    """Lines in the order of the image; None where no line has a number."""
    # a column channel may hold filters or dyes
    columns = _columns(header, NUMBER) or [
        n for n in _columns(header, _OTHER_NUMBER) if _has_numbers(rows, n)
    ]
    if not columns or not any(row[columns[0]] for row in rows):
        return None
    texts = [row[columns[0]] for row in rows]
    numbers = [_number(text) or 0 for text in texts]
    order = sorted(range(len(rows)), key=numbers.__getitem__)
    if [numbers[n] for n in order] != list(range(1, len(rows) + 1)):
        raise InputError(
            "channel numbers do not run from 1",
            where=path,
            got=", ".join(texts),
            allowed="each of 1 to the number of channels, once",
            remedy="number the lines in the order of the image, or leave the numbers out",
        )
    return order
