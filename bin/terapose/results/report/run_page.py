"""The page of a run, with all samples in a table, and what MultiQC shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from terapose.results.report.elements import Child, Markup, element, number, table
from terapose.results.report.numbers import FORMAT
from terapose.results.report.style import page

Facts = Mapping[str, Any]
_COLUMNS = {
    "cells": ("Cells", "Number of cells", "{:,.0f}"),
    "median_size": ("Median size", "Median area in pixels or volume in voxels", "{:,.0f}"),
    "flow_error": ("Flow error", "Median flow error", "{:,.3f}"),
    "border": ("At the border", "Cells that touch the border", "{:,.0f}"),
    "diameter": ("Diameter", "Diameter that was used, in pixels", "{:,.1f}"),
    "warnings": ("Warnings", "Number of warnings", "{:,.0f}"),
}
"""Columns of MultiQC: title, description and format."""


def row_of(facts: Facts) -> dict[str, float]:
    """The numbers of a sample for a table of samples; those that are not known are left out."""
    statistics = facts["statistics"] or {"size": {}, "flow_error": {}, "touching_border": None}
    found = {
        "cells": facts["cells"],
        "median_size": statistics["size"].get("median"),
        "flow_error": statistics["flow_error"].get("median"),
        "border": statistics["touching_border"],
        "diameter": facts["diameter"]["used"],
        "warnings": len(facts["warnings"]),
    }
    return {name: value for name, value in found.items() if value is not None}


def multiqc(samples: Sequence[Facts]) -> dict[str, Any]:
    """Custom content for MultiQC: a table of samples."""
    return {
        "id": "terapose",
        "section_name": "Terapose",
        "description": "Cell segmentation.",
        "plot_type": "table",
        "pconfig": {"id": "terapose_table", "title": "Terapose: cells", "namespace": "Terapose"},
        "headers": {
            name: {"title": title, "description": said, "format": form}
            for name, (title, said, form) in _COLUMNS.items()
        },
        "data": {facts["sample"]: row_of(facts) for facts in samples},
    }


def run_facts(samples: Sequence[Facts]) -> dict[str, Any]:
    """The numbers of a run: what its page shows of each sample."""
    rows = [
        {
            "sample": facts["sample"],
            **row_of(facts),
            "mode": facts["mode"],
            "image": facts["image"]["address"],
            "warnings": [one["name"] for one in facts["warnings"]],
        }
        for facts in samples
    ]
    cells = sum(facts["cells"] for facts in samples)
    return {"format": FORMAT, "cells": cells, "samples": rows}


def run_page(samples: Sequence[Facts], folders: Mapping[str, str]) -> str:
    """The page of a run.

    Parameters
    ----------
    samples
        `report.json` of each sample.
    folders
        Of each sample's page, as seen from this page, by the sample's name.
    """
    cells = sum(facts["cells"] for facts in samples)
    rows = [_row(facts, folders[facts["sample"]]) for facts in samples]
    header: list[Child] = [
        *("sample", "cells", "median size", "flow error", "at the border", "diameter", "mode"),
        "warnings",
    ]
    said = f"{number(len(samples))} samples, {number(cells)} cells."
    return page(
        "Terapose report", element("h1", "Samples"), element("p", said), table(header, rows)
    )


def _row(facts: Facts, folder: str) -> list[Child]:
    row = row_of(facts)
    # ./ before the name: whatever it is, it is no scheme of an address
    address = f"./{quote(folder, safe='/', errors='surrogateescape')}/report.html"
    link = element("a", facts["sample"], href=Markup(address))
    return [
        link,
        number(row["cells"]),
        number(row.get("median_size")),
        number(row.get("flow_error")),
        number(row.get("border")),
        number(row.get("diameter")),
        facts["mode"],
        ", ".join(one["name"] for one in facts["warnings"]) or "none",
    ]
