"""Values of options and arguments: several numbers (`--shape 96,256,256`), standard input (`-`)."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from terapose.core.param_types import is_index, is_plain


def from_input(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An argument; ``-`` means the first line of standard input.

    Everybody on a machine sees all command lines, and an address may hold credentials.
    """
    return sys.stdin.readline().rstrip("\n") if value == "-" else value


def store_address(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """The address of a store: what names no folder that can be written to is refused."""
    if value is None or "://" not in value:
        return value
    from terapose.io.remote import folder_of

    # the workflow adds how often a task has been repeated
    address, mark, times = value.partition("?again=")
    return f"{folder_of(address)}{mark}{times}"


def channel_names(text: str | None) -> list[int | str]:
    """Numbers and names of channels, with commas between; none for no text."""
    words = [word.strip() for word in text.split(",")] if text else []
    return [int(word) if is_index(word) else word for word in words]


class LocalPath(click.Path):
    """The path of what is written to a local disk; a URL is refused, other than ``file://``.

    Parameters
    ----------
    is_file
        Whether a folder is refused.
    endings
        Endings of the name, one of which says what is written, as ``.png``; "" for none. Without
        any, the name may be every one.
    """

    name = "path"

    def __init__(self, *, is_file: bool = False, endings: Sequence[str] = ()) -> None:
        super().__init__(path_type=Path)
        self.is_file = is_file
        self.endings = endings

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Turn the text into a path."""
        if ":" in os.fspath(value):  # a task of a stage does without what this imports
            from terapose.io.remote import local_path

            value = local_path(value)
        if self.is_file and os.path.isdir(value):
            self.fail(
                f"{os.fspath(value)!r}: there is a folder in place of a file; choose another name",
                param,
                ctx,
            )
        if self.endings and Path(value).suffix.lower() not in self.endings:
            allowed = " or ".join(ending or "no ending" for ending in self.endings)
            self.fail(
                f"{os.fspath(value)!r}: the name has another ending than what is written; "
                f"allowed: {allowed}",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


ZARR = (".zarr", "")
"""Endings of the folder of an OME-Zarr."""


class Real(click.FloatRange):
    """A number, in a range if there is one. Of ``nan`` click does not see that it is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Turn the text into a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Comma-separated numbers.

    Parameters
    ----------
    counts
        How many there may be, ascending.
    kind
        int or float.
    """

    name = "numbers"

    def __init__(self, *counts: int, kind: type[int] | type[float] = int) -> None:
        self.counts = counts
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn the text into a tuple."""
        if isinstance(value, tuple):
            return value
        text = str(value)
        try:
            numbers = tuple(map(self.kind, text.split(","))) if is_plain(text) else ()
        except ValueError:
            numbers = ()
        if len(numbers) not in self.counts or not all(math.isfinite(n) for n in numbers):
            counts = " or ".join(map(str, self.counts))
            if len(self.counts) > 2:
                counts = f"{self.counts[0]} to {self.counts[-1]}"
            what = "whole" if self.kind is int else "finite"
            self.fail(f"{value!r} is not {counts} {what} numbers with commas between", param, ctx)
        return numbers


def join_numbers(words: Sequence[str], *flags: str) -> list[str]:
    """Join several numbers after a flag with commas, as in ``--channels 1 3 5``."""
    joined: list[str] = []
    for word in words:
        before = joined[-2] if len(joined) > 1 else ""
        several = before in flags and word.isdigit()
        if several and joined[-1].replace(",", "").isdigit():
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def seconds_of(record: Mapping[str, Any]) -> str:
    """Seconds of each stage, summed over its tasks, in a line.

    Parameters
    ----------
    record
        Of the results.
    """
    stages = record["stages"].items()
    return ", ".join(f"{name} {done['seconds']:.1f}" for name, done in stages)
