"""Ratios that may have nothing below the line, and plain numbers for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ratio(part: float, whole: float) -> float:
    """A share; NaN of nothing."""
    return float(part / whole) if whole else math.nan


def quartiles(values: NDArray[Any]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile; NaN of nothing."""
    if not len(values):
        return math.nan, math.nan, math.nan
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def plain(value: Any) -> Any:
    """Numbers, lists and dictionaries for JSON: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
