"""`terapose picture`: three sections of an image with the outlines of the labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from terapose.cli.options import looking, selection
from terapose.cli.values import LocalPath, Numbers, from_input

_EPILOG = """\b
Examples:
  terapose picture demo.zarr results/demo/labels.zarr demo.png
  terapose picture image.tif labels.tif picture.png --at 40,210,300 --voxel-size 2,0.5,0.5
"""


@click.command(epilog=_EPILOG)
@click.argument("image", callback=from_input)
@click.argument("labels")
@click.argument("out", type=LocalPath(is_file=True, endings=[".png"]))
@click.option(
    "--channel", type=int, help="Channel, counted from 1.  [default: that of the result, else 1]"
)
@click.option(
    "--at",
    type=Numbers(3),
    help="Voxel Z,Y,X that the sections pass through.  [default: where most cells are]",
)
@click.option(
    "--voxel-size",
    type=Numbers(3, kind=float),
    help="Voxel size Z,Y,X in micrometres.  [default: that of the result, else the image's own]",
)
@click.option("--reference", help="Reference labels, drawn in white.")
@looking
@click.option("--title", default="", help="Text in the empty corner.")
def command(
    image: str,
    labels: str,
    out: Path,
    channel: int | None,
    at: tuple[int, int, int] | None,
    voxel_size: tuple[float, float, float] | None,
    reference: str | None,
    title: str,
    **options: Any,
) -> None:
    """Draw YX, ZX and ZY sections of IMAGE with the outlines of LABELS, as the PNG file OUT.

    If IMAGE is -, its address is read from standard input.
    For a single plane wider or higher than 1500 pixels, only the part with the most cells is drawn.
    If LABELS are a result of `terapose segment` or the workflow, axes, series, time, level and
    region are taken from the provenance.json beside them unless they are given.
    """
    from terapose.apps.picture import three_views
    from terapose.apps.zoom_window import fullest
    from terapose.cli.known import segmented, under
    from terapose.io.images.array_like import Lazy
    from terapose.io.images.model import check_channels
    from terapose.io.images.opening import open_image
    from terapose.io.images.watch import Watch
    from terapose.results.named_files import check_files

    check_files([out], [one for one in (image, labels, reference) if one is not None])
    known = segmented(labels, image)
    if channel is None:
        channel = 1 if known.channel is None else known.channel
    chosen = selection(image, options, known.chosen(options))
    watch, size = Watch(), voxel_size or known.voxel_size
    opened = watch.open(partial(open_image, image, **chosen.options, voxel_size=size))
    check_channels(opened, [channel])
    cells = watch.labels(labels)
    opened = under(opened, cells.shape, known)
    shown = three_views(
        Lazy(opened, channel),
        cells,
        out,
        voxel_size=opened.voxel_size,
        at=at or fullest(cells),
        reference=None if reference is None else watch.labels(reference),
        title=title,
        confirm=watch.confirm,
    )
    click.echo(f"{out}: sections through voxel {', '.join(map(str, shown))}")
