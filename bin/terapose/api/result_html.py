"""What a notebook shows of results: numbers, a small picture, and where everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terapose.results.outputs import LABELS
from terapose.results.report.elements import Markup, element, joined, number
from terapose.results.report.overview import overview_or_why
from terapose.results.report.own import PAGE, reports_in

if TYPE_CHECKING:
    from terapose.api.result import Result


def shown_in_notebook(result: Result) -> str:
    """A piece of a page; text is escaped, and nothing is loaded from elsewhere."""
    record = result.provenance
    size = result.voxel_size
    shape = " \N{MULTIPLICATION SIGN} ".join(map(str, result.shape))
    rows = [
        ("cells", number(result.cells)),
        ("voxels", shape),
        (
            "voxel size (z, y, x)",
            "not known" if size is None else f"{', '.join(f'{s:g}' for s in size)} \N{MICRO SIGN}m",
        ),
        ("image", record["image"]["address"]),
        ("seconds of all tasks", number(result.seconds)),
    ]
    places = [LABELS, *record["tables"], *record["masks"]]
    places += [PAGE] if PAGE in reports_in(result.folder) else []
    picture, why = overview_or_why(result.folder, record)
    links = [
        element("a", name, href=(result.folder / name).absolute().as_uri(), target="_blank")
        for name in places
    ]
    table = element(
        "table",
        *(element("tr", element("th", key, scope="row"), element("td", v)) for key, v in rows),
    )
    shown = (
        element("div", f"no picture: {why}")
        if why
        else element("img", src=Markup(picture), alt="the middle plane with the outlines of cells")
    )
    files = [part for link in links for part in (" ", link)]
    return joined(element("div", table, shown, element("div", str(result.folder), ":", *files)))
