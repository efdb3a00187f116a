"""Amounts of memory and disk space in words."""

from __future__ import annotations

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def in_bytes(count: float) -> str:
    """A number of bytes in the largest unit that it has one of: "1.5 GB", "30.0 kB", "512 bytes".

    Parameters
    ----------
    count
        Bytes, 0 or more.
    """
    for size, unit in _UNITS:
        # what would be shown as 1000.0 of a unit is 1.0 of the next
        if count >= 0.99995 * size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} byte{'' if round(count) == 1 else 's'}"
