"""One kind of error for everything a person can put right."""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Iterator, Sequence

from terapose.core.masking import masked

_MOST = 1000
_ALL = 3000
_BEYOND = 10_000
"""Characters of one part of a sentence, of the part that may name many faults, and of what is
looked at beyond either of them."""


def shown(value: object, most: int = _MOST, *, address: object = None) -> str:
    """A value as it is quoted in a sentence: on one line, not endless, without credentials.

    Names come from files of others. Control characters, and those that turn the direction of
    writing, would be commands to a terminal: they are written as escapes.

    Parameters
    ----------
    value
        What is shown.
    most
        Characters after which it is cut off.
    address
        What it is about: credentials in it are hidden in whatever form the value repeats them.
    """
    try:
        text = str(value)
    except ValueError:  # Python writes no number of thousands of digits
        text = "a number of thousands of digits"
    # before it is cut off: of half an address nobody knows what is secret
    length, text = len(text), masked(text[: most + _BEYOND], about=str(address or ""))
    if len(text) > most:
        text = f"{text[: most - 20]} ... ({length} characters)"
    return "".join(_printable(sign) for sign in text)


def _printable(sign: str) -> str:
    if sign.isprintable() or unicodedata.category(sign) not in _UNSHOWN:
        return sign
    return sign.encode("unicode_escape").decode()


_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, marks of direction, halves of characters, ends of lines and paragraphs."""


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
        fault = shown(what, _ALL, address=where)
        parts = [fault if where is None else f"{shown(where)}: {fault}"]
        if got is not None:
            parts.append(f"got {shown(got, address=where)}")
        if allowed is not None:
            parts.append(f"allowed: {shown(allowed, address=where)}")
        if remedy is not None:
            parts.append(shown(remedy, address=where))
        super().__init__("; ".join(parts))


class GPUMemoryError(InputError):
    """A GPU has too little free memory: later, or on another node, there may be enough.

    The exit code of a task is another one, with which the workflow repeats it.
    """


class StoreError(InputError):
    """The store does not hold what its receipts promise.

    Attributes
    ----------
    name
        What is missing or damaged, as the store names it, if it is known.
    start, stop
        Of an array, the part (Z, Y, X) that is; None: all of it.
    is_forgotten
        Whether the tasks that wrote it will run again (`terapose.pipeline.repair`).
    """

    name: str | None = None
    start: tuple[int, int, int] | None = None
    stop: tuple[int, int, int] | None = None
    is_forgotten: bool = False


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that there is no memory left.

    Each library has its own words for it, and some raise one without them.
    """
    return any(
        isinstance(one, MemoryError) or any(sign in str(one) for sign in _NO_MEMORY)
        for one in behind(error)
    )


def behind(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    seen = set[int]()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        one = one.__cause__ or one.__context__


def pass_on(error: BaseException) -> None:
    """Raise an error again that says nothing of what was read: the machine lacks something.

    For readers that take any error of a library for damage to a file.

    Parameters
    ----------
    error
        What a library raised. If it says that memory, threads or open files ran out, it is raised.
    """
    lacks_files = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    if lacks_files or lacks_memory(error):
        raise error


_NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "can't start new thread",
    "failed to map segment from shared object",
)
"""Of torch, with further details; of the system; of Python; of what loads libraries."""


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
