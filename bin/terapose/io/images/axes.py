"""What the axes of an array mean: as its file says, as the user says, never as it may be.

A reader names the axes as it finds them, one letter each: T, C, Z, Y, X, S (samples of a pixel),
or any other letter where the file does not say what an axis is ("Q" and "I" of tifffile). They
become one of T, C, Z, Y, X each, or ``-`` for an axis of length 1 that means nothing, by these
rules:

1. ``axes`` of the user come first. They name every axis, or every axis longer than 1.
2. Axes of unknown meaning and length 1 do no harm.
3. A single axis of unknown meaning in a file without Z, in front of Y and X, is Z: that is what a
   plain stack of planes is. It is noted (`Layout.note`), and refused where it would be a strange
   volume: an X of 4 or fewer pixels, or of less than an eighth of both other axes (these are
   channels), 1,000 planes or more, or more than twice as many as a plane is long (these may be
   times).
4. Everything else is refused: two axes of unknown meaning, an axis that the file says is something
   else (samples beside channels, lifetimes, positions), several time points of which none was
   chosen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from terapose.core.errors import InputError
from terapose.core.selection import Selection

Shape = tuple[int, int, int]

KNOWN = "TCZYX"
IGNORED = "-"
UNKNOWN = "Q"

# What files say that an axis is, as letters of tifffile. None of these is a guess away from Z.
_OTHERS = {
    "S": "samples of a pixel",
    "A": "angles",
    "P": "phases or positions",
    "R": "positions",
    "M": "tiles of a mosaic",
    "J": "columns of tiles",
    "K": "rows of tiles",
    "H": "lifetimes",
    "E": "wavelengths",
    "L": "exposures",
    "V": "events",
    "U": "of a name that is not known",
}
_NAMES = {
    "time": "T",
    "frame": "T",
    "frames": "T",
    "channel": "C",
    "channels": "C",
    "depth": "Z",
    "slice": "Z",
    "slices": "Z",
    "plane": "Z",
    "planes": "Z",
    "height": "Y",
    "row": "Y",
    "rows": "Y",
    "width": "X",
    "column": "X",
    "columns": "X",
    "col": "X",
    "cols": "X",
    "position": "P",
    "wavelength": "E",
    "angle": "A",
}
_NUMBERED = re.compile(r"(phony_)?(dim|axis|d)_?\d+")
"""Names that say nothing, as xarray and netCDF give them."""

_SAYS_NOTHING = "QI"
_FEW = 4
_THIN = 8
_MANY = 1000
_DEEP = 2


@dataclass(frozen=True)
class Layout:
    """Axes of an array and what they are read as.

    Attributes
    ----------
    found
        Axes as found, upper case, in file order ("QYX").
    read
        For each of them T, C, Z, Y, X, or ``-`` where its length is 1 and it means nothing.
    lengths
        Their lengths.
    time
        Index of the time point, from 0.
    note
        What was taken for granted, as a sentence; empty where the file or the user said it all.
    """

    found: str
    read: str
    lengths: tuple[int, ...]
    time: int = 0
    note: str = ""

    def at(self, lengths: Sequence[int]) -> Layout:
        """The same axes with other lengths: another level of a pyramid."""
        return replace(self, lengths=tuple(int(n) for n in lengths))

    def length(self, axis: str) -> int:
        """Length of one of T, C, Z, Y, X; 1 where there is none."""
        return self.lengths[self.read.index(axis)] if axis in self.read else 1

    @property
    def shape(self) -> Shape:
        """(Z, Y, X)."""
        return self.length("Z"), self.length("Y"), self.length("X")

    def spatial(self, lengths: Sequence[int]) -> Shape:
        """(Z, Y, X) of chunks or other lengths that are given for each axis of the file."""
        by_axis = dict(zip(self.read, lengths, strict=True))
        return by_axis.get("Z", 1), by_axis["Y"], by_axis["X"]

    def index(self, region: tuple[slice, slice, slice], channel: int) -> tuple[int | slice, ...]:
        """Index of the file's array for a region in (Z, Y, X) of a channel from 0."""
        places: dict[str, int | slice] = dict(zip("ZYX", region, strict=True))
        places |= {"C": channel, "T": self.time, IGNORED: 0}
        return tuple(places[axis] for axis in self.read)

    @property
    def order(self) -> tuple[int, ...]:
        """How the axes that `index` leaves are transposed to the order Z, Y, X."""
        kept = [axis for axis in self.read if axis in "ZYX"]
        return tuple(kept.index(axis) for axis in "ZYX" if axis in kept)


def letter_of(name: str) -> str:
    """What the name of an axis says that it is.

    Returns
    -------
    str
        T, C, Z, Y or X; ``Q`` where the name says nothing; of another name, or another letter, one
        that `understand` refuses: what is called position, m or s is no guess away from Z.
    """
    name = name.rsplit("/", 1)[-1].lower()
    if (len(name) < 2 and not name.isalpha()) or _NUMBERED.fullmatch(name):
        return UNKNOWN
    if len(name) > 1:
        return _NAMES.get(name, "U")
    letter = name.upper()
    if letter in _SAYS_NOTHING:
        return UNKNOWN
    # what is samples in a TIFF may be scenes or positions elsewhere
    return letter if letter in KNOWN or (letter in _OTHERS and letter != "S") else "U"


def named(names: Sequence[str], dimensions: int) -> str:
    """Axes of an array whose file has names for them: those of `unnamed` if none says anything."""
    letters = "".join(map(letter_of, names))
    return letters if set(letters) - {UNKNOWN} else unnamed(dimensions)


def unnamed(dimensions: int) -> str:
    """Axes of an array whose file says nothing: Y and X last, the others unknown."""
    return (UNKNOWN * dimensions + "YX")[-dimensions:] if dimensions > 1 else UNKNOWN * dimensions


