"""Looks at LZW data before imagecodecs decodes them: some that are damaged end the process.

After the code that clears its table the decoder takes any code as one that it knows. One that it
does not know is read from memory that was never written. So the codes are looked at first: the
place of each follows from how many came since the table was cleared.

Codes start at the highest bit, as TIFF demands. Data of writers from before TIFF 5.0, whose codes
start at the lowest, are refused.
"""

from __future__ import annotations

import numpy as np

_CLEAR, _END, _FIRST = 256, 257, 258
_TOGETHER = 4096


def _widths(count: int) -> np.ndarray:
    """Bits of the codes after the one that clears the table."""
    known = _FIRST + np.arange(count) - 1
    widths: np.ndarray = 9 + np.searchsorted([2**bits - 1 for bits in (9, 10, 11)], known, "right")
    return widths


class _Places:
    """The places of codes, from one on that starts at a bit of the first byte."""

    def __init__(self, widths: np.ndarray, phase: int) -> None:
        self.stops = phase + np.cumsum(widths)
        starts = self.stops - widths
        self.byte = starts >> 3
        self.shift = (24 - (starts & 7) - widths).astype(np.uint32)
        self.mask = ((1 << widths) - 1).astype(np.uint32)
        self.length = int(self.byte[-1]) + 3


_AFTER_CLEAR = [_Places(_widths(_TOGETHER), phase) for phase in range(8)]
# once the table is full, codes have 12 bits until it is cleared
_FULL = [_Places(np.full(_TOGETHER, 12), phase) for phase in range(8)]


def check_lzw(packed: bytes) -> None:
    """Look at LZW data.

    Raises
    ------
    ValueError
        If they are damaged in a way that may end the process.
    """
    if packed[:1] == b"\0":
        raise ValueError("LZW data of an old kind, which are not read")
    if not _is_sound(packed):
        raise ValueError("LZW data that are damaged")


def _is_sound(packed: bytes) -> bool:
    """Whether only codes that are known follow where the table is cleared."""
    data = np.frombuffer(packed, np.uint8)
    place, places = 9, _AFTER_CLEAR
    while (found := _codes(data, place, places[place & 7])) is not None:
        codes, stops = found
        if places is _AFTER_CLEAR and codes[0] >= _FIRST:
            return False
        special = np.flatnonzero(codes >> 1 == _CLEAR >> 1)
        if len(special) and codes[special[0]] == _END:
            break
        place = int(stops[special[0] if len(special) else -1])
        places = _AFTER_CLEAR if len(special) else _FULL
    return True


def _codes(data: np.ndarray, place: int, at: _Places) -> tuple[np.ndarray, np.ndarray] | None:
    """Codes from a bit on, and the bits where they end; None where the data end before."""
    part = data[place >> 3 : (place >> 3) + at.length]
    count = int(np.searchsorted(at.stops, 8 * len(part), side="right"))
    if not count:
        return None
    window = np.zeros(len(part) + 2, np.uint32)
    window[: len(part)] = part
    bits = window[:-2] << 16 | window[1:-1] << 8 | window[2:]
    codes = bits[at.byte[:count]] >> at.shift[:count] & at.mask[:count]
    return codes, at.stops[:count] + (place & ~7)
