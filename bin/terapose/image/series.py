"""Which of several images in one file: by its number from 1, or by its name."""

from __future__ import annotations

from collections.abc import Sequence

from terapose.errors import InputError

_SHOWN = 12


def find_series(address: str, names: Sequence[str], wanted: str) -> int:
    """Index (from 0) of the image that ``wanted`` names.

    Parameters
    ----------
    address
        For the message.
    names
        Names of all images in the file, in its order; a name may be empty.
    wanted
        A number from 1, or a name. A name that is a number is found by its number only.

    Raises
    ------
    InputError
        If there is none of this number or name, or several have the name.
    """
    if wanted.isdecimal():
        if 1 <= int(wanted) <= len(names):
            return int(wanted) - 1
        found: list[int] = []
    else:
        found = [n for n, name in enumerate(names) if name == wanted]
    if len(found) != 1:
        raise InputError(
            "several images have this name" if found else "there is no such image in the file",
            where=address,
            got=f"series {wanted}",
            allowed=listed(names),
            remedy="give the number of one, counted from 1",
        )
    return found[0]


def listed(names: Sequence[str]) -> str:
    """All images of a file with their numbers, for a message; the first of very many."""
    shown = [f"{n} ({name})" if name else str(n) for n, name in enumerate(names[:_SHOWN], 1)]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
