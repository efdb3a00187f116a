"""The page of a sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from terapose.core.amounts import in_bytes
from terapose.core.thresholds import flow_threshold
from terapose.results.report import drawing
from terapose.results.report.cells import Summary
from terapose.results.report.elements import Child, Markup, element, joined, number, table
from terapose.results.report.findings import Finding
from terapose.results.report.places import KINDS
from terapose.results.report.style import page
from terapose.results.report.views import View

_SAID = {
    "random": "Chosen at random, with a fixed seed, from the parts of the image that have cells.",
    "corner": "Where blocks of the run meet (dashed): cells there must look like any others.",
    "error": "The network's flows fit these cells least.",
    "probability": "The network is least sure of these cells.",
    "largest": "They may be several cells that were merged.",
    "smallest": "They may be pieces of cells, or dirt.",
}
_SECTIONS = {"YX": "from above", "ZX": "from the front", "ZY": "from the side"}


def sample_page(
    facts: Mapping[str, Any],
    some: Sequence[Finding],
    found: Summary | None,
    shown: Sequence[View],
) -> str:
    """The page of a sample.

    Parameters
    ----------
    facts
        `terapose.results.report.numbers.numbers`.
    some
        What was found.
    found
        What the table of cells says.
    shown
        Views.
    """
    unit = "µm" if facts["labels"]["voxel_size"] else "px"
    return page(
        f"{facts['sample']} - Terapose report",
        element("h1", facts["sample"]),
        element("p", facts["image"]["address"], class_="dim"),
        _tiles(facts),
        warnings(some),
        _pictures(facts, shown, unit),
        *([] if found is None or not found.size.count else [_charts(facts, found)]),
        _scaling(facts),
        _stages(facts),
        _details(facts),
        element("p", f"Made by Terapose {facts['terapose']}.", class_="dim"),
    )


def warnings(some: Sequence[Finding]) -> Markup:
    """What was found, each with what to try."""
    if not some:
        return element("p", "No warnings.")
    rows = [
        element("li", element("strong", one.said), " ", element("span", *_with_code(one.remedy)))
        for one in some
    ]
    return joined(element("h2", "Warnings"), element("ul", *rows, class_="warnings"))


def _with_code(text: str) -> list[Child]:
    """A sentence in which options are code, with their values; lines do not end within them."""
    parts = re.split(r"(--[a-z][a-z0-9-]*(?: drop| \d+(?:\.\d+)?)?)", text)
    return [element("code", part) if n % 2 else part for n, part in enumerate(parts)]


def _tiles(facts: Mapping[str, Any]) -> Markup:
    size = "area" if facts["mode"] == "2d" else "volume"
    statistics = facts["statistics"] or {}
    cells: dict[str, str | None] = {"Cells": number(facts["cells"])}
    if statistics:
        unit = "px" if facts["mode"] == "2d" else "voxels"
        density = statistics["density"]
        words = {
            "per_mm2": "per mm²",
            "per_mm3": "per mm³",
            "per_megapixel": "per 10⁶ px",
            "per_megavoxel": "per 10⁶ voxels",
        }
        cells |= {
            f"Median {size}": f"{number(statistics['size']['median'])} {unit}",
            "Density": f"{number(density['value'])} {words[density['unit']]}",
            "At the border": number(statistics["touching_border"]),
        }
    channels = ", ".join(f"{c['number']} ({c['name']})" for c in facts["image"]["channels"])
    cells |= {"Mode": facts["mode"], **_origin(facts, channels or None)}
    rows = [
        element("div", element("dt", title), element("dd", value)) for title, value in cells.items()
    ]
    return element("dl", *rows, class_="facts")


def _origin(facts: Mapping[str, Any], channels: str | None) -> dict[str, str | None]:
    """What the cells were found with, or whose they are."""
    if "given_labels" in facts:
        return {"Channel": channels, "Labels": facts["given_labels"]["address"]}
    return {
        "Diameter used": diameter_said(facts["diameter"]),
        "Channel": channels,
        "Network": facts["network"]["name"],
    }


_ORIGINS = {"given": ", given", "found": ", found in the image", "network": ", the network's own"}


def diameter_said(diameter: Mapping[str, Any]) -> str:
    """The diameter that a network used, and how it came about."""
    if diameter["used"] is None:
        return "unknown"
    return f"{number(diameter['used'])} px{_ORIGINS.get(diameter['origin'], '')}"


def _pictures(facts: Mapping[str, Any], shown: Sequence[View], unit: str) -> Markup:
    switch = element(
        "label",
        element("input", type="checkbox", id="outlines", checked="checked"),
        " Outlines of cells",
        class_="switch",
    )
    parts: list[Child] = [element("h2", "Pictures"), switch]
    overview = [view for view in shown if view.kind in ("overview", "detail")]
    parts += [_overview(view, facts, unit) for view in overview]
    sections = [view for view in shown if view.kind in _SECTIONS]
    if sections:
        parts.append(_sections(sections, unit))
    for kind, title in KINDS.items():
        some = [view for view in shown if view.kind == kind]
        if some:
            figures = [_figure(view, title, unit, facts["mode"]) for view in some]
            parts += [
                element("h3", title),
                element("p", _SAID[kind], class_="dim"),
                element("div", *figures, class_="views"),
            ]
    return joined(*parts)


def _overview(view: View, facts: Mapping[str, Any], unit: str) -> Markup:
    said = "The whole plane with its cells"
    if view.kind == "detail":
        said = "Where most cells are, at full resolution"
    elif not view.grey:
        said = "The cells of the whole plane; the image has no level small enough to show it"
    elif not view.outlines:
        said = "The whole plane; the label image has no level small enough to show it"
    alt = f"{said}: {number(facts['cells'])} cells in all"
    caption = element("figcaption", f"{said}.")
    return element("figure", drawing.drawn(view, alt, unit), caption, class_="overview")


def _sections(some: Sequence[View], unit: str) -> Markup:
    """Three sections to one scale: YX, beside it ZY, below it ZX."""
    size = {view.kind: view.size for view in some}
    wide, deep = size["YX"][1], size["ZY"][1]
    figures = {
        view.kind: element(
            "figure",
            drawing.drawn(
                view,
                f"Section {view.kind} through a cell, {_SECTIONS[view.kind]}, with outlines",
                unit,
                bar=view.kind == "YX",
            ),
            element("figcaption", f"{view.kind}, {_SECTIONS[view.kind]}"),
        )
        for view in some
    }
    # one below the other on a narrow screen, still to one scale
    part = min(1.0, deep / wide)
    columns = f"--wide: {wide:.4g}fr; --deep: {deep:.4g}fr; --part: {part:.2%}"
    order = (figures["YX"], figures["ZY"], figures["ZX"])
    return joined(
        element("h3", "Three sections"),
        element(
            "p", "Through a cell where most cells are; dashed: where the others cut.", class_="dim"
        ),
        element("div", *order, class_="sections", style=columns),
    )


def _figure(view: View, title: str, unit: str, mode: str) -> Markup:
    assert view.place is not None
    place, cell = view.place, view.place.cell
    at = ", ".join(f"{a} {n}" for a, n in zip("zyx", place.center, strict=True))
    words = [at] if cell is None else [f"cell {cell.number}", at]
    if cell is not None:
        words.append(f"{number(cell.size)} {'pixels' if mode == '2d' else 'voxels'}")
        if cell.error is not None:
            words.append(f"flow error {number(cell.error)}")
    alt = f"{title}: {', '.join(words)}, with the outlines of cells"
    caption = element("figcaption", "; ".join(words))
    return element("figure", drawing.drawn(view, alt, unit), caption)


def _charts(facts: Mapping[str, Any], found: Summary) -> Markup:
    params, planar = facts["parameters"], facts["mode"] == "2d"
    # where nuclei became cells, it is the size of nuclei
    least = [drawing.Line(float(params.get("min_size", 0)), "min_size")]
    lines = {
        "size": [] if "nuclei" in facts["compartments"] else least,
        "probability": [drawing.Line(params.get("cellprob_threshold", 0.0), "threshold")],
        "error": [],
    }
    limit = flow_threshold(facts["mode"], params.get("flow_threshold"))
    if limit:
        lines["error"] = [drawing.Line(limit, "threshold")]
    size = "Area in pixels" if planar else "Volume in voxels"
    some = [
        _chart(
            f"{size} (logarithmic)",
            drawing.histogram(found.size, size.lower(), lines["size"], logarithmic=True),
        )
    ]
    for spread, name, title in (
        (found.probability, "probability", "Cell probability"),
        (found.error, "error", "Flow error"),
    ):
        if spread.count:
            some.append(_chart(title, drawing.histogram(spread, title.lower(), lines[name])))
    if found.shape[0] > 1:
        some.append(_chart("Cells by plane", drawing.by_plane(found.planes)))
    sizes = facts["labels"]["voxel_size"] or (1, 1, 1)
    extent = (found.shape[1] * sizes[1], found.shape[2] * sizes[2])
    some.append(_chart("Where the cells are", drawing.density_map(found.density.sum(0), extent)))
    rows: list[list[Child]] = [
        [title, *(number(values[key]) for key in ("min", "p5", "median", "p95", "max", "mean"))]
        for title, values in (
            (size, facts["statistics"]["size"]),
            ("Cell probability", facts["statistics"]["probability"]),
            ("Flow error", facts["statistics"]["flow_error"]),
        )
        if values["count"]
    ]
    header: list[Child] = [
        "",
        "least",
        "5\N{NO-BREAK SPACE}%",
        "median",
        "95\N{NO-BREAK SPACE}%",
        "most",
        "mean",
    ]
    return joined(
        element("h2", "Cells"), element("div", *some, class_="charts"), table(header, rows)
    )


def _chart(title: str, chart: Markup) -> Markup:
    return element("figure", element("figcaption", title), chart)


def _scaling(facts: Mapping[str, Any]) -> Markup:
    """How the image became the input of the network."""
    image, intensity, diameter = facts["image"], facts["intensity"], facts["diameter"]
    ends = [
        f"{low:g} to {high:g}"
        for low, high in zip(intensity.get("low", []), intensity.get("high", []), strict=False)
    ]
    saturated = facts["saturated"]["share"]
    rows: list[list[Child]] = [
        ["Shape Z, Y, X", " x ".join(map(str, image["shape"]))],
        ["Type of the voxels", image["dtype"]],
        [
            "Voxel size Z, Y, X in µm",
            ", ".join(f"{v:g}" for v in image["voxel_size"] or []) or None,
        ],
        ["Level of the pyramid", image["level"]],
        ["Normalisation", intensity.get("mode")],
        ["Percentiles", ", ".join(f"{p:g}" for p in intensity.get("percentiles", [])) or None],
        ["Intensities that became 0 and 1", "; ".join(ends) or None],
        [
            "Voxels with the highest intensity, of those looked at",
            None if saturated is None else f"{100 * saturated:.3g} %",
        ],
        *_of_network(diameter),
        ["Diameter of the median cell, in pixels", number(diameter["found"])],
        *_of_nuclei(diameter),
        *_of_second(facts),
    ]
    known = [row for row in rows if row[1] is not None]
    return joined(element("h2", "Input"), table(["", "value"], known))


def _of_nuclei(diameter: Mapping[str, Any]) -> list[list[Child]]:
    """The diameter to compare with that of the network, where nuclei became cells."""
    if "nuclei" not in diameter:
        return []
    return [["Diameter of the median nucleus, in pixels", number(diameter["nuclei"])]]


def _of_network(diameter: Mapping[str, Any]) -> list[list[Child]]:
    """Diameters of the network, unless the labels were given."""
    if diameter["used"] is None:
        return []
    return [
        ["Diameter of the network, in pixels", number(diameter["of_network"])],
        ["Diameter that was used", diameter_said(diameter)],
        ["How it was sought", diameter["note"] or None],
    ]


def _of_second(facts: Mapping[str, Any]) -> list[list[Child]]:
    """What a second network was given, and what it found."""
    if "second" not in facts:
        return []
    second = facts["second"]
    whose = "of the second network"
    cells = second["cells"]
    return [
        [f"Name {whose}", second["network"]["name"]],
        [f"Channels {whose}", ", ".join(map(str, second["channels"]))],
        [f"Diameter {whose}", diameter_said(second["diameter"])],
        ["How that was sought", second["diameter"]["note"] or None],
        [f"Cells {whose}, before they were matched", None if cells is None else number(cells)],
    ]


def _stages(facts: Mapping[str, Any]) -> Markup:
    rows: list[list[Child]] = [
        [
            stage,
            number(done["tasks"] or 1),
            f"{done['seconds']:.1f}",
            _seconds(done["processor_seconds"]),
            "\N{EN DASH}" if done["peak_memory"] is None else in_bytes(done["peak_memory"]),
        ]
        for stage, done in facts["stages"].items()
    ]
    every = [done["processor_seconds"] for done in facts["stages"].values()]
    rows.append(
        [
            "all",
            number(sum(done["tasks"] or 1 for done in facts["stages"].values())),
            f"{sum(done['seconds'] for done in facts['stages'].values()):.1f}",
            _seconds(None if None in every else sum(every)),
            "",
        ]
    )
    header: list[Child] = ["stage", "tasks", "seconds", "processor seconds", "largest memory"]
    said = "Seconds are summed over all tasks; memory is that of the largest task."
    return joined(element("h2", "Stages"), element("p", said, class_="dim"), table(header, rows))


def _seconds(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.1f}"


def _details(facts: Mapping[str, Any]) -> Markup:
    params: list[list[Child]] = [[name, _value(v)] for name, v in facts["parameters"].items()]
    network = facts["network"]
    used: list[list[Child]] = [
        ["Network", f"{network['name']} ({network['family']})"],
        ["Licence of the network", network["licence"] or "not stated"],
    ]
    versions: list[list[Child]] = [
        ["Terapose", facts["terapose"]],
        *([] if network["name"] is None else used),
        *([library, ", ".join(kinds)] for library, kinds in facts["ran_on"].items()),
    ]
    digests: list[list[Child]] = [
        [name, element("code", value)] for name, value in facts["digests"].items()
    ]
    return joined(
        element("h2", "Parameters"),
        table(["parameter", "value"], params),
        element("h2", "Versions"),
        table(["", "version"], versions),
        element("h2", "Digests"),
        table(["of", "digest"], digests),
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)
