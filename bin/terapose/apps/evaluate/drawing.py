"""The picture of scores: average precision by IoU, the sizes of cells, and scores by size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.evaluation import CURVE, Evaluation
from terapose.apps.evaluate.groups import Found
from terapose.apps.figures import save
from terapose.core.errors import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#1f77b4", "#d95f02", "#8a8a8a"
_BARS = 30
_WIDE = 10
"""Largest by smallest size from which sizes have a logarithmic scale."""


def draw(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Draw the scores of one or several pairs of images as a PNG.

    Parameters
    ----------
    evaluations
        Of each pair, by name.
    path
        File to write; it is replaced in one piece.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = list(evaluations.values())
    seams = any(one.seams is not None for one in found)
    rows, columns = (2, 2) if seams else (1, 3)
    figure = Figure(figsize=(4.4 * columns, 3.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns).ravel()
    _curves(panels[0], evaluations)
    _histogram(panels[1], found)
    _by_size(panels[2], found)
    if seams:
        _seams(panels[3], found)
    save(figure, path, dpi=130)


def _curves(axes: Axes, evaluations: Mapping[str, Evaluation]) -> None:
    """Average precision by IoU: a line for each of a few pairs, or the mean of many."""
    curves = np.array([one.curve.average_precision for one in evaluations.values()])
    several = len(curves) > 1
    for name, curve in zip(evaluations, curves, strict=True):
        style = {"color": _GREY, "alpha": 0.5, "linewidth": 0.8} if several else {"color": _BLUE}
        label = None if several else shown(name, 40).replace("$", r"\$")
        axes.plot(CURVE, curve, marker="" if several else "o", markersize=4, label=label, **style)
    if several:
        known = np.isfinite(curves)
        mean = np.where(known, curves, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        label = f"mean of {len(curves)} images"
        axes.plot(CURVE, mean, marker="o", markersize=4, color=_BLUE, label=label)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8, loc="best")
    _label(axes, "Average precision", "IoU from which two cells match")


def _histogram(axes: Axes, found: Sequence[Evaluation]) -> None:
    """Sizes of the cells of both images; on a logarithmic scale if they differ much."""
    scale = found[0].settings.scale
    sizes = [
        np.concatenate([getattr(one.spread, name) for one in found])
        for name in ("reference", "predicted")
    ]
    both = np.concatenate(sizes)
    if len(both):
        low, high = float(both.min()), float(both.max())
        is_wide = high > _WIDE * low
        spaced = np.geomspace if is_wide else np.linspace
        bins = spaced(low * 0.95, high * 1.05, _BARS + 1)
        names = ("reference", "predicted")
        for values, name, colour in zip(sizes, names, (_GREY, _BLUE), strict=True):
            counts, _ = np.histogram(values, bins)
            label = f"{name}: {len(values):,}"
            axes.stairs(counts, bins, fill=True, color=colour, alpha=0.35, label=label)
            axes.stairs(counts, bins, color=colour, linewidth=1.2)
        if is_wide:
            _logarithmic(axes)
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "no cells", transform=axes.transAxes, ha="center")
    what = "Diameter" if scale.diameter else "Size"
    _label(axes, "Cells by size", f"{what} ({scale.unit_of_edges})", "cells")


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis, with numbers as people write them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _by_size(axes: Axes, found: Sequence[Evaluation]) -> None:
    """Recall and average precision at an IoU of 0.5 in each range of sizes."""
    ranges = found[0].sizes
    if len(found) > 1 and found[0].settings.scale.edges is None:
        axes.text(0.5, 0.5, "give sizes or diameters", transform=axes.transAxes, ha="center")
        _label(axes, "Scores by size", "")
        return
    pooled = [
        sum((one.sizes[n].found for one in found), Found(0, 0, 0)) for n in range(len(ranges))
    ]
    names = [_range(one.low, one.high) for one in ranges]
    _bars(axes, pooled, names)
    what = "Diameter" if found[0].settings.scale.diameter else "Size"
    unit = found[0].settings.scale.unit_of_edges
    _label(axes, "Scores by size (IoU 0.5)", f"{what} ({unit})")


def _seams(axes: Axes, found: Sequence[Evaluation]) -> None:
    """Recall and average precision at seams and elsewhere."""
    seams = [one.seams for one in found if one.seams is not None]
    total = sum(seams[1:], seams[0])
    groups = [total.at_seams, total.elsewhere, total.only_seams, total.only_halfway]
    _bars(axes, groups, ["at seams", "elsewhere", "only\nseams", "only\nhalfway"])
    _label(axes, "Cells at seams of blocks (IoU 0.5)", "")


def _bars(axes: Axes, groups: Sequence[Found], names: Sequence[str]) -> None:
    """Two bars for each group, with intervals, and its number of cells."""
    places = np.arange(len(groups))
    drawn = (
        ("recall", [(one.recall, one.recall_interval) for one in groups], _BLUE, -0.2),
        (
            "average precision",
            [(one.average_precision, one.average_precision_interval) for one in groups],
            _ORANGE,
            0.2,
        ),
    )
    for label, scores, colour, shift in drawn:
        values = np.nan_to_num(np.array([value for value, _ in scores], np.float64))
        axes.bar(places + shift, values, 0.38, color=colour, alpha=0.75, label=label)
        whiskers = np.nan_to_num(_whiskers(values, scores))
        axes.errorbar(places + shift, values, whiskers, fmt="none", ecolor="0.2", capsize=3)
    ticks = [f"{name}\n{one.reference:,}" for name, one in zip(names, groups, strict=True)]
    axes.set_xticks(places, ticks, fontsize=8)
    axes.set_ylim(0, 1.25)
    axes.set_yticks(np.arange(0, 1.1, 0.2))
    axes.legend(fontsize=8, loc="upper left", ncols=2)


def _whiskers(
    values: NDArray[np.float64], scores: Sequence[tuple[float, tuple[float, float]]]
) -> NDArray[np.float64]:
    """(2, N) lengths below and above."""
    ends = np.array([interval for _, interval in scores], np.float64).T
    return np.asarray(np.maximum(np.stack([values - ends[0], ends[1] - values]), 0))


def _range(low: float, high: float) -> str:
    if not math.isfinite(high):
        return f"from {low:.4g}"
    return f"{low:.4g} to {high:.4g}" if low else f"below {high:.4g}"


def _label(axes: Axes, title: str, across: str, up: str = "") -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.grid(alpha=0.3, axis="both" if up == "" and "IoU from" in across else "y")
    axes.set_axisbelow(True)
