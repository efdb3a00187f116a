"""What to say of something in a store that cannot be used, and what it is about."""

from __future__ import annotations

from terapose.core.errors import StoreError, pass_on
from terapose.core.geometry import Box
from terapose.io import checksums


def gone(where: str, name: str) -> StoreError:
    """Something that was written is not there."""
    fault = StoreError(
        "is no longer in the store, although an earlier task wrote it",
        where=where,
        remedy=(
            "it was removed by hand, or deleted after use (keep_intermediates 'all' keeps "
            f"everything); {checksums.AGAIN}"
        ),
    )
    return named(fault, name)


def named(fault: StoreError, name: str, box: Box | None = None) -> StoreError:
    """A fault that says what it is about; an array rather than one file of it."""
    fault.name = name
    if box is not None:
        fault.start, fault.stop = box.start, box.stop
    return fault


def unreadable(where: str, error: Exception, name: str, box: Box | None = None) -> StoreError:
    """The error for what cannot be read or decoded; what the machine lacks is raised as it is.

    Parameters
    ----------
    where
        What it is, in the message.
    error
        Of reading it.
    name, box
        As of `named`.
    """
    pass_on(error)
    return named(checksums.damaged(where, str(error)), name, box)
