"""What to look at twice: signs that a result may not be what was meant, each with what to try.

None of them is a fault: each is a rule with a limit, and results may be right nevertheless.

Where nuclei became cells, it is nuclei that the network was to find: sizes are theirs where they
are compared with its parameters, or where these are what to try.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from terapose.core.thresholds import flow_threshold
from terapose.results.report.cells import Summary
from terapose.results.report.elements import number
from terapose.results.report.numbers import diameter_used, factor, found_diameter

_FEW, _ENOUGH = 10, 20
"""Cells below which there are few, and from which shares mean something."""
_EMPTY = 0.002
_BORDER, _SATURATED = 0.25, 0.005
_MERGED, _MERGED_SHARE = 4, 0.02
_PIECES, _PIECES_SHARE = 0.2, 0.2
_FAR = 1.6
_OWN = "diameter-of-network"


class Finding(NamedTuple):
    """A sign, and what to try.

    Attributes
    ----------
    name
        Short and fixed, for programs.
    said
        What was found.
    remedy
        What to try.
    """

    name: str
    said: str
    remedy: str


def findings(
    record: Mapping[str, Any],
    found: Summary | None,
    saturated: Mapping[str, Any],
    nuclei: Summary | None = None,
) -> list[Finding]:
    """All that is found.

    Parameters
    ----------
    record
        Of the run.
    found
        What the table of cells says; None where there is none.
    saturated
        Share of the voxels that were looked at with the highest intensity, if it counts.
    nuclei
        What the table of nuclei says, if nuclei became cells.
    """
    what = "nuclei" if "nuclei" in record["compartments"] else "cells"
    segmented = found if what == "cells" else nuclei
    used = diameter_used(record)
    several = [] if used is None else _of_network(record, used)
    several += [*_of_input(record, saturated), *_of_count(record, found)]
    # a function of the user may make cells larger or smaller
    is_changed = "process_cells" in record["stages"]
    if used is not None and not is_changed and segmented is not None and segmented.size.count:
        several += _of_diameter(record, segmented, used * factor(record), what)
    if found is not None and found.size.count >= _ENOUGH:
        several += _of_border(found)
        several += [] if segmented is None else _of_sizes(segmented, what)
        several += _of_errors(record, found)
    if used is None:
        several = [one._replace(remedy=_OF_GIVEN.get(one.name, one.remedy)) for one in several]
    notes = [str(note) for note in record["notes"]]
    if any(one.name == _OWN for one in several):
        # the same in other words
        notes = [note for note in notes if not note.startswith("diameter: ")]
    return [*several, *(Finding("note", note, "See the log of the run.") for note in notes)]


_OF_GIVEN = {
    "no-cells": "Check that the labels are those of this image.",
    "few-cells": "Check that the labels are those of this image.",
    "border": "Leave them out of measurements (the column TouchesBorder).",
    "merged": "See the largest cells below, and divide those that are several.",
    "pieces": "See the smallest cells below, and remove or join those that are not cells.",
}
"""What to try if no parameter of a network can be changed, because the labels were given."""


def _of_network(record: Mapping[str, Any], used: float) -> list[Finding]:
    sought = record.get("diameter", {})
    if sought.get("origin", "network") != "network" or record["rescale"] != 1:
        return []
    # those of Cellpose 4 need none, and none is looked for
    if record["model"].get("family") == "cellpose4":
        return []
    note = sought.get("note")
    why = f"none was given, and {note}" if note else "no other one was given or found"
    return [
        Finding(
            _OWN,
            f"The diameter is that of the network, {number(used)} pixels: {why}.",
            "Measure a typical cell in pixels and give its diameter: --diameter.",
        )
    ]


def _of_input(record: Mapping[str, Any], saturated: Mapping[str, Any]) -> list[Finding]:
    some = []
    if record["mode"] == "3d" and record["output"]["voxel_size"] is None:
        some.append(
            Finding(
                "no-voxel-size",
                "The voxel size is not known, so planes were taken to be as far apart as pixels, "
                "unless an anisotropy was given.",
                "Give --voxel-size Z,Y,X in micrometres, or --anisotropy.",
            )
        )
    share = saturated["share"]
    if saturated["counts"] and share is not None and share > _SATURATED:
        some.append(
            Finding(
                "saturated",
                f"{100 * share:.1f} % of the voxels that were looked at have the highest "
                f"intensity, {number(saturated['highest'])}: bright cells have no structure left, "
                "and cells that touch may merge.",
                "Record the image with less light or a shorter exposure; check that it was not "
                "clipped when it was converted.",
            )
        )
    return some


def _of_count(record: Mapping[str, Any], found: Summary | None) -> list[Finding]:
    cells = record["cells"]
    share = None if found is None else found.size.total / math.prod(found.shape)
    if cells >= _FEW and (share is None or share >= _EMPTY):
        return []
    what = "No cells were found." if not cells else f"Few cells were found: {number(cells)}"
    if cells and share is not None:
        what += f", in {100 * share:.2g} % of the image."
    return [
        Finding(
            "few-cells" if cells else "no-cells",
            what if what.endswith(".") else f"{what}.",
            "Check the channel (--channels) and the diameter; for dark cells on a bright "
            "background give --invert; a lower --cellprob-threshold finds fainter cells; "
            "--min-size and --flow-threshold may have removed them.",
        )
    ]


def _of_diameter(
    record: Mapping[str, Any], found: Summary, used: float, what: str
) -> list[Finding]:
    mine = found_diameter(found, record)
    if mine is None or used / _FAR <= mine <= used * _FAR:
        return []
    return [
        Finding(
            "diameter-differs",
            f"The median {_ONE[what]} has a diameter of {number(mine)} pixels, and the diameter "
            f"that was used is {number(used)}.",
            f"Compare both with {what} in the pictures. If the outlines are right, all is well; if "
            f"{what} are cut or merged, try --diameter {number(mine / factor(record))}.",
        )
    ]


def _of_border(found: Summary) -> list[Finding]:
    share = found.border / found.size.count
    if share <= _BORDER:
        return []
    return [
        Finding(
            "border",
            f"{100 * share:.0f} % of the cells touch the border of the image, so they are cut.",
            "Leave them out of measurements (the column TouchesBorder), or remove them with "
            "--border drop; a larger image or region has fewer of them.",
        )
    ]


_ONE = {"cells": "cell", "nuclei": "nucleus"}


def _of_sizes(found: Summary, what: str) -> list[Finding]:
    median, some = found.size.quantile(0.5), []
    large = found.size.share(_MERGED * median)
    small = found.size.share(0, _PIECES * median)
    if large > _MERGED_SHARE:
        some.append(
            Finding(
                "merged",
                f"{100 * large:.1f} % of the {what} are more than {_MERGED} times as large as the "
                f"median: some may be several {what}.",
                "See the largest cells below. If they are merged, try a smaller --diameter, a "
                "higher --cellprob-threshold, or in mode stitch a higher --stitch-threshold.",
            )
        )
    if small > _PIECES_SHARE:
        some.append(
            Finding(
                "pieces",
                f"{100 * small:.0f} % of the {what} are smaller than a fifth of the median: some "
                f"may be pieces of {what}, or dirt.",
                f"See the smallest cells below. If they are no {what}, try a larger --diameter, "
                "--min-size or --min-median-fraction.",
            )
        )
    return some


def _of_errors(record: Mapping[str, Any], found: Summary) -> list[Finding]:
    if not found.error.count:
        return []
    given = record["stages"].get("relabel", {}).get("params", {}).get("flow_threshold")
    limit = flow_threshold(record["mode"], given) or 0.4
    upper = found.error.quantile(0.75)
    if upper <= 0.75 * limit:
        return []
    return [
        Finding(
            "flow-error",
            f"A quarter of the cells have a flow error of {number(upper)} or more; the limit is "
            f"{number(limit)}.",
            "The network may not know such cells: see those with the highest flow error, try "
            "another --model or a better --diameter, or train one (terapose train).",
        )
    ]
