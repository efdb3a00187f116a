"""Channels by number (from 1) or by name: the image's own names, or those of a ``markers.csv``.

A markers file lists one channel a line, in the order of the image, with a column ``marker_name``
(and, if it has one, ``channel_number``), as MCMICRO has it.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path

from terapose.errors import InputError
from terapose.image import Image, check_channels


def channel_numbers(
    image: Image, wanted: Sequence[int | str], markers: str = ""
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Numbers of channels, and the names of all.

    Parameters
    ----------
    image
        The image.
    wanted
        Numbers from 1, or names.
    markers
        Path of a markers file; without one names are the image's own.

    Raises
    ------
    InputError
        If there is no such channel, a name stands for several, or the file does not fit the image.
    """
    names = _read(Path(markers), image) if markers else image.channel_names
    numbers = [
        w if isinstance(w, int) else _find(w, names, markers or image.address) for w in wanted
    ]
    check_channels(image, numbers)
    return tuple(numbers), names


def measured_channels(names: Sequence[str], wanted: Sequence[int | str]) -> tuple[int, ...]:
    """Numbers of the channels whose intensities are measured.

    Parameters
    ----------
    names
        Names of all channels of the image.
    wanted
        ``("all",)``, ``("shape",)`` or ``("none",)`` (no channel), or numbers from 1 and names.

    Raises
    ------
    InputError
        If there is no such channel, or a name stands for several.
    """
    if tuple(wanted) in (("shape",), ("none",)):
        return ()
    if tuple(wanted) == ("all",):
        return tuple(range(1, len(names) + 1))
    numbers = [w if isinstance(w, int) else _find(w, names, "measure") for w in wanted]
    if wrong := [n for n in numbers if not 1 <= n <= len(names)]:
        raise InputError(
            "there is no such channel",
            where="measure",
            got=", ".join(map(str, wrong)),
            allowed=f"all, shape, none, or 1 to {len(names)}",
            remedy="channels are counted from 1",
        )
    return tuple(dict.fromkeys(numbers))


def column_names(names: Sequence[str], taken: Collection[str]) -> tuple[str, ...]:
    """Names of channels as columns of a table: each once, as MCQuant has them.

    Parameters
    ----------
    names
        Names of all channels; those that stand there several times get ``_1``, ``_2`` and so on.
    taken
        Names that other columns have: a channel of such a name gets ``_mean``.
    """
    found: list[str] = []
    for n, name in enumerate(names):
        several = names.count(name) > 1
        column = f"{name}_{names[:n].count(name) + 1}" if several else name
        while column in taken or column in found:
            column += "_mean"
        found.append(column)
    return tuple(found)


def _find(name: str, names: Sequence[str], where: str) -> int:
    found = [n for n, known in enumerate(names, 1) if known == name]
    if len(found) != 1:
        raise InputError(
            "several channels have this name" if found else "there is no such channel",
            where=where,
            got=name,
            allowed=", ".join(names),
            remedy=f"give a number: {', '.join(map(str, found))}"
            if found
            else "check the spelling",
        )
    return found[0]


def _read(path: Path, image: Image) -> tuple[str, ...]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError("cannot be read", where=path, got=error.strerror) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "is not a table of markers", where=path, got=str(error), allowed="a CSV file in UTF-8"
        ) from error
    if not rows or "marker_name" not in rows[0]:
        raise InputError(
            "is not a table of markers",
            where=path,
            got=f"columns {', '.join(rows[0]) if rows else 'none'}",
            allowed="a CSV file with the column marker_name",
        )
    numbers = [(row.get("channel_number") or row.get("channel") or "").strip() for row in rows]
    if any(numbers):
        # the order of the image, whatever the order of the lines
        known = [int(number) if number.isdecimal() else 0 for number in numbers]
        order = sorted(range(len(rows)), key=lambda n: known[n])
        if [known[n] for n in order] != list(range(1, len(rows) + 1)):
            raise InputError(
                "channel numbers do not count from 1",
                where=path,
                got=", ".join(numbers),
                allowed="each of 1 to the number of channels, once",
            )
        rows = [rows[n] for n in order]
    if len(rows) != image.channels:
        raise InputError(
            "the table of markers does not fit the image",
            where=path,
            got=f"{len(rows)} markers",
            allowed=f"{image.channels}, one for each channel of {image.address}",
        )
    names = tuple((row["marker_name"] or "").strip() for row in rows)
    if blank := [str(n) for n, name in enumerate(names, 1) if not name]:
        raise InputError(
            "a marker has no name",
            where=path,
            got=f"none for {', '.join(blank)}",
            allowed="a name for each channel",
            remedy="fill the column marker_name, or give channels by number without markers",
        )
    return names
