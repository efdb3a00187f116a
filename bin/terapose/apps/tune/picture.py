"""The sheet as a PNG: a row for each parameter, at the place where its values matter most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.figures import save
from terapose.apps.tune.search import Outcome, Shown
from terapose.apps.tune.sections import cells_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _DPI = 2.2, 120
"""Inches of a panel, and dots an inch."""
_INK, _PAPER, _CELLS, _TRUTH = "#f2f2f2", "#101014", "#ffb000", "#40e0ff"


def draw(outcomes: Sequence[Outcome], greys: Sequence[NDArray[Any]], path: Path) -> None:
    """Draw the sheet.

    Parameters
    ----------
    outcomes
        What each sweep has shown.
    greys
        The section of the image at the first place of each.
    path
        PNG file to write; it is replaced in one piece.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    wide = max(len(outcome.trials) for outcome in outcomes)
    size = _PANEL * wide + 0.4, (_PANEL + 0.45) * len(outcomes)
    figure = Figure(figsize=size, facecolor=_PAPER, layout="constrained")
    panels = figure.subplots(len(outcomes), wide, squeeze=False)
    for row, outcome, grey in zip(panels, outcomes, greys, strict=True):
        for axes in row:
            axes.set_axis_off()
        for n, axes in zip(range(len(outcome.trials)), row, strict=False):
            _panel(axes, grey, outcome.shown[0], n)
            axes.set_title(_title(outcome, n), color=_INK, fontsize=8, loc="left", pad=3)
    save(figure, path, dpi=_DPI, facecolor=_PAPER)


def _title(outcome: Outcome, n: int) -> str:
    """What a panel shows."""
    trial = outcome.trials[n]
    words = [f"{outcome.sweep.name if n == 0 else ''} {trial.value:g}".strip()]
    if trial.value == outcome.others[outcome.sweep.name]:
        words[0] += " *"
    words.append(f"{cells_in(outcome.shown[0].labels[n])} cells")
    if trial.precision is not None:
        words.append(f"AP {trial.precision[0]:.2f}")
        if trial.value == outcome.chosen:
            words.append("best")
    return ", ".join(words)


def _panel(axes: Axes, grey: NDArray[Any], one: Shown, n: int) -> None:
    """A place at one value."""
    values = np.nan_to_num(grey.astype(np.float64), posinf=0, neginf=0)
    low, high = np.percentile(values, [1, 99.7])
    axes.imshow(np.clip((values - low) / max(high - low, 1e-9), 0, 1) ** 0.8, cmap="gray")
    if one.reference is not None:
        _outline(axes, one.reference, _TRUTH)
    _outline(axes, one.labels[n], _CELLS)


def _outline(axes: Axes, labels: NDArray[np.int64], colour: str) -> None:
    """Lines along the edges of pixels, between cells and around them."""
    edge = np.pad(labels, 1)
    across = np.argwhere(edge[:, 1:] != edge[:, :-1])
    down = np.argwhere(edge[1:] != edge[:-1])
    lines = [np.array([[x - 0.5, y - 1.5], [x - 0.5, y - 0.5]]) for y, x in across]
    lines += [np.array([[x - 1.5, y - 0.5], [x - 0.5, y - 0.5]]) for y, x in down]
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7))
