"""`terapose picture`: three sections of an image with the outlines of its labels."""

from __future__ import annotations

from pathlib import Path

import click

from terapose.cli.values import Numbers

_EPILOG = """\b
Examples:
  terapose picture demo.zarr results/demo/labels.zarr demo.png
  terapose picture image.tif labels.tif picture.png --at 40,210,300 --voxel-size 2,0.5,0.5
"""


@click.command(epilog=_EPILOG)
@click.argument("image")
@click.argument("labels")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--channel", type=int, default=1, show_default=True, help="Channel, from 1.")
@click.option(
    "--level", type=click.IntRange(0), default=0, show_default=True, help="Level of the pyramid."
)
@click.option(
    "--at", type=Numbers(3), help="Voxel Z,Y,X to look at (default: where most cells are)."
)
@click.option(
    "--voxel-size",
    type=Numbers(3, kind=float),
    help="Micrometres Z,Y,X (default: the image's own).",
)
@click.option("--reference", help="Reference labels, drawn in white.")
@click.option("--title", default="", help="Text in the free corner.")
def command(
    image: str,
    labels: str,
    out: Path,
    channel: int,
    level: int,
    at: tuple[int, int, int] | None,
    voxel_size: tuple[float, float, float] | None,
    reference: str | None,
    title: str,
) -> None:
    """Draw sections YX, ZX and ZY of IMAGE with the outlines of LABELS to the PNG file OUT.

    Of a plane of more than 1500 pixels a side, the part with most cells is drawn.
    """
    from terapose.detail import draw
    from terapose.image import check_channels, open_image
    from terapose.lazy import Lazy, open_labels

    opened = open_image(image, level=level, voxel_size=voxel_size)
    check_channels(opened, [channel])
    shown = draw(
        Lazy(opened, channel),
        open_labels(labels),
        out,
        voxel_size=opened.voxel_size,
        at=at,
        reference=None if reference is None else open_labels(reference),
        title=title,
    )
    click.echo(f"{out}: sections through voxel {', '.join(map(str, shown))}")
