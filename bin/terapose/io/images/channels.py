"""Channels by number (from 1) or by name: the image's own names, or those of a ``markers.csv``.

Names may be numbers, too, as wavelengths are: 405 is the channel of that name where there is no
channel of that number. A number that is one channel's place and another one's name is refused:
"channel 2" is the second, whatever it is called. Names that count the channels from 0, in order,
are no names.

Which forms of a markers file are read is said in `terapose.io.markers`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from terapose.core.errors import InputError
from terapose.core.near import did_you_mean
from terapose.io.homes import expanded
from terapose.io.images.model import Image, check_channels
from terapose.io.markers import read_markers


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
        If there is no such channel, a name or number may mean several, or the file does not fit
        the image.
    """
    names = _read(expanded(markers), image) if markers else image.channel_names
    numbers = [_number(w, names, markers or image.address) for w in wanted]
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
        If there is no such channel, or several have the name.
    """
    if tuple(wanted) in (("shape",), ("none",)):
        return ()
    if tuple(wanted) == ("all",):
        return tuple(range(1, len(names) + 1))
    numbers = [_number(w, names, "measure") for w in wanted]
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
        Names of all channels; those that occur several times get ``_1``, ``_2`` and so on.
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


def _number(wanted: int | str, names: Sequence[str], where: str) -> int:
    """The number of a channel; one that there is not stays as it is."""
    called = [n for n, name in enumerate(names, 1) if name == str(wanted)]
    if isinstance(wanted, str):
        by_place = re.fullmatch(r"channel (\d+)", wanted)
        return int(by_place[1]) if by_place and not called else _find(wanted, names, where)
    if not 1 <= wanted <= len(names):
        return _find(str(wanted), names, where) if called else wanted
    from_0 = list(names) == [str(n) for n in range(len(names))]
    if called and wanted not in called and not from_0:
        raise InputError(
            "is the number of one channel and the name of another",
            where=f"{where}: channel {wanted}",
            got=f"channel {wanted} called {names[wanted - 1]}, "
            f"and channel {called[0]} called {wanted}",
            remedy=f"give 'channel {wanted}' or 'channel {called[0]}', with these words",
        )
    return wanted


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
            else did_you_mean(name, names, "check the spelling"),
        )
    return found[0]


def _read(path: Path, image: Image) -> tuple[str, ...]:
    return read_markers(path, image.channels, image.address)
