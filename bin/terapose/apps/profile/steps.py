"""Steps of runs, and how their time and memory grow with the image.

Runs are compared if they have the same mode and network. To each quantity of a step a power of the
number of voxels is fitted, by least squares of the logarithms: an exponent of 1 means that an image
twice as large takes twice as much, one of 0 that the size does not matter. Times below `LEAST` are
left out: they are mostly that of opening files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LEAST = 0.05
"""Seconds that count for a fit."""
ALL = "all steps"
"""Name of the sum of times, and of the largest memory."""


@dataclass(frozen=True)
class Step:
    """One step of one run.

    Attributes
    ----------
    result
        Name of the results.
    name
        Of the stage, or of the process of the workflow.
    mode, network
        Of the run.
    shape
        (Z, Y, X) of the image, as it was segmented.
    tasks
        How many there were.
    seconds, processor_seconds, memory
        Of all tasks together, and bytes of the largest, as tasks measure themselves; None if not
        recorded.
    task_seconds, task_memory
        The same as Nextflow measures it, with the start of each task; None without a trace.
    """

    result: str
    name: str
    mode: str
    network: str
    shape: tuple[int, ...]
    tasks: int
    seconds: float | None = None
    processor_seconds: float | None = None
    memory: int | None = None
    task_seconds: float | None = None
    task_memory: int | None = None

    @property
    def voxels(self) -> int:
        """Of the image."""
        return math.prod(self.shape)


class Power(NamedTuple):
    """``factor * voxels ** exponent``."""

    factor: float
    exponent: float


@dataclass(frozen=True)
class Growth:
    """A step in the largest run of a group, and how it grows.

    Attributes
    ----------
    step
        In the run with the most voxels.
    share
        Of the seconds of all steps of that run; None if they are not known.
    seconds, memory
        Fits over all runs of the group; None with fewer than two sizes.
    """

    step: Step
    share: float | None
    seconds: Power | None
    memory: Power | None


class Group(NamedTuple):
    """Runs that are compared: their mode, network, and number, and the growth of each step."""

    mode: str
    network: str
    runs: int
    growth: list[Growth]


def fit(points: Iterable[tuple[float, float | None]]) -> Power | None:
    """Fit a power to numbers of voxels and values; None with fewer than two sizes."""
    known = [(math.log(n), math.log(value)) for n, value in points if n > 0 and value]
    sizes = {size for size, _ in known}
    if len(sizes) < 2:
        return None
    x, y = np.array(known).T
    exponent = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
    return Power(math.exp(float(y.mean() - exponent * x.mean())), exponent)


def time_of(step: Step) -> float | None:
    """Seconds of a step: its own, or Nextflow's where it has none."""
    return step.task_seconds if step.seconds is None else step.seconds


def memory_of(step: Step) -> int | None:
    """Memory of a step: the larger of what is known."""
    return max((m for m in (step.memory, step.task_memory) if m is not None), default=None)


def totals(steps: Sequence[Step]) -> list[Step]:
    """A step of all steps for each run."""
    found = []
    for result in dict.fromkeys(step.result for step in steps):
        own = [step for step in steps if step.result == result]
        first, work = own[0], [s for s in own if s.seconds is not None]
        memories = [m for step in own if (m := memory_of(step)) is not None]
        found.append(
            Step(
                result,
                ALL,
                first.mode,
                first.network,
                first.shape,
                sum(step.tasks for step in work),
                _sum(work, lambda step: step.seconds),
                _sum(work, lambda step: step.processor_seconds),
                max(memories, default=None),
                _sum(own, lambda step: step.task_seconds),
            )
        )
    return found


def _sum(steps: Sequence[Step], value: Callable[[Step], float | None]) -> float | None:
    """Of a quantity, where it is known; None where it never is."""
    known = [v for step in steps if (v := value(step)) is not None]
    return sum(known) if known else None


def groups(steps: Sequence[Step]) -> list[Group]:
    """Runs by mode and network, with the growth of each step, in the order of the stages."""
    found = []
    for mode, network in dict.fromkeys((step.mode, step.network) for step in steps):
        own = [step for step in steps if (step.mode, step.network) == (mode, network)]
        whole = totals(own)
        largest = max(whole, key=lambda step: step.voxels)
        named = [*(s for s in own if s.result == largest.result), largest]
        found.append(
            Group(mode, network, len(whole), [_growth(s, largest, [*own, *whole]) for s in named])
        )
    return found


def _growth(step: Step, largest: Step, every: Sequence[Step]) -> Growth:
    """How a step grows."""
    same = [other for other in every if other.name == step.name]
    times = [(s.voxels, t) for s in same if (t := time_of(s)) is not None and t >= LEAST]
    share = None
    if step.seconds is not None and largest.seconds:
        share = step.seconds / largest.seconds
    return Growth(step, share, fit(times), fit((s.voxels, memory_of(s)) for s in same))
