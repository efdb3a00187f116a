"""Which file of a stack is which plane, by the files' names.

With names for axes in the pattern (`img_{z}_{c}.tif`) the numbers say it: files are put in their
order, every place has to have a file, and only one. Steps of a number have to be equal (planes
named by their position in micrometres may go up in fives).

Without them files are put in natural order, along Z. Then their names may differ in one number
alone, or in several of which one counts the planes: otherwise their order would be a guess, and a
stack of two channels would become one of twice the planes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from terapose.core.errors import InputError, few
from terapose.core.natural import natural_key
from terapose.io.images import patterns

Value = int | str

_SHOWN = 8
_NUMBER = re.compile(r"(\d+)")
_PATTERN = "replace the folder or wildcards with a pattern that names what differs, such as {}"


@dataclass(frozen=True)
class Places:
    """The files of a stack in their order.

    Attributes
    ----------
    axes
        Axes along which there are several files or names: letters of T, C, Z in this order.
    lengths
        How many places there are along each.
    files
        Paths in C order of these axes.
    channel_names
        Names of the channels, where they are no numbers from 0 or 1 up.
    note
        How the files are taken, as a sentence.
    """

    axes: str
    lengths: tuple[int, ...]
    files: tuple[str, ...]
    channel_names: tuple[str, ...]
    note: str


def by_pattern(address: str, found: Sequence[patterns.Match]) -> Places:
    """Put files in the order of the axes that a pattern names.

    Parameters
    ----------
    address
        The pattern.
    found
        What it matches, at least one.

    Raises
    ------
    InputError
        If two files have one place, a place has no file, or steps of a number differ.
    """
    axes = patterns.axes_in(address)
    names = {axis: _texts(axis, [values[axis] for _, values in found]) for axis in axes}
    files: dict[tuple[Value, ...], str] = {}
    for path, values in found:
        place = tuple(_value(values[axis], names[axis]) for axis in axes)
        if place in files:
            raise _twice(address, files[place], path)
        files[place] = path
    for place in product(*names.values()):
        if place not in files:
            texts = {axis: names[axis][value] for axis, value in zip(axes, place, strict=True)}
            inside = address[len(patterns.existing(address)) :].strip("/")
            raise _missing(address, patterns.filled(inside, texts))
    notes = [_along(address, axis, names[axis]) for axis in axes]
    return Places(
        axes,
        tuple(len(names[axis]) for axis in axes),
        tuple(files[place] for place in product(*names.values())),
        _channel_names(names.get("C", {})),
        f"{len(files)} files, {'; '.join(notes)}",
    )


def _texts(axis: str, texts: Sequence[str]) -> dict[Value, str]:
    """Values along an axis in their order, and how they are written; numbers where all are."""
    are_numbers = axis != "C" or all(text.isdecimal() for text in texts)
    known = {int(text) if are_numbers else text: text for text in texts}
    return dict(sorted(known.items(), key=lambda item: natural_key(str(item[0]))))


def _value(text: str, known: Mapping[Value, str]) -> Value:
    return text if text in known else int(text)


def _along(address: str, axis: str, known: Mapping[Value, str]) -> str:
    """What is along an axis, in words; refuses planes or times of which one is missing."""
    if axis == "C":
        return f"C {few(list(known.values()), _SHOWN)}"
    values = [int(value) for value in known]
    step = _step(address, axis, values, list(known.values()))
    return f"{axis} {values[0]} to {values[-1]}" + (f" by {step}" if step > 1 else "")


def _channel_names(known: Mapping[Value, str]) -> tuple[str, ...]:
    """Names of channels, but for those that are counted from 0 or 1."""
    counted = any(list(known) == list(range(n, n + len(known))) for n in (0, 1))
    return () if counted else tuple(known.values())


def in_natural_order(address: str, paths: Sequence[str]) -> Places:
    """Put files in natural order along Z.

    Parameters
    ----------
    address
        The folder or pattern.
    paths
        The files, at least one.

    Raises
    ------
    InputError
        If their names do not say their order, two are the same plane, or one is missing.
    """
    paths = sorted(paths, key=natural_key)
    folder = os.path.commonpath(paths)
    names = [_NUMBER.split(os.path.relpath(path, folder)) for path in paths]
    if len(paths) == 1:
        return Places("Z", (1,), tuple(paths), (), f"1 file, {os.path.basename(paths[0])}")
    for path, name in zip(paths, names, strict=True):
        if name[::2] != names[0][::2]:
            raise InputError(
                "names of the files differ by more than a number",
                where=address,
                got=f"{os.path.basename(paths[0])} and {os.path.basename(path)}",
                remedy=_PATTERN.format(f"{_example(address)} or *.tif"),
            )
    numbers = [[int(text) for text in name[1::2]] for name in names]
    varying = [n for n in range(len(numbers[0])) if len({one[n] for one in numbers}) > 1]
    if not varying:
        raise _twice(address, paths[0], paths[1])
    step = _counter(address, paths, numbers, varying)
    said = f"{len(paths)} files along Z, {os.path.basename(paths[0])} to "
    return Places(
        "Z",
        (len(paths),),
        tuple(paths),
        (),
        said + os.path.basename(paths[-1]) + (f" in steps of {step}" if step > 1 else ""),
    )


def _counter(
    address: str, paths: Sequence[str], numbers: Sequence[Sequence[int]], varying: Sequence[int]
) -> int:
    """Step of the number that counts the planes, of those that vary."""
    names = [os.path.basename(path) for path in paths]
    if len(varying) == 1:
        values = [one[varying[0]] for one in numbers]
        for (first, name), (second, other) in pairwise(zip(values, names, strict=True)):
            if first == second:
                raise _twice(address, name, other)
        return _step(address, "Z", values, names)
    for n in varying:
        steps = {second[n] - first[n] for first, second in pairwise(numbers)}
        if len(steps) == 1 and min(steps) > 0:
            return steps.pop()
    raise InputError(
        "several numbers differ in the names of the files, and none of them counts the planes",
        where=address,
        got=f"{names[0]}, {names[1]} to {names[-1]}",
        remedy=_PATTERN.format(_example(names[0])),
    )


def _step(address: str, axis: str, values: Sequence[int], names: Sequence[str]) -> int:
    """The step of numbers that go up; refuses those of which one is missing."""
    steps = [second - first for first, second in pairwise(values)]
    least = min(steps, default=1)
    wrong = next((n for n, step in enumerate(steps) if step != least), None)
    if wrong is None:
        return least
    raise InputError(
        f"files are missing along {axis}: numbers rise by {least}, but one is missing",
        where=address,
        got=f"{names[wrong]} and then {names[wrong + 1]}",
        remedy="copy the missing ones, or name those that belong together (a folder or a pattern)",
    )


def _missing(address: str, name: str) -> InputError:
    return InputError(
        "a file of the stack is missing",
        where=address,
        got=f"no {name}",
        remedy="copy it, or name a complete set of files",
    )


def _twice(address: str, one: str, other: str) -> InputError:
    return InputError(
        "two files have the same position in the stack",
        where=address,
        got=f"{os.path.basename(one)} and {os.path.basename(other)}",
        remedy="name only one of them",
    )


def _example(name: str) -> str:
    """Patterns for names like this one: which of the numbers is what, only the user knows."""
    parts = _NUMBER.split(os.path.basename(name))
    if len(parts) < 5:
        return "img_{z}_{c}.tif"
    first, last = "".join(parts[:-4]), parts[-3:]
    return " or ".join(
        f"{first}{{{a}}}{last[0]}{{{b}}}{last[2]}" for a, b in (("z", "c"), ("c", "z"))
    )
