"""How parameters may be written: types that take what a command line or a JSON file gives."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import BeforeValidator


def as_parts(value: object) -> object:
    """Accept ``64,256,256`` as a list, as on a command line."""
    if isinstance(value, str):
        return [part for part in value.replace(",", " ").split() if part]
    return [value] if isinstance(value, int | float) else value


def as_channels(value: object) -> object:
    """Accept ``1,3`` and ``DNA 1,CD45`` as lists; names may contain spaces."""
    if isinstance(value, str):
        numbers = value.replace(",", " ").split()
        names = [part.strip() for part in value.split(",") if part.strip()]
        value = numbers if all(part.isdigit() for part in numbers) else names
    if isinstance(value, int):
        value = [value]
    if isinstance(value, list | tuple):
        return [int(v) if isinstance(v, str) and v.isdigit() else v for v in value]
    return value


def as_words(value: object) -> object:
    """Accept ``csv,h5ad`` as a list."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def has_control(value: object) -> bool:
    """Whether a text, or one in a list, has line breaks or others of their kind."""
    if isinstance(value, list | tuple):
        return any(has_control(part) for part in value)
    return isinstance(value, str) and any(unicodedata.category(sign) == "Cc" for sign in value)


def or_none(value: object) -> object:
    """Accept an empty string as "not given"."""
    return None if isinstance(value, str) and not value.strip() else value


def as_text(value: object) -> object:
    """Let 0.4 be the text "0.4": Nextflow makes numbers of options that look like one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


def as_axes(value: object) -> object:
    """Accept ``czyx`` and ``C,Z,Y,X`` as ``CZYX``."""
    return value.replace(",", "").replace(" ", "").upper() if isinstance(value, str) else value


def as_list(value: object) -> object:
    """Accept text as a list, and empty text as "not given"."""
    return as_parts(or_none(value))


Shape = Annotated[tuple[int, int, int] | None, BeforeValidator(as_list)]
Sizes = Annotated[tuple[float, float, float] | None, BeforeValidator(as_list)]
Ends = Annotated[tuple[float, ...] | None, BeforeValidator(as_list)]
Number = Annotated[float | None, BeforeValidator(or_none)]
Count = Annotated[int | None, BeforeValidator(or_none)]
