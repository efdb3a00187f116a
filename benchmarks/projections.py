"""The memory that tasks take against what was projected for them, into docs/hpc.md.

Volumes and slides of three sizes, in all modes, also on a network's grid of another size, from an
image that is converted first, with several networks, with one of Cellpose 4 (of random weights), on
a coarser level with results on the finest, and with all stages in one task (`benchmarks.peaks`). A
row of the table is a stage: the largest peak of its receipts, and the projection.

The aim is that what is measured is below the projection, and that no less than two thirds of it.
Where the projection is below what every task asks for, nobody asks for more than that.

    python -m benchmarks.projections --output docs/hpc.md
    python -m benchmarks.projections --only slide stitch --output docs/hpc.md
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages import into
from benchmarks.peaks import CASES, Row, measure

BEGIN, END = "<!-- projections: begin -->", "<!-- projections: end -->"


_HEAD = (
    "| image | shape | stage | measured | projected | ratio |",
    "| --- | --- | --- | ---: | ---: | ---: |",
)


def lines(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown: a line a case and stage."""
    found = []
    for row in rows:
        shape = " x ".join(map(str, row.case.shape))
        measured, projected = (f"{n / 1e6:,.0f} MB" for n in (row.measured, row.projected))
        cells = (row.case.name, shape, row.stage, measured, projected, f"{row.ratio:.2f}")
        found.append(f"| {' | '.join(cells)} |")
    return found


def table(body: Sequence[str]) -> str:
    """Lines of rows below the names of their columns."""
    return "\n".join((*_HEAD, *body))


def merged(page: Path, names: Sequence[str], new: Sequence[str]) -> list[str]:
    """New lines, and those of a page of the images that were not measured now, in the usual order.

    Parameters
    ----------
    page
        Has a table between its marks.
    names
        Of all images, in order: those of others go.
    new
        Lines of the images that were measured.
    """
    fresh = {_cells(line)[0] for line in new}
    old = page.read_text().split(BEGIN)[1].split(END)[0].splitlines()
    kept = [x for x in old if x.startswith("| ") and x not in _HEAD and _cells(x)[0] not in fresh]
    every = [line for line in (*kept, *new) if _cells(line)[0] in names]
    return sorted(every, key=lambda line: names.index(_cells(line)[0]))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rates(rows: Sequence[Row]) -> str:
    """Voxels a second of each stage on one processor, of volumes and of planes by themselves.

    Those of the largest image that was measured: starting counts least there. Of passes of the
    network it is what they do beside the network, for images are nearly empty.
    """
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        is_flat = row.case.shape[0] == 1 or row.case.params.get("mode") == "stitch"
        name = row.stage, "planes" if is_flat else "volumes"
        if name not in found or math.prod(row.case.shape) > math.prod(found[name].case.shape):
            found[name] = row
    return "\n".join(
        f"{stage}, {kind}: {math.prod(row.case.shape) / row.seconds:,.0f} voxels a second"
        for (stage, kind), row in found.items()
    )


def summary(body: Sequence[str]) -> str:
    """How many projections are what they should be."""
    from terapose.pipeline.needs import LEAST

    found = [[float(n.split()[0].replace(",", "")) for n in _cells(line)[3:]] for line in body]
    low = sum(ratio < 1 for _, _, ratio in found)
    high = [projected for _, projected, ratio in found if ratio > 1.5]
    large = sum(projected > LEAST / 1e6 for projected in high)
    return (
        f"{len(found)} tasks: {low} took more than was projected, {large} less than two thirds of "
        f"it. Of tasks that ask for {LEAST / 1e6:.0f} MB because less is projected, "
        f"{len(high) - large} took less than two thirds of the projection."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, or those with one of these words in their names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="Words in the names of cases.")
    parser.add_argument("--output", type=Path, help="The page whose rows of these are replaced.")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for case in CASES:
        if any(word in case.name for word in given.only):
            with tempfile.TemporaryDirectory(prefix="projections-") as folder:
                found = measure(case, Path(folder))
            print(table(lines(found)), flush=True)
            rows += found
    print(summary(lines(rows)))
    print(rates(rows))
    if given.output is not None:
        body = merged(given.output, [case.name for case in CASES], lines(rows))
        into(given.output, f"{summary(body)}\n\n{table(body)}", BEGIN, END)


if __name__ == "__main__":
    # as tasks of the network have
    os.environ["OMP_NUM_THREADS"] = "2"
    main()
