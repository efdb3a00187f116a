"""intensities: count every value of the channels in use, block by block.

Exact: see `terapose.intensity`. With ``percentile_sampling: cellpose`` only the voxels of the
strided grid are counted that `cellpose.transforms.normalize99` looks at in images above 224**3
voxels; the grid belongs to the whole image, so each block counts its part of it. Voxels that are
not finite numbers stop the run here: no later stage has to expect them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.errors import InputError
from terapose.geometry import ZYX, Box
from terapose.intensity import Histogram
from terapose.job import Job
from terapose.plan import IntensityPlan

_DOWNSAMPLED = 224**3


def stride(shape: ZYX, sampling: str) -> ZYX:
    """Steps of the grid of voxels that are counted (Z, Y, X)."""
    z, y, x = shape
    if sampling == "exact" or z * y * x <= _DOWNSAMPLED:
        return (1, 1, 1)
    return (max(1, z // 50), max(1, y // 224), max(1, x // 224))


def sampled(values: NDArray[Any], box: Box, steps: ZYX) -> NDArray[Any]:
    """The voxels of a box that lie on the image's grid of ``steps``."""
    z, y, x = (slice(-a % n, None, n) for a, n in zip(box.start, steps, strict=True))
    return values[z, y, x]


def counted(values: NDArray[Any], rules: IntensityPlan) -> NDArray[Any]:
    """The voxels that count for the percentiles."""
    if rules.foreground_min is None:
        return values
    return values[values >= rules.foreground_min]


def check_finite(values: NDArray[Any], box: Box, address: str, channel: int) -> None:
    """Refuse NaN and infinite voxels.

    Raises
    ------
    InputError
        Naming the first one.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = ~np.isfinite(values)
    at = np.argwhere(bad)[0]
    place = tuple(int(a + b) for a, b in zip(at, box.start, strict=True))
    raise InputError(
        "the image has voxels that are not finite numbers",
        where=f"{address}, channel {channel}",
        got=f"{values[tuple(at)]} at z, y, x = {place} and {int(bad.sum()) - 1} more in its block",
        allowed="finite intensities",
        remedy="replace them, for example with 0",
    )


def run(job: Job) -> dict[str, Any]:
    """Count the blocks of one task; the histograms go to the store."""
    planned, rules = job.plan.image, job.plan.intensity
    steps = stride(planned.shape, rules.sampling)
    histograms = [Histogram.empty(np.dtype(planned.dtype), windows) for windows in rules.windows]
    extremes = [[np.inf, -np.inf] for _ in planned.channels]
    for item in job.items:
        box = job.plan.grid[item]
        for channel, histogram, extreme in zip(planned.channels, histograms, extremes, strict=True):
            values = job.read_image(box, channel)
            check_finite(values, box, planned.address, channel)
            extreme[0] = min(extreme[0], float(values.min()))
            extreme[1] = max(extreme[1], float(values.max()))
            histogram.add(counted(sampled(values, box, steps), rules))
    name = job.name(f"{job.task}.npz")
    job.store.put_table(name, pack(histograms))
    return {"histograms": name, "extremes": extremes}


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
