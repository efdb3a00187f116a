"""Exact percentiles of an image that is read block by block.

1. Every value is mapped to an unsigned integer key that keeps its order: integers by an offset,
   float32 by its bits (sign bit flipped, negative numbers inverted).
2. Integers of up to 16 bits have one bin per value. Wider keys are counted in 65,536 bins of their
   upper 16 bits; inside the few *windows* (upper halves in which the plan's sample expects a
   percentile) every single value is counted as well.
3. Histograms add up. A percentile is read off at NumPy's position ``(n - 1) * q / 100`` with
   NumPy's linear interpolation, in float32, as Cellpose computes it.
4. A percentile that falls outside every window is not guessed: `WindowMissedError` names the
   windows to count instead.

Float64 images are converted to float32 first, as Cellpose converts everything it normalises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


class WindowMissedError(LookupError):
    """A percentile is in a bin whose values were not counted one by one."""

    def __init__(self, windows: set[int]) -> None:
        super().__init__(f"no exact counts in bins {sorted(windows)}")
        self.windows = windows


def keys(values: NDArray[Any]) -> tuple[NDArray[np.unsignedinteger], bool]:
    """Order-preserving unsigned keys and whether they are wider than 16 bits."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        low = np.iinfo(values.dtype).min
        return (values.astype(np.int32) - low).astype(np.uint16), False
    if values.dtype.kind in "iu":
        # through float32: neighbouring integers that Cellpose cannot tell apart share a key
        values = values.astype(np.float32)
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32), True


def values_of(found: NDArray[np.unsignedinteger], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Undo `keys`, as float32."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return (found.astype(np.int64) + np.iinfo(dtype).min).astype(np.float32)
    bits = found.astype(np.uint32)
    return np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits).view(np.float32)


@dataclass
class Histogram:
    """Counts of the values of one channel; histograms of disjoint voxels add up.

    Attributes
    ----------
    dtype
        Type of the image's voxels.
    coarse
        (65536,) int64 counts of the (upper) 16 bits of the keys.
    fine
        For each window (value of the upper 16 bits), (65536,) int64 counts of the lower 16 bits.
    """

    dtype: np.dtype[Any]
    coarse: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65536, np.int64))
    fine: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def empty(cls, dtype: np.dtype[Any], windows: Iterable[int] = ()) -> Histogram:
        """A histogram that counts nothing yet."""
        return cls(np.dtype(dtype), fine={w: np.zeros(65536, np.int64) for w in windows})

    def add(self, values: NDArray[Any]) -> None:
        """Count finite values."""
        found, wide = keys(values.ravel())
        if not wide:
            self.coarse += np.bincount(found, minlength=65536)
            return
        upper = (found >> 16).astype(np.uint16)
        self.coarse += np.bincount(upper, minlength=65536)
        for window, counts in self.fine.items():
            inside = found[upper == window]
            if inside.size:
                counts += np.bincount(inside & 0xFFFF, minlength=65536)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts."""
        self.coarse += other.coarse
        for window, counts in other.fine.items():
            self.fine[window] = self.fine.get(window, 0) + counts

    @property
    def count(self) -> int:
        """Number of voxels counted."""
        return int(self.coarse.sum())

    @property
    def wide(self) -> bool:
        """Whether bins of `coarse` hold more than one value."""
        return not (self.dtype.kind in "iu" and self.dtype.itemsize <= 2)

    def order_statistics(self, ranks: Sequence[int]) -> NDArray[np.float32]:
        """The values with these ``ranks`` (0-based) when all are sorted.

        Raises
        ------
        WindowMissedError
            If one is in a bin whose values were not counted one by one.
        """
        ends = np.cumsum(self.coarse)
        bins = np.searchsorted(ends, ranks, side="right")
        if not self.wide:
            return values_of(bins.astype(np.uint16), self.dtype)
        missed = {int(b) for b in bins} - set(self.fine)
        if missed:
            raise WindowMissedError(missed)
        found = []
        for rank, b in zip(ranks, bins, strict=True):
            before = int(ends[b] - self.coarse[b])
            lower = np.searchsorted(np.cumsum(self.fine[int(b)]), rank - before, side="right")
            found.append((int(b) << 16) | int(lower))
        return values_of(np.array(found, np.uint32), self.dtype)

    def percentiles(self, wanted: Sequence[float]) -> list[np.float32]:
        """Percentiles with NumPy's linear interpolation.

        Parameters
        ----------
        wanted
            Between 0 and 100.

        Raises
        ------
        WindowMissedError
            See `order_statistics`.
        """
        result = []
        for percent in wanted:
            low, high, part = position(self.count, percent)
            a, b = self.order_statistics([low, high])
            difference = b - a
            up = part < 0.5
            result.append(
                a + difference * np.float32(part) if up else b - difference * np.float32(1 - part)
            )
        return result


def position(count: int, percent: float) -> tuple[int, int, float]:
    """Where a percentile of ``count`` values is: two ranks and the part between (NumPy's)."""
    at = (count - 1) * (percent / 100)
    low = min(int(at), count - 1)
    return low, min(low + 1, count - 1), at - low


def normalize(
    values: NDArray[Any], low: float, high: float, *, invert: bool = False, given: bool = False
) -> NDArray[np.float32]:
    """Scale so that ``low`` becomes 0 and ``high`` becomes 1, without clipping.

    Percentiles are float32, as `cellpose.transforms.normalize99` has them; a range of at most 1e-3
    gives zeros. Ends that a user gave are float64, as in `cellpose.transforms.normalize_img`, and
    are used as they are.

    Parameters
    ----------
    values
        Voxels of any shape and real dtype.
    low, high
        Intensities.
    invert
        Return ``1 - x``.
    given
        Whether a user gave the ends.
    """
    result = values.astype(np.float32)
    kind = np.float64 if given else np.float32
    lower, upper = kind(low), kind(high)
    if not given and not upper - lower > 1e-3:
        result[:] = 0
    else:
        with np.errstate(over="ignore"):  # who calls looks at it
            np.subtract(result, lower, out=result, casting="same_kind")
            np.divide(result, upper - lower, out=result, casting="same_kind")
    return np.float32(1) - result if invert else result
