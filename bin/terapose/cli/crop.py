"""`terapose crop`: copies a part of an image to an OME-Zarr."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import parameters, selection
from terapose.cli.shared import ome_zarr_options, refuse_given, say_unfinished
from terapose.cli.values import ZARR, LocalPath, Numbers, channel_names, from_input

if TYPE_CHECKING:
    from terapose.core.geometry import Box
    from terapose.io.images.model import Image

_EPILOG = """\b
Examples:
  terapose crop https://example.org/brain.zarr part.zarr --region 100:164,2000:2512,3000:3512
  terapose crop slide.ome.tif part.zarr --region 20000:24000,31000:36000 --pyramid mean
  terapose crop image.zarr cells.zarr --around results/cells.csv --margin 0,50,50
"""
_TEXTS = {
    "level": "Pyramid level that becomes level 0 of the result; 0 is the finest.",
    "time": "Which time point to copy if there are several, counted from 1.",
}


@click.command(epilog=_EPILOG)
@click.argument("image", callback=from_input)
@click.argument("out", type=LocalPath(endings=ZARR))
@click.option(
    "--region",
    help="Part to copy: z0:z1,y0:y1,x0:x1 (or y0:y1,x0:x1) in voxels of the level, from 0; with "
    "--pad also beyond the image.  [default: all]",
)
@click.option(
    "--around",
    metavar="CELL_TABLE",
    help="Copy the box that contains all cells of a table (CSV or Parquet, as for terapose cut).",
)
@click.option("--margin", type=Numbers(1, 3), help="Widen the part by this many voxels: Z,Y,X.")
@click.option(
    "--pad",
    type=float,
    help="Value of voxels beyond the image. Without it, a region beyond the image is refused, and "
    "a margin ends at the border of the image.",
)
@click.option("--channels", help="Numbers from 1 or names, in output order  [default: all]")
@click.option(
    "--pyramid",
    type=click.Choice(["source", "mean", "nearest", "none"]),
    default="source",
    show_default=True,
    help="Coarser levels: copied from the image, or computed (nearest for labels), or none.",
)
@parameters(("level", "axes", "series", "time", "stack"), _TEXTS)
@ome_zarr_options(None)
def command(
    image: str,
    out: Path,
    region: str | None,
    around: str | None,
    margin: tuple[int, ...] | None,
    channels: str | None,
    version: str | None,
    jobs: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Copy part of IMAGE to the OME-Zarr OUT, on a local disk.

    IMAGE is in any format that Terapose reads, also on a server or an object store; if it is -, its
    address is read from standard input. Scale, position, channels and pyramid levels are kept. To
    continue a copy that was interrupted, repeat the command.
    """
    from terapose.api.progress import stages
    from terapose.apps.crop import Wanted, crop
    from terapose.cli.known import segmented
    from terapose.io.images.channels import channel_numbers
    from terapose.io.images.opening import open_image
    from terapose.io.images.watch import Watch

    watch, pad, pyramid = Watch(), options.pop("pad"), options.pop("pyramid")
    if region is None and around is None and (margin is None or pad is None):
        # all of the image: nothing beyond it is padded, and nothing in it can be widened
        refuse_given(
            ("margin", "pad"),
            "has no effect when the whole image is copied",
            "add --region or --around, or give both --margin and --pad",
        )
    known = None if around is None else segmented(around, image).of_positions(options, around)
    chosen = selection(image, options, known)
    opened = watch.open(partial(open_image, image, **chosen.options)).whole
    numbers = channel_names(channels)
    every = range(1, opened.channels + 1)
    wanted = Wanted(
        box=_box(opened, region, around, margin, is_padded=pad is not None),
        levels=pyramid,
        channels=channel_numbers(opened, numbers)[0] if numbers else tuple(every),
        pad=pad,
        version=version or ("0.4" if opened.format == "ome-zarr-0.4" else "0.5"),
    )
    with stages() as show:
        made = crop(
            opened,
            out,
            wanted,
            jobs=jobs or os.cpu_count() or 1,
            overwrite=overwrite,
            progress=show,
            watch=watch,
        )
    sizes = ", ".join(" x ".join(map(str, level.shape)) for level in made.levels)
    click.echo(f"{out}: {sizes}")
    say_unfinished(out)


def _box(
    image: Image,
    region: str | None,
    around: str | None,
    margin: tuple[int, ...] | None,
    *,
    is_padded: bool,
) -> Box:
    """The part that the options describe, in voxels of the opened level."""
    from terapose.apps.crop import parse_region
    from terapose.core.errors import InputError
    from terapose.core.geometry import Box, zyx

    if region is not None and around is not None:
        raise InputError(
            "region and around both say which part is copied",
            where="around",
            remedy="give one of them",
        )
    box = Box.whole(image.shape)
    if around is not None:
        box = _around(image, around)
    elif region is not None:
        box = parse_region(region, image.shape)
    if margin is None:
        return box
    if min(margin) < 0:
        raise InputError(
            "is negative", where="margin", got=",".join(map(str, margin)), allowed="from 0"
        )
    z, y, x = margin if len(margin) == 3 else margin * 3
    wide = box.grow((z if image.shape[0] > 1 else 0, y, x))
    if is_padded:
        return wide
    # the part itself is not made smaller: where it is beyond the image it is refused
    whole = Box.whole(image.shape)
    return Box(
        zyx(map(min, box.start, map(max, wide.start, whole.start))),
        zyx(map(max, box.stop, map(min, wide.stop, whole.stop))),
    )


def _around(image: Image, table: str) -> Box:
    """The box of all cells of a table: of their bounding boxes, or else of their centroids."""
    from terapose.core.errors import InputError
    from terapose.core.geometry import Box, zyx
    from terapose.results.thumbnails.chosen_cells import read_cells

    cells = read_cells(table, image.shape)
    if not len(cells):
        raise InputError(
            "contains no cells, so there is nothing to copy",
            where=table,
            remedy="give a table with cells, or --region",
        )
    if cells.boxes is None:
        low, high = cells.centers.min(0), cells.centers.max(0) + 1
    else:
        low, high = cells.boxes[:, :3].min(0), cells.boxes[:, 3:].max(0)
    return Box(zyx(map(int, low)), zyx(map(int, high)))