def understand(address: str, found: str, shape: Sequence[int], chosen: Selection) -> Layout:
    """Find out what the axes of an array mean.

    Parameters
    ----------
    address
        For the message.
    found, shape
        Axes as the file has them, one letter each, and their lengths.
    chosen
        With the axes and the time point that the user gives.

    Raises
    ------
    InputError
        If an axis is empty or of unknown meaning, there is no plane, or no time point was chosen
        of several.
    """
    found, lengths = found.upper(), tuple(int(n) for n in shape)
    got = f"axes {found} {lengths}"
    for axis, length in zip(found, lengths, strict=True):
        if length == 0:
            raise InputError(
                f"the image is empty: its axis {axis} has length 0",
                where=address,
                got=f"{found} {lengths}",
                remedy="give an image with at least one voxel",
            )
    note, read = "", ""
    if len(found) > 1:
        read, note = (
            _given(address, chosen.axes.upper(), lengths)
            if chosen.axes
            else _told(address, found, lengths)
        )
    if not {"Y", "X"} <= set(read):
        raise InputError(
            "the image has no plane of Y and X",
            where=address,
            got=got,
            allowed="2 to 5 axes, Y and X among them",
            remedy="give an image of at least two dimensions, or say what its axes are (axes)",
        )
    times = lengths[read.index("T")] if "T" in read else 1
    return Layout(found, read, lengths, _time(address, chosen.time, times, got), note)


def _given(address: str, axes: str, lengths: tuple[int, ...]) -> tuple[str, str]:
    """The user's axes for every axis, or for every one that is longer than 1; nothing to note."""
    long = [n for n in lengths if n > 1]
    if len(axes) == len(lengths):
        return axes, ""
    if len(axes) == len(long):
        letters = iter(axes)
        return "".join(next(letters) if n > 1 else IGNORED for n in lengths), ""
    raise InputError(
        "axes do not fit the image",
        where=address,
        got=f"axes {axes} for an array of {len(lengths)} axes {lengths}",
        allowed=f"one letter of T, C, Z, Y, X for each of the {len(lengths)} axes",
        remedy="write them in the order of the array",
    )


def _told(address: str, found: str, lengths: tuple[int, ...]) -> tuple[str, str]:
    """What the file says of each axis, and what was taken for granted."""
    read = ["C" if axis == "S" and "C" not in found else axis for axis in found]
    unknown = [n for n, axis in enumerate(read) if axis not in KNOWN or axis in read[:n]]
    long = [n for n in unknown if lengths[n] > 1]
    for n in unknown:
        if n not in long:
            read[n] = IGNORED
    if unknown and not long and "Z" not in read:
        read[unknown[0]] = "Z"  # a stack of one plane
    unknown = long
    if not unknown:
        return "".join(read), ""
    behind = read[unknown[0] :]
    others = [found[n] for n in unknown if found[n] in _OTHERS]
    if others or len(unknown) > 1 or "Z" in read or not {"Y", "X"} <= set(behind):
        which = ", ".join(found[n] for n in unknown)
        what = f"an axis {which}" if len(unknown) == 1 else f"axes {which}"
        known = ", ".join(dict.fromkeys(_OTHERS[axis] for axis in others))
        raise InputError(
            f"the image has {what} {f'({known})' if others else 'of unknown meaning'}",
            where=address,
            got=f"axes {found} {lengths}",
            allowed="T, C, Z, Y and X",
            remedy=f"give them with the parameter axes, for example {_example(lengths)}",
        )
    read[unknown[0]] = "Z"
    height, width = (lengths[read.index(axis)] for axis in "YX")
    _check_volume(address, found, lengths, (lengths[unknown[0]], height, width))
    planes = lengths[unknown[0]]
    return "".join(read), (
        f"the file does not say what its axis of {planes} is: read as {planes} planes along Z "
        "(otherwise give axes: CYX for channels, TYX for times)"
    )


def _check_volume(address: str, found: str, lengths: tuple[int, ...], shape: Shape) -> None:
    """Refuse a volume that only a wrong guess would make."""
    planes, height, width = shape
    if width <= _FEW or width * _THIN < min(planes, height):
        what, example = f"the last axis has length {width}", "YXC or ZYX"
    elif planes >= _MANY or planes > _DEEP * max(height, width):
        what, example = f"{planes} planes may be times, channels or a volume", "TYX, CYX or ZYX"
    else:
        return
    raise InputError(
        f"the file does not say what its axes are, and {what}",
        where=address,
        got=f"axes {found} {lengths}",
        remedy="give them with the parameter axes: "
        + (example if len(lengths) == 3 else _example(lengths)),
    )


def _example(lengths: tuple[int, ...]) -> str:
    """Axes that an array of so many axes often has."""
    if lengths[-1] <= _FEW:
        return {3: "YXC", 4: "ZYXC", 5: "TZYXC"}.get(len(lengths), "YXC")
    return {3: "CYX", 4: "ZCYX", 5: "TZCYX"}.get(len(lengths), "ZYX")


def _time(address: str, wanted: int | None, times: int, got: str) -> int:
    """Index of the time point that was chosen."""
    if wanted is None and times > 1:
        raise InputError(
            "the image has several time points",
            where=address,
            got=got,
            allowed=f"one of them: time 1 to {times}",
            remedy="give time (all makes each time point a separate sample), or `axes`, if "
            "this axis is not time",
        )
    if wanted is not None and not 1 <= wanted <= times:
        raise InputError(
            "there is no such time point",
            where=address,
            got=f"time {wanted}",
            allowed="1" if times == 1 else f"1 to {times}",
            remedy="time points are counted from 1",
        )
    return (wanted or 1) - 1
