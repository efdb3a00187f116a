"""Drawings of a page as SVG: views with a scale bar, histograms, and where cells are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.results.report.elements import Child, Markup, element, joined, number
from terapose.results.report.spread import Spread
from terapose.results.report.views import View

_BARS = 40
_WIDE, _HIGH, _BASE = 400, 150, 22
_RANGE = (0.001, 0.999)


class Line(NamedTuple):
    """A line across a histogram, at a value, with a word."""

    at: float
    word: str


def drawn(view: View, alt: str, unit: str, *, bar: bool = True) -> Markup:
    """A view as a picture with a scale bar.

    Parameters
    ----------
    view
        The view.
    alt
        What it shows, for those who cannot see it.
    unit
        Of the size.
    bar
        Whether there is room for a scale bar.
    """
    down, right = view.size
    wide = 300.0 if view.place else 1000.0
    high = wide * down / right
    if high > 1.5 * wide:
        wide, high = wide * 1.5 * wide / high, 1.5 * wide
    whole = _at(width=wide, height=high)
    pictures = [
        element("image", href=Markup(address), class_=kind, preserveAspectRatio="none", **whole)
        for kind, address in (("grey", view.grey), ("outlines", view.outlines))
        if address
    ]
    lines = [
        element(
            "line",
            **_at(
                x1=at * wide if axis else 0,
                x2=at * wide if axis else wide,
                y1=0 if axis else at * high,
                y2=high if axis else at * high,
            ),
            class_="mark",
        )
        for axis, at in view.marks
    ]
    scale = _scale_bar(right, wide, high, unit, 20 if view.place else 30) if bar else None
    paper = element("rect", class_="paper", **whole)
    kind = "view sharp" if view.is_sharp else "view"
    return _svg(f"{wide:.1f} {high:.1f}", alt, kind, paper, *pictures, *lines, scale)


def bar_length(width: float) -> float:
    """A round length, about a quarter of a width."""
    most = width / 4
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def _scale_bar(width: float, wide: float, high: float, unit: str, font: int) -> Markup:
    """A bar with its length, on a dark ground, in the corner at the bottom right."""
    length = bar_length(width)
    drawn = length / width * wide
    words = f"{length:g} {unit}"
    ground = max(drawn, 0.62 * font * len(words)) + font
    left, top = wide - ground - 6, high - 1.9 * font - 6
    middle = left + ground / 2
    return element(
        "g",
        element(
            "rect",
            **_at(x=left, y=top, width=ground, height=1.9 * font),
            rx=3,
            class_="ground",
        ),
        element(
            "rect",
            **_at(x=middle - drawn / 2, y=top + 1.45 * font, width=drawn, height=0.22 * font),
            class_="bar",
        ),
        element(
            "text",
            words,
            **_at(x=middle, y=top + 1.1 * font),
            font_size=font,
            class_="length",
        ),
    )


def histogram(
    spread: Spread, name: str, lines: Sequence[Line] = (), *, logarithmic: bool = False
) -> Markup:
    """A histogram of values.

    Parameters
    ----------
    spread
        The values.
    name
        What they are.
    lines
        Values that are marked.
    logarithmic
        Whether classes grow with the values.
    """
    low, high = (spread.quantile(share) for share in _RANGE)
    high = max(high, low + (1 if logarithmic else 1e-6))
    if logarithmic:
        low, bars = max(low, 1.0), min(_BARS, max(1, int(high - low)))
        edges = np.geomspace(low, max(high, low + 1), bars + 1)
    else:
        edges = np.linspace(low, high, _BARS + 1)
    counts = spread.classes(edges)
    position = np.log if logarithmic else np.asarray
    ends = position(edges[[0, -1]])

    def across(value: float) -> float:
        place = (float(position(np.float64(value))) - ends[0]) / (ends[1] - ends[0])
        return float(place) * _WIDE

    bars_drawn = _bars(counts)
    marks = [
        joined(
            element("line", **_at(x1=x, x2=x), y1=0, y2=_HIGH, class_="limit"),
            element(
                "text",
                line.word,
                **_at(x=x + (4 if x < _WIDE / 2 else -4)),
                y=12,
                class_="from" if x < _WIDE / 2 else "to",
            ),
        )
        for line in lines
        if (not logarithmic or line.at > 0) and 0 <= (x := across(line.at)) <= _WIDE
    ]
    middle = spread.quantile(0.5)
    texts = [
        element("text", number(float(edges[0])), x=0, y=_HIGH + 15, class_="from"),
        element("text", number(float(edges[-1])), x=_WIDE, y=_HIGH + 15, class_="to"),
    ]
    if 0.2 * _WIDE < across(middle) < 0.8 * _WIDE:
        words = f"median {number(middle)}"
        texts.append(element("text", words, **_at(x=across(middle)), y=_HIGH + 15, class_="at"))
    said = (
        f"Histogram of {name}: median {number(middle)}, from {number(spread.low)} to "
        f"{number(spread.high)}"
    )
    return _chart(said, bars_drawn, *marks, *texts)


def by_plane(counts: NDArray[np.int64]) -> Markup:
    """Cells by plane, from the first to the last."""
    groups = np.array_split(counts, min(len(counts), 4 * _BARS))
    shown = np.array([group.sum() / len(group) for group in groups])
    texts = [
        element("text", "plane 0", x=0, y=_HIGH + 15, class_="from"),
        element("text", f"plane {len(counts) - 1}", x=_WIDE, y=_HIGH + 15, class_="to"),
        element("text", f"{number(float(shown.max()))} cells", x=4, y=12, class_="from"),
    ]
    said = (
        f"Cells by plane: at most {number(float(shown.max()))} in a plane, at least "
        f"{number(float(shown.min()))}"
    )
    return _chart(said, _bars(shown), *texts)


def density_map(density: NDArray[np.int64], size: tuple[float, float]) -> Markup:
    """Where cells are: a part of the image is the darker the more cells are in it.

    Parameters
    ----------
    density
        (down, right) cells.
    size
        Of the image, down and right.
    """
    rows, columns = density.shape
    wide, high = float(_WIDE), float(_WIDE * min(size[0] / size[1], 1.5))
    most = max(int(density.max()), 1)
    squares = [
        element(
            "rect",
            x=f"{x * wide / columns:.2f}",
            y=f"{y * high / rows:.2f}",
            width=f"{wide / columns + 0.3:.2f}",
            height=f"{high / rows + 0.3:.2f}",
            fill_opacity=f"{density[y, x] / most:.2f}",
            class_="part",
        )
        for y, x in np.argwhere(density > 0)
    ]
    frame = element("rect", **_at(width=wide, height=high), class_="frame")
    said = f"Map of the cells in {rows} x {columns} parts: at most {most} in a part"
    return _svg(f"{wide:.1f} {high:.1f}", said, "chart", *squares, frame)


def _bars(counts: NDArray[np.int64] | NDArray[np.float64]) -> Markup:
    """Bars side by side, as one path."""
    most, wide = max(float(counts.max()), 1e-9), _WIDE / len(counts)
    steps = "".join(
        f"M{n * wide:.1f} {_HIGH}V{_HIGH - (_HIGH - 20) * count / most:.1f}H{(n + 0.92) * wide:.1f}"
        f"V{_HIGH}z"
        for n, count in enumerate(map(float, counts))
        if count
    )
    return element("path", d=Markup(steps), class_="bars")


def _chart(alt: str, *parts: Markup) -> Markup:
    axis = element("line", x1=0, x2=_WIDE, y1=_HIGH, y2=_HIGH, class_="axis")
    return _svg(f"{_WIDE} {_HIGH + _BASE}", alt, "chart", *parts, axis)


def _at(**numbers: float) -> dict[str, str]:
    """Attributes that say where something is, to a tenth of a pixel."""
    return {name: f"{value:.1f}" for name, value in numbers.items()}


def _svg(size: str, alt: str, kind: str, *parts: Child) -> Markup:
    """A drawing, width and height of which are in ``size``."""
    shape = {"viewBox": f"0 0 {size}", "role": "img", "aria_label": alt, "class_": kind}
    return element("svg", *parts, **shape)
