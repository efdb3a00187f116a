"""Which file of a stack is which plane, by the files' names.

With names for axes in the pattern (`img_{z}_{c}.tif`) the numbers say it: files are put in their
order, every place has to have a file, and only one. Steps of a number have to be equal (planes
named by their position in micrometres may go up in fives).

Without them files are put in natural order, along Z. Then their names may differ in one number
alone, or in several of which one counts the planes: otherwise their order would be a guess, and a
stack of two channels would become one of twice the planes.

A dash in front of a number is its sign where some numbers have one and others do not (`z-1`, `z0`),
and after ``=`` or at the start. Where all have one after a word (`img-1`) it is a separator, but
after a lone letter z or t (`z-3` to `z-1`) it may be either: that is refused.
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
_SIGNED = re.compile(f"({patterns.SIGNED})")
_LONE = re.compile(r"(?i)(?:.*[\W\d_])?[zt]")
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
    values = {axis: _values(address, axis, found) for axis in axes}
    names = {axis: _texts(values[axis], [one.values[axis] for one in found]) for axis in axes}
    files: dict[tuple[Value, ...], str] = {}
    for number, (path, *_) in enumerate(found):
        place = tuple(values[axis][number] for axis in axes)
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


def _values(address: str, axis: str, found: Sequence[patterns.Match]) -> list[Value]:
    """Where along an axis each file is: numbers, or names of channels."""
    texts = [one.values[axis] for one in found]
    if axis == "C":
        return [*map(int, texts)] if all(text.isdecimal() for text in texts) else [*texts]
    paths = [one.path for one in found]
    return [*_numbers(address, [one.before[axis] for one in found], texts, paths)]


def _texts(values: Sequence[Value], texts: Sequence[str]) -> dict[Value, str]:
    """Values along an axis in their order, and how they are written."""
    known = dict(zip(values, texts, strict=True))
    return dict(sorted(known.items(), key=lambda one: (_number(one[0]), natural_key(str(one[0])))))


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _numbers(
    address: str, before: Sequence[str], texts: Sequence[str], paths: Sequence[str]
) -> list[int]:
    """Numbers in the names of files, with their signs if these are no separators.

    Parameters
    ----------
    address
        For the message.
    before
        What is in front of each number in its name.
    texts
        The numbers as they are written.
    paths
        The files.

    Raises
    ------
    InputError
        If signs may be separators.
    """
    numbers = [int(text) for text in texts]
    if not all(text[0] == "-" for text in texts) or all(
        text == "" or text.endswith("=") for text in before
    ):
        return numbers
    are_plain = all(str(abs(n)) == text[1:] for n, text in zip(numbers, texts, strict=True))
    if len(set(numbers)) > 1 and 0 not in numbers and are_plain and _LONE.fullmatch(before[0]):
        names = [os.path.basename(path) for path in paths]
        raise InputError(
            "dashes in the file names may be minus signs or separators",
            where=address,
            got=few(names, 3),
            remedy=f"name them with {before[0]}-{{z}} if they are separators; else rename the "
            "files, so that numbers start at 0",
        )
    return [abs(n) for n in numbers]


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
    names = [_SIGNED.split(os.path.relpath(path, folder)) for path in paths]
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
    columns = []
    for n, before in enumerate(names[0][:-1:2]):
        texts = [name[2 * n + 1] for name in names]
        fronts = [before.rpartition("/")[2]] * len(names)
        columns.append(_numbers(address, fronts, texts, paths))
    ordered = sorted(
        zip(map(list, zip(*columns, strict=True)), paths, strict=True),
        key=lambda one: (one[0], natural_key(one[1])),
    )
    numbers, paths = [one for one, _ in ordered], [path for _, path in ordered]
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
