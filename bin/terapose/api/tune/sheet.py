"""The contact sheet: for each parameter a table, and the places at which its values matter most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.tune.search import MARGIN, Outcome, Shown
from terapose.apps.tune.sections import cells_in, enlarged
from terapose.core.errors import shown
from terapose.core.version import __version__
from terapose.results.report.drawing import drawn
from terapose.results.report.elements import Child, Markup, element, joined, number, table
from terapose.results.report.pixels import (
    as_grey,
    contrast_of,
    grey_png,
    outline_png,
    outlined,
)
from terapose.results.report.style import page
from terapose.results.report.views import View

if TYPE_CHECKING:
    from terapose.api.tune.writing import Facts

_REFERENCE, _CHANGED = 2, 3
"""Colours of `outline_png`: of the reference's outlines, and of cells that changed."""
_SAID = {
    "diameter": "The diameter of a typical cell, by which the image is scaled for the network.",
    "flow3d_smooth": "Smoothing of the flows: joins pieces of cells, and merges small ones.",
    "cellprob_threshold": "A lower threshold finds more and larger cells.",
    "flow_threshold": "Highest flow error of a cell; 0 keeps all. A lower one drops more cells.",
    "min_size": "Smaller cells are dropped.",
}


def sheet(
    facts: Facts, outcomes: Sequence[Outcome], greys: Sequence[Sequence[NDArray[Any]]]
) -> str:
    """The page.

    Parameters
    ----------
    facts
        What was tried on.
    outcomes
        What each sweep has shown.
    greys
        The section of the image for each place that an outcome shows.
    """
    name = shown(facts.address).rstrip("/").rpartition("/")[2]
    switch = element(
        "label",
        element("input", type="checkbox", id="outlines", checked="checked"),
        " Outlines of cells",
        class_="switch",
    )
    return page(
        f"{name} - Terapose tune",
        element("h1", f"Tuning: {name}"),
        element("p", shown(facts.address), class_="dim"),
        _facts(facts, outcomes),
        element("p", _how(facts)),
        switch,
        *(_section(facts, outcome, some) for outcome, some in zip(outcomes, greys, strict=True)),
        _regions(facts),
        element("p", f"Made by Terapose {__version__}.", class_="dim"),
    )


def _how(facts: Facts) -> str:
    """How to read the page."""
    begin = (
        "One parameter after the other was varied. Outlines are orange; cells are filled if they "
        "have no counterpart (IoU of 0.75 or more) at the starting value, which is marked with *. "
    )
    if facts.reference:
        return begin + (
            "The reference is blue. The value with the highest mean of the two average precisions "
            f"is kept for the parameters below it, if it gains more than {MARGIN:g}. On other "
            "regions the scores will be lower: the values were chosen on these."
        )
    return begin + (
        "Without a reference nothing says which value is best: look at the places, and choose. "
        "Where the cells agree with those of the value before, the choice matters little."
    )


def _facts(facts: Facts, outcomes: Sequence[Outcome]) -> Markup:
    """The main numbers."""
    tiles: dict[str, str] = {
        "Mode": facts.mode,
        "Regions": str(len(facts.boxes)),
        "Voxels of a region": " x ".join(map(str, facts.boxes[0].shape)),
        "Label images": str(len(facts.boxes) * sum(len(o.trials) for o in outcomes)),
    }
    for outcome in outcomes:
        kind = "Best" if facts.reference else "Start"
        tiles[f"{kind} {outcome.sweep.name}"] = number(outcome.chosen)
    rows = [element("div", element("dt", k), element("dd", v)) for k, v in tiles.items()]
    return element("dl", *rows, class_="facts")


def _section(facts: Facts, outcome: Outcome, greys: Sequence[NDArray[Any]]) -> Markup:
    """What a sweep has shown."""
    name = outcome.sweep.name
    scale = contrast_of(greys)
    parts: list[Child] = [element("h2", name), element("p", _SAID[name]), _table(facts, outcome)]
    for one, grey in zip(outcome.shown, greys, strict=True):
        z, y, x = one.place.window.moved(facts.boxes[one.region].start).start
        offset = facts.opened.region.start
        at = f"from voxel {z + offset[0]}, {y + offset[1]}, {x + offset[2]}"
        said = f"Region {one.region + 1}, {at}: {one.place.share:.0%} of the cells' voxels change"
        picture = grey_png(as_grey(grey, scale))
        figures = [_figure(outcome, one, n, picture) for n in range(len(outcome.trials))]
        parts += [element("h3", said), element("div", *figures, class_="views")]
    return joined(*parts)


def _table(facts: Facts, outcome: Outcome) -> Markup:
    """A row for each value."""
    header: list[Child] = ["value", "cells", "median size", "agreement 0.5", "agreement 0.75"]
    if facts.reference:
        header += ["AP 0.5", "AP 0.75", "best"]
    rows: list[list[Child]] = []
    for trial in outcome.trials:
        row: list[Child] = [_value(outcome, trial.value), number(trial.cells)]
        row += [number(trial.median_size), *_scores(trial.agreement)]
        if facts.reference:
            row += [*_scores(trial.precision), "best" if trial.value == outcome.chosen else ""]
        rows.append(row)
    said = "Agreement: average precision against the cells of the value above, at two IoU"
    return table(header, rows, said)


def _scores(values: tuple[float, ...] | None) -> list[Child]:
    """Average precisions; dashes where there are none."""
    return [
        number(None) if math.isnan(value) else f"{value:.3f}"
        for value in values or (math.nan, math.nan)
    ]


def _value(outcome: Outcome, value: float) -> str:
    """A value; that of the start has a mark."""
    mark = " *" if value == outcome.others[outcome.sweep.name] else ""
    return f"{value:g}{mark}"


def _figure(outcome: Outcome, one: Shown, n: int, grey: str) -> Markup:
    """A place at one value."""
    labels = one.labels[n]
    factor = enlarged(labels.shape)
    pixels = np.zeros((labels.shape[0] * factor, labels.shape[1] * factor), np.uint8)
    pixels[one.changes[n].repeat(factor, 0).repeat(factor, 1)] = _CHANGED
    if one.reference is not None:
        pixels[outlined(one.reference, (factor, factor)) != 0] = _REFERENCE
    pixels[outlined(labels, (factor, factor)) != 0] = 1
    size = float(labels.shape[0]), float(labels.shape[1])
    view = View("place", size, grey, outline_png(pixels), True, ())
    value = _value(outcome, outcome.trials[n].value)
    said = f"{value}: {cells_in(labels)} cells here"
    alt = f"{outcome.sweep.name} {said}"
    return element("figure", drawn(view, alt, "px", bar=False), element("figcaption", said))


def _regions(facts: Facts) -> Markup:
    """Where the regions are."""
    rows: list[list[Child]] = [[str(n + 1), facts.region(n)] for n in range(len(facts.boxes))]
    return joined(element("h2", "Regions"), table(["region", "z, y, x"], rows))
