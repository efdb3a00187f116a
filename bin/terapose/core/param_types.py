"""How parameters may be written: types that take what a command line or a JSON file gives."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

from terapose.core.errors import InputError


def is_plain(number: str) -> bool:
    """Whether a number is written in ASCII, without underscores: Python takes ``1_4`` for 14."""
    return number.isascii() and "_" not in number


def is_index(text: str) -> bool:
    """Whether a text consists of the digits 0 to 9."""
    return text.isascii() and text.isdigit()


def refuse_odd_numbers(value: object, annotation: Any) -> None:
    """Refuse what pydantic takes for a number although nobody means one by it.

    Parameters
    ----------
    value
        As given: a number, a text, or a list of these.
    annotation
        Type of the parameter. Only those that may be numbers are looked at.

    Raises
    ------
    pydantic_core.PydanticKnownError
        For true and false, and, where no text is allowed, for numbers that are not `is_plain`.
    """
    kinds = _kinds(annotation)
    if not kinds & {int, float}:
        return
    parts = value if isinstance(value, list | tuple) else [value]
    odd = any(isinstance(part, bool) for part in parts)
    if str not in kinds:
        odd |= any(isinstance(part, str) and not is_plain(part) for part in parts)
    if odd:
        raise PydanticKnownError("float_type" if float in kinds else "int_type")


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation consists of."""
    parts = get_args(annotation)
    return set().union(*map(_kinds, parts)) if parts else {annotation}


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
        value = numbers if all(map(is_index, numbers)) else names
    if isinstance(value, int):
        value = [value]
    if isinstance(value, list | tuple):
        return [int(v) if isinstance(v, str) and is_index(v) else v for v in value]
    return value


def as_words(value: object) -> object:
    """Accept ``csv,h5ad`` as a list."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


_CONTROL = ("Cc", "Cf", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Within words of some languages, and within emoji."""


def has_control(value: object) -> bool:
    """Whether a text, or one in a list, has characters that nobody sees but programs obey.

    These are control characters, those that end a line or a paragraph, and those that turn the
    direction of writing or have no width, except the two that join letters or keep them apart.
    """
    if isinstance(value, list | tuple):
        return any(has_control(part) for part in value)
    return isinstance(value, str) and any(
        unicodedata.category(sign) in _CONTROL and sign not in _JOINERS for sign in value
    )


def is_utf8(value: object) -> bool:
    """Whether a text, or each one in a list, can be written in UTF-8, as documents are.

    Of a name of a file, bytes that are not UTF-8 are halves of characters in Python; JSON of others
    may have such halves, too.
    """
    if isinstance(value, list | tuple):
        return all(map(is_utf8, value))
    return not isinstance(value, str) or all(unicodedata.category(sign) != "Cs" for sign in value)


def in_utf8(text: str) -> str:
    """A text that documents can hold: with question marks for what is not UTF-8 in it."""
    return text.encode("utf-8", "replace").decode()


def refuse_odd_name(text: str, where: object, what: str = "the name") -> None:
    """Refuse a name that tables, logs and documents cannot hold.

    Parameters
    ----------
    text
        The name, path or URL.
    where, what
        For the message.

    Raises
    ------
    InputError
        If it has control characters (`has_control`), or is not in UTF-8.
    """
    fault = None
    if has_control(text):
        fault = "contains control characters"
    elif not is_utf8(text):
        fault = "is not in UTF-8"
    if fault is not None:
        remedy = "rename the file or folder"
        raise InputError(f"{what} {fault}", where=where, got=repr(text), remedy=remedy)


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


def or_found(value: object) -> object:
    """Accept "auto" as 0: to be found."""
    return 0.0 if value == "auto" else or_none(value)


Shape = Annotated[tuple[int, int, int] | None, BeforeValidator(as_list)]
Sizes = Annotated[tuple[float, float, float] | None, BeforeValidator(as_list)]
Ends = Annotated[tuple[float, ...] | None, BeforeValidator(as_list)]
Number = Annotated[float | None, BeforeValidator(or_none)]
Diameter = Annotated[
    float | None,
    BeforeValidator(or_found),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "const": "auto"},
                {"type": "null"},
            ]
        }
    ),
]
Count = Annotated[int | None, BeforeValidator(or_none)]
