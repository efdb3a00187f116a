"""How values are distributed, counted as they stream by, in memory that does not grow with them.

Values are counted in fixed classes, so the counts do not depend on how many values come at once.
Sizes up to 4096 voxels have a class each, and their percentiles are exact; above that, and of other
values, percentiles are right to within a class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 4096
_OCTAVES = 50


def size_edges() -> NDArray[np.float64]:
    """Edges of classes of sizes: whole numbers, then 64 classes for each power of 2."""
    coarse = EXACT * 2.0 ** (np.arange(1, 64 * _OCTAVES + 1) / 64)
    return np.concatenate([np.arange(EXACT + 1, dtype=np.float64), coarse])


def even_edges(low: float, high: float, step: float) -> NDArray[np.float64]:
    """Edges of classes of one width."""
    return np.linspace(low, high, round((high - low) / step) + 1)


@dataclass
class Spread:
    """Counts of values.

    Attributes
    ----------
    edges
        (N + 1,) of the classes; values beyond are counted in the first and the last.
    counts
        (N,) int64.
    low, high
        Smallest and largest value.
    total
        Sum of all values.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64] = field(init=False)
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count values; those that are not finite are left out."""
        values = np.asarray(values, np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
            self.total += float(values.sum())
            found = np.searchsorted(self.edges, values, side="right") - 1
            found = found.clip(0, len(self.counts) - 1)
            self.counts += np.bincount(found, minlength=len(self.counts))

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """The value that this share of all values does not exceed; NaN without values."""
        if not self.count:
            return float("nan")
        before = np.cumsum(self.counts)
        rank = max(1, int(np.ceil(share * before[-1])))
        found = int(np.searchsorted(before, rank))
        low, high = self.edges[found], self.edges[found + 1]
        within = (rank - (before[found] - self.counts[found]) - 0.5) / self.counts[found]
        value = low if low.is_integer() and high - low == 1 else low + (high - low) * within
        return float(np.clip(value, self.low, self.high))

    def share(self, low: float, high: float = np.inf) -> float:
        """Share of the values whose class begins in ``low <= value < high``."""
        starts = self.edges[:-1]
        picked = self.counts[(starts >= low) & (starts < high)]
        return float(picked.sum()) / max(self.count, 1)

    def classes(self, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts in coarser classes, for a chart; values beyond are in the first and the last."""
        middles = (self.edges[:-1] + self.edges[1:]) / 2
        middles = np.where(np.diff(self.edges) == 1, self.edges[:-1], middles)
        found = (np.searchsorted(edges, middles, side="right") - 1).clip(0, len(edges) - 2)
        return np.bincount(found, weights=self.counts, minlength=len(edges) - 1).astype(np.int64)

    def summary(self) -> dict[str, float | int | None]:
        """The numbers that describe it; None where there are no values."""
        shares = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
        if not self.count:
            return {"count": 0, "min": None, **dict.fromkeys(shares), "max": None, "mean": None}
        found = {name: round(self.quantile(share), 4) for name, share in shares.items()}
        ends = {"min": round(self.low, 4), "max": round(self.high, 4)}
        return {"count": self.count, **ends, **found, "mean": round(self.total / self.count, 4)}
