"""`terapose cut`: thumbnails of cells, as labsyspharm's cut_cells makes them."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import looking, selection
from terapose.cli.shared import threads
from terapose.cli.values import Numbers, channel_names, join_numbers
from terapose.core.amounts import in_bytes

if TYPE_CHECKING:
    from terapose.io.images.array_like import Lazy
    from terapose.io.images.model import Image
    from terapose.io.images.watch import Watch
    from terapose.results.thumbnails.cut import Thumbnails

_EPILOG = """\b
Examples:
  terapose cut slide.ome.tif results/labels.zarr results/cells.csv cells.zarr
  terapose cut slide.ome.tif mask.tif cells.csv cells.zarr --mask-cells --channels 1,3,5
  terapose cut slide.ome.tif - results/cells.parquet cells.zarr --window-size 64
"""


class _Cut(click.Command):
    """Takes several numbers after one ``--channels``, as cut_cells does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the numbers."""
        return super().parse_args(ctx, join_numbers(args, "--channels"))


@click.command(cls=_Cut, epilog=_EPILOG)
@click.argument("image")
@click.argument("labels")
@click.argument("table", metavar="CELL_TABLE")
@click.argument("destination")
@click.option(
    "--window-size",
    "window",
    type=Numbers(1, 2),
    help="Width of a thumbnail in pixels; for volumes also depth,width  [default: largest cell]",
)
@click.option(
    "--mask-cells", is_flag=True, help="Set pixels outside the cell to 0, and also write the masks."
)
@looking
@click.option("--channels", help="Numbers from 1 or names, in output order  [default: all]")
@click.option(
    "--chunk-size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Uncompressed size of a chunk in MB; determines the cells per chunk.",
)
@click.option(
    "--cells-per-chunk", type=click.IntRange(1), help="Cells per chunk, instead of --chunk-size."
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    help="Uncompressed size in MB of a shard, a file of many chunks (Zarr 3 only).",
)
@click.option(
    "--zarr-version",
    type=click.Choice(["2", "3"]),
    default="2",
    show_default=True,
    help="Zarr format; cellcutter writes 2.",
)
@click.option(
    "-z", "--zip", "zipped", is_flag=True, help="Write a single zip file instead of a folder."
)
@click.option("-f", "--force", is_flag=True, help="Replace existing thumbnails.")
@click.option(
    "--cache-size",
    type=click.IntRange(0),
    default=1024,
    show_default=True,
    help="Memory in MB for thumbnails that are not yet written; the rest are kept on disk.",
)
@threads
def command(
    image: str,
    labels: str,
    table: str,
    destination: str,
    window: tuple[int, ...] | None,
    channels: str | None,
    chunk_size: int,
    shard_size: int | None,
    zarr_version: str,
    force: bool,
    cache_size: int,
    jobs: int | None,
    **options: Any,
) -> None:
    """Cut a thumbnail of each cell out of IMAGE and write them as the Zarr array DESTINATION.

    CELL_TABLE is CSV or Parquet with the columns CellID, X_centroid and Y_centroid (for volumes
    also Z_centroid) in pixels from 0; thumbnails are in the order of the table, and the array has
    the axes channel, cell, Y, X. LABELS is the label image that contains the cells; if it is -,
    cells are not looked up and the window size is taken from --window-size or from the table's
    bounding boxes. With --mask-cells a second array is written, NAME_mask.zarr for NAME.zarr. If
    LABELS or CELL_TABLE are a result of Terapose, axes, series, time, level and region are taken
    from the provenance.json beside it unless they are given.
    """
    from terapose.api.progress import stages
    from terapose.io.images.watch import Watch
    from terapose.results.thumbnails.cut import cut_cells
    from terapose.results.thumbnails.files import MEBI, Layout

    watch = Watch()
    opened, cells = _opened(image, None if labels == "-" else labels, table, options, watch)
    layout = Layout(
        zarr_format=2 if zarr_version == "2" else 3,
        chunk_bytes=chunk_size * MEBI,
        shard_bytes=None if shard_size is None else shard_size * MEBI,
        cells_per_chunk=options["cells_per_chunk"],
        zipped=options["zipped"],
    )
    edges = None if window is None else window[0] if len(window) == 1 else (window[0], window[1])
    with stages() as show:
        made = cut_cells(
            opened,
            cells,
            table,
            destination,
            window=edges,
            channels=channel_names(channels),
            mask_cells=options["mask_cells"],
            layout=layout,
            overwrite=force,
            cache_bytes=cache_size * MEBI,
            jobs=jobs or os.cpu_count() or 1,
            progress=show,
            watch=watch,
        )
    _say(made)


def _say(made: Thumbnails) -> None:
    """What was cut, and where it is."""
    shape = " x ".join(map(str, made.shape))
    chunks = " x ".join(map(str, made.chunks))
    click.echo(f"array: {shape} in chunks of {chunks}, {in_bytes(made.bytes)}", err=True)
    click.echo(f"thumbnails: {made.path}")
    if made.mask_path is not None:
        click.echo(f"masks:      {made.mask_path}")


def _opened(
    image: str, labels: str | None, table: str, options: dict[str, Any], watch: Watch
) -> tuple[Image, Lazy | None]:
    """The image under the label image, and that; without one, the part that holds all positions.

    Parameters
    ----------
    image, labels, table
        As they were given.
    options
        Of the command; those that choose a part of the image are taken out.
    watch
        Opens them.
    """
    from terapose.cli.known import segmented, under
    from terapose.io.images.opening import open_image

    region = options.get("region")
    known = segmented(table if labels is None else labels, image)
    default = known.of_positions(options, table) if labels is None else known.chosen(options)
    chosen = selection(image, options, default)
    opened = watch.open(partial(open_image, image, **chosen.options))
    if labels is not None:
        cells = watch.labels(labels)
        return under(opened, cells.shape, known), cells
    # positions are in all of the image
    return (opened if region else opened.whole), None
