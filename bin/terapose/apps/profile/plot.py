"""Time and memory of steps against voxels, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terapose.apps.figures import save
from terapose.apps.profile.steps import (
    ALL,
    Group,
    Power,
    Step,
    memory_of,
    time_of,
    totals,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = 9
"""Steps that are drawn, those that take longest in the largest run."""


def plot(steps: Sequence[Step], found: Sequence[Group], path: Path) -> None:
    """Draw a row of two panels for each group.

    Parameters
    ----------
    steps
        All steps.
    found
        Their groups.
    path
        PNG file to write; it is replaced in one piece.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 2, squeeze=False)
    for (left, right), group in zip(panels, found, strict=True):
        own = [s for s in steps if (s.mode, s.network) == (group.mode, group.network)]
        every = [*own, *totals(own)]
        _panel(left, every, group, time_of, 1.0)
        _panel(right, every, group, memory_of, 1e9)
        left.set_ylabel("seconds")
        right.set_ylabel("peak memory, GB")
        title = f"mode {group.mode}, {group.network}"
        left.set_title(title, loc="left", fontsize=10, parse_math=False)
        right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(figure, path, dpi=120)


def _panel(
    axes: Axes,
    steps: Sequence[Step],
    group: Group,
    value: Callable[[Step], float | None],
    unit: float,
) -> None:
    """One quantity of the steps that take longest."""
    longest = sorted(group.growth, key=lambda one: -(time_of(one.step) or 0))[:_LINES]
    for growth in longest:
        name = growth.step.name
        points = sorted((s.voxels, v / unit) for s in steps if s.name == name and (v := value(s)))
        if not points:
            continue
        label = f"{name}: time {_power(growth.seconds)}, memory {_power(growth.memory)}"
        bold = name == ALL
        axes.plot(
            *zip(*points, strict=True),
            marker="o",
            markersize=4,
            linewidth=2.2 if bold else 1.2,
            color="black" if bold else None,
            label=label,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("voxels")
    axes.grid(visible=True, which="major", alpha=0.3)


def _power(power: Power | None) -> str:
    """An exponent as a legend has it."""
    return "?" if power is None else f"n^{power.exponent:.2f}"
