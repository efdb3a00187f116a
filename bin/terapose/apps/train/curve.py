"""The picture of a training: losses and average precision by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terapose.apps.figures import save
from terapose.networks.weights import beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOSSES = (("loss", "training"), ("held_out_loss", "held out"))
_SCORES = (("ap50", "IoU 0.5"), ("ap75", "IoU 0.75"))


def curve_of(output: Path) -> Path:
    """Path of the picture of a training that writes ``output``."""
    return beside(output, ".png")


def draw_curve(history: Sequence[dict[str, float]], path: Path, *, kept: int | None = None) -> None:
    """Draw losses (left) and average precision on what was held out (right) as a PNG.

    Parameters
    ----------
    history
        One line an epoch, with "epoch" and any of "loss", "held_out_loss", "ap50" and "ap75".
    path
        File to write; it is replaced in one piece.
    kept
        Epoch whose weights were kept, to mark.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    _panel(losses, history, _LOSSES, "loss", kept)
    _panel(scores, history, _SCORES, "average precision, held out", kept)
    scores.set_ylim(0, 1)
    save(figure, path, dpi=120)


def _panel(
    axes: Axes,
    history: Sequence[dict[str, float]],
    lines: Sequence[tuple[str, str]],
    title: str,
    kept: int | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    for key, name in lines:
        points = [(line["epoch"], line[key]) for line in history if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
    if kept is not None:
        axes.axvline(kept, color="0.6", linestyle=":", label=f"kept: epoch {kept}")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing was held out", transform=axes.transAxes, ha="center")
