"""Voxels whose intensities are measured: which, read where, and what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.precision import EXACT, check_held, loss_of
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box
from terapose.io.store.store import Store
from terapose.pipeline.intensity_plan import IntensityPlan
from terapose.pipeline.job import Job

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


@dataclass
class Extremes:
    """What was seen of the voxels of a channel.

    Attributes
    ----------
    least, most
        The smallest and the largest.
    loss
        What float32 makes of them (`terapose.algorithms.normalize.precision`).
    """

    least: float = np.inf
    most: float = -np.inf
    loss: int = EXACT

    def add(self, other: Extremes) -> None:
        """Take in what was seen of other voxels."""
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.loss = max(self.loss, other.loss)


def read_finite(job: Job, box: Box, n: int, seen: Extremes) -> NDArray[Any]:
    """Finite voxels of a box of the whole image, of the ``n``-th channel in use.

    Parameters
    ----------
    job
        A task.
    box
        In voxels of the whole image.
    n
        From 0.
    seen
        Of this channel; what these voxels are is added.

    Raises
    ------
    InputError
        If a voxel is not a finite number.
    """
    channel = job.plan.image.channels[n]
    values = job.read_whole(box, channel)
    _check_finite(values, box, job.plan.image.address, channel)
    seen.add(Extremes(float(values.min()), float(values.max()), loss_of(values)))
    return values


def _check_finite(values: NDArray[Any], box: Box, address: str, channel: int) -> None:
    """Refuse NaN and infinite voxels, and those that would be infinite in float32.

    Raises
    ------
    InputError
        Naming the first one.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        check_held(values, address, channel)
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


def scale_table(job: Job) -> dict[str, NDArray[np.float32]]:
    """The table of low and high that **percentiles** has left, by plane or by place.

    Planes are those of the region that is segmented; channels are those in use.
    """
    return _table(job.store.address, job.store.run, job.before.scale)


@lru_cache(maxsize=1)
def _table(address: str, run: str, name: str) -> dict[str, NDArray[np.float32]]:
    return Store(address, run).get_table(name)
