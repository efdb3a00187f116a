"""One kind of error for everything a person can put right."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """A fault in what the user gave: said in one sentence, exit code 2, no traceback.

    Parameters
    ----------
    what
        What is wrong, as the start of a sentence ("the image has no Z axis").
    where
        The file, parameter or array it is about.
    got
        What was found.
    allowed
        What would have been accepted.
    remedy
        What to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        allowed: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.got, self.allowed, self.remedy = (
            what,
            where,
            got,
            allowed,
            remedy,
        )
        parts = [what if where is None else f"{where}: {what}"]
        if got is not None:
            parts.append(f"got {got}")
        if allowed is not None:
            parts.append(f"allowed: {allowed}")
        if remedy is not None:
            parts.append(remedy)
        super().__init__("; ".join(parts))


class StoreError(InputError):
    """The store does not hold what its receipts promise."""


def few(names: Sequence[str], most: int) -> str:
    """The first of several names, and how many more there are: "a, b and 7 more".

    Parameters
    ----------
    names
        All of them.
    most
        How many are shown.
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
