"""The modes of ``normalize`` by name (what goes with each: `terapose.core.normalizing`)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.core.geometry import Box
from terapose.intermediates.intensities import Extremes
from terapose.intermediates.normalizing import histograms, limits, planes, tiles, unscaled
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added


class Mode(Protocol):
    """What a module of this package has."""

    def measure(self, job: Job, seen: list[Extremes]) -> dict[str, NDArray[Any]]:
        """Measure the items of a task of **intensities**.

        Parameters
        ----------
        job
            The task.
        seen
            Of each channel in use; what is read is added (`read_finite`).

        Returns
        -------
        dict
            Columns of a table, which may be empty.
        """

    def find(self, job: Job, results: list[Result]) -> list[tuple[ArrayLike, ArrayLike]]:
        """Find the low and high of each channel, of everything that is scaled by itself.

        Parameters
        ----------
        job
            The gather **percentiles**.
        results
            Of the tasks: ``table``, the name of what `measure` returned, and ``extremes``, of each
            channel the smallest and the largest value, and what float32 makes of them.
        """

    def keep(self, job: Job, ends: list[tuple[ArrayLike, ArrayLike]]) -> Added:
        """Keep what `find` found, once it has been checked."""

    def scaled(self, job: Job, values: NDArray[Any], box: Box, n: int) -> NDArray[np.float32]:
        """Voxels as the network takes them.

        Parameters
        ----------
        job
            A task of a pass of the network.
        values
            Voxels (Z, Y, X) of the ``n``-th channel in use; they may be changed.
        box
            Where they are in the region that is segmented.
        n
            From 0.
        """


MODES: dict[str, Mode] = {
    "global": histograms,
    "plane": planes,
    "tile": tiles,
    "none": unscaled,
    "lowhigh": limits,
}


def mode_of(job: Job) -> Mode:
    """That of a run."""
    return MODES[job.plan.intensity.mode]
