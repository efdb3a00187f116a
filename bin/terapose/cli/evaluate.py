"""`terapose evaluate`: scores of label images against references."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from terapose.cli.shared import refuse_given
from terapose.cli.values import LocalPath, Numbers, Real

_EPILOG = """\b
Examples:
  terapose evaluate demo.labels.zarr results/demo/labels.zarr
  terapose evaluate reference.tif predicted.tif --json scores.json --picture scores.png
  terapose evaluate references results --csv scores.csv
  terapose evaluate --pairs pairs.csv --diameters 8,12,16
  terapose evaluate crop/mito predicted/mito --cellmap instance --voxel-size 4,4,4
"""
_NOT_OF_CELLMAP = ("thresholds", "boundary_tolerance", "sizes", "diameters", "block")


@click.command(epilog=_EPILOG)
@click.argument("reference", required=False, default="")
@click.argument("predicted", required=False, default="")
@click.option(
    "--pairs",
    type=LocalPath(is_file=True),
    help="Table of pairs: columns reference and predicted, optionally name, class and kind.",
)
@click.option(
    "--thresholds",
    type=Numbers(*range(1, 21), kind=float),
    default="0.5,0.75,0.9",
    show_default=True,
    help="Minimum intersection over union for a match.",
)
@click.option(
    "--align",
    type=click.Choice(["voxels", "position"]),
    default="voxels",
    show_default=True,
    help="Which voxels are compared: those with the same indices, in images of the same shape; or "
    "those nearest to the same position, by the voxel sizes and translations of both images.",
)
@click.option(
    "--voxel-size",
    type=Numbers(3, kind=float),
    help="Voxel size Z,Y,X in micrometres, for images that do not specify it.",
)
@click.option(
    "--boundary-tolerance",
    type=Real(0, 20),
    default=2.0,
    show_default=True,
    help="Distance in pixels up to which boundaries agree.",
)
@click.option(
    "--sizes",
    type=Numbers(*range(1, 21), kind=float),
    help="Edges between ranges of sizes in voxels.  [default: quartiles of the reference]",
)
@click.option(
    "--diameters",
    type=Numbers(*range(1, 21), kind=float),
    help="The same edges as diameters of a disc or ball of equal size: in micrometres, or in "
    "pixels if the voxel size is not known.",
)
@click.option(
    "--block",
    type=Numbers(3),
    help="Z,Y,X of the blocks into which PREDICTED was divided, to compare cells at their seams "
    "with the others.  [default: those of the result]",
)
@click.option(
    "--cellmap",
    type=click.Choice(["instance", "semantic"]),
    help="Use the scores of the CellMap segmentation challenge instead.",
)
@click.option(
    "--json", "report", type=LocalPath(is_file=True), help="Also write the scores to a file."
)
@click.option(
    "--csv", "table", type=LocalPath(is_file=True), help="Also write a line for each pair."
)
@click.option(
    "--picture",
    type=LocalPath(is_file=True, endings=[".png"]),
    help="Also draw the scores as a PNG.",
)
def command(
    reference: str,
    predicted: str,
    pairs: Path | None,
    thresholds: tuple[float, ...],
    align: Literal["voxels", "position"],
    voxel_size: tuple[float, float, float] | None,
    boundary_tolerance: float,
    sizes: tuple[float, ...] | None,
    diameters: tuple[float, ...] | None,
    block: tuple[int, int, int] | None,
    cellmap: str | None,
    **files: Any,
) -> None:
    """Score the label image PREDICTED against REFERENCE, block by block.

    Both may be OME-Zarr label images or labels groups with one, Zarr arrays, TIFF, OME-TIFF or
    HDF5 (file.h5/dataset). Both must have the same shape, unless they are compared by position. If
    both are folders, images with the same name are compared, and the scores of all get confidence
    intervals; PREDICTED may be a folder of results of several images. The results of one image are
    taken as its label image. A file that changes while it is read is
    refused. docs/scores.md explains the scores.
    """
    from terapose.apps.evaluate.asked import Asked
    from terapose.apps.evaluate.scores import check_thresholds
    from terapose.cli.scoring import Files, chosen_pairs, score_all, score_cellmap, score_one

    asked = Asked(thresholds, align, voxel_size, boundary_tolerance, sizes, diameters, block=block)
    check_thresholds(thresholds)
    found, are_several = chosen_pairs(reference, predicted, pairs)
    out = Files(**files)
    out.check(found, pairs)
    if cellmap is not None or any(pair.kind for pair in found):
        refuse_given(_NOT_OF_CELLMAP, "has no use with the scores of CellMap")
        score_cellmap(found, asked, out, cellmap)
    elif are_several:
        score_all(found, asked, out)
    else:
        score_one(found[0], asked, out)
