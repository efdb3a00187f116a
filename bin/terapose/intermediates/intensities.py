"""Histograms of channels, and which voxels they count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.histogram import Histogram
from terapose.core.geometry import ZYX, Box
from terapose.pipeline.plan import IntensityPlan

_DOWNSAMPLED = 224**3


def stride(shape: ZYX, sampling: str) -> ZYX:
    """Steps of the grid of voxels that are counted (Z, Y, X)."""
    z, y, x = shape
    if sampling == "exact" or z * y * x <= _DOWNSAMPLED:
        return (1, 1, 1)
    return (max(1, z // 50), max(1, y // 224), max(1, x // 224))


def sampled(values: NDArray[Any], box: Box, steps: ZYX) -> NDArray[Any]:
    """The voxels of a box that are on the image's grid of ``steps``."""
    z, y, x = (slice(-a % n, None, n) for a, n in zip(box.start, steps, strict=True))
    return values[z, y, x]


def counted(values: NDArray[Any], rules: IntensityPlan) -> NDArray[Any]:
    """The voxels that count for the percentiles."""
    if rules.foreground_min is None:
        return values
    return values[values >= rules.foreground_min]


def pack(histograms: list[Histogram]) -> dict[str, NDArray[Any]]:
    """Histograms as columns."""
    columns: dict[str, NDArray[Any]] = {}
    for n, histogram in enumerate(histograms):
        columns[f"coarse{n}"] = histogram.coarse
        for window, counts in histogram.fine.items():
            columns[f"fine{n}_{window}"] = counts
    return columns


def unpack(columns: dict[str, NDArray[Any]], dtype: str, count: int) -> list[Histogram]:
    """Undo `pack`."""
    histograms = [Histogram(np.dtype(dtype), columns[f"coarse{n}"]) for n in range(count)]
    for name, counts in columns.items():
        if name.startswith("fine"):
            channel, window = name.removeprefix("fine").split("_")
            histograms[int(channel)].fine[int(window)] = counts
    return histograms
