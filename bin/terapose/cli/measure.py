"""`terapose measure`: cells of labels that were corrected by hand, or made by another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from terapose.cli.options import looking, parameters, selection
from terapose.cli.shared import processes, say_results
from terapose.cli.values import LocalPath, from_input
from terapose.core.params import MEASURING

_EPILOG = """\b
Examples:
  terapose measure brain.zarr edited.tif measured
  terapose measure slide.ome.tif slide.geojson measured --renumber --table csv,geojson
  terapose measure brain.zarr results/labels.zarr measured --measure all --allow-pieces
"""
_TEXTS = {
    "mode": "3d, or 2d for cells in each plane separately; auto is 3d if there are several "
    "planes.  [default: that of the result, else auto]",
    "expand": "Expand the objects of the labels, which are nuclei, to cells by this distance in "
    "pixels, as far as there is room (mode 2d).",
}


@click.command(epilog=_EPILOG)
@click.argument("image", callback=from_input)
@click.argument("labels")
@click.argument("out", type=LocalPath())
@click.option("--renumber", is_flag=True, help="Number the cells 1 to N by position.")
@click.option("--allow-pieces", is_flag=True, help="Accept cells in several pieces.")
@processes
@parameters(MEASURING, _TEXTS)
@looking
def command(
    image: str,
    labels: str,
    out: Path,
    renumber: bool,
    allow_pieces: bool,
    jobs: int | None,
    **options: Any,
) -> None:
    """Measure the cells of LABELS in IMAGE; write labels.zarr, cells.csv and provenance.json.

    LABELS are a label image (OME-Zarr, TIFF, HDF5 and so on) or polygons (GeoJSON, as QuPath
    exports them) that were corrected by hand or made by another program. They are checked: each
    cell is one piece, polygons do not overlap, and numbers are 1 to N. If LABELS are a result of
    `terapose segment` or the workflow, mode, voxel size, axes, series, time, level and region are
    taken from the provenance.json beside them unless they are given. Measuring that was interrupted
    starts over. If IMAGE is -, its address is read from standard input.
    """
    from terapose.api.measuring import measure_file
    from terapose.api.progress import stages
    from terapose.cli.known import segmented
    from terapose.cli.stopping import stopping
    from terapose.core.params import check
    from terapose.pipeline.local import cores

    known = segmented(labels, image)
    chosen = selection(image, options, known.chosen(options))
    given = {name: value for name, value in options.items() if value is not None}
    given |= {name: value for name, value in chosen.options.items() if value}
    if known.mode is not None:
        given.setdefault("mode", known.mode)
    is_same_level = chosen.level == known.selection.level
    if known.voxel_size is not None and is_same_level and "pixel_size" not in given:
        given.setdefault("voxel_size", known.voxel_size)
    params = check(given)
    with stopping(), stages() as report:
        record = measure_file(
            image,
            labels,
            out,
            params,
            renumber=renumber,
            allow_pieces=allow_pieces,
            workers=jobs or cores(),
            report=report,
        )
    say_results(record, out, report=params.report)
