"""Parameters as words of a command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from terapose.core.params import Parameters


def as_option(name: str, value: object) -> list[str]:
    """A parameter as words of a command line."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    if isinstance(value, tuple | list):
        return [flag, ",".join(str(v) for v in value)]
    return [flag, str(value)]


def arguments(params: Parameters, names: Iterable[str]) -> str:
    """Parameters as part of a shell command; those not given are left out."""
    words: list[str] = []
    for name in names:
        value = getattr(params, name)
        if value is not None and value != "":
            words += as_option(name, value)
    return shlex.join(words)
