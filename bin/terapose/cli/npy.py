"""`terapose npy`: labels as the file that Cellpose's graphical interface opens."""

from __future__ import annotations

from pathlib import Path

import click

from terapose.cli.shared import overwrite as overwrite_option
from terapose.cli.values import LocalPath, from_input

_EPILOG = """\b
Examples:
  terapose npy results/labels.zarr images/slide_seg.npy
  terapose npy results/labels.zarr slide_seg.npy --image slide.zarr --channels 2,1
"""


@click.command(epilog=_EPILOG)
@click.argument("labels", callback=from_input)
@click.argument("out", type=LocalPath(is_file=True))
@click.option("--image", help="Image of the same shape, which becomes part of the file.")
@click.option(
    "--channels",
    help="Up to three channels of the image, numbers from 1 or names  [default: the first three]",
)
@overwrite_option
def command(
    labels: str, out: Path, image: str | None, channels: str | None, overwrite: bool
) -> None:
    """Write the label image LABELS as OUT, NAME_seg.npy, for Cellpose's graphical interface.

    NAME is the name of the image without its ending. The image is beside OUT, as a TIFF, PNG or
    JPEG, or is given with --image. Cells are numbered from 1 without gaps. Label images of more
    than 100 million voxels are refused, because the interface holds all of them in memory. It saves
    corrections in the same file, so one that exists is not replaced unless --overwrite is given.
    """
    from terapose.apps.cellpose_npy import beside, write_npy
    from terapose.cli.known import image_with, refuse_other_shape
    from terapose.core.errors import InputError, shown
    from terapose.io.images.watch import Watch
    from terapose.results.named_files import check_files

    check_files([out], [labels] if image is None else [labels, image])
    watch = Watch()
    cells = watch.labels(labels)
    opened, numbers = image_with(labels, cells.shape, image, channels, watch)
    if channels is not None and len(numbers) > 3:
        raise InputError("too many channels", where="channels", got=channels, allowed="three")
    numbers = numbers[:3]
    if image is None:
        refuse_other_shape(labels, cells.shape, beside(out))
    count = write_npy(
        cells, labels, out, opened, numbers, overwrite=overwrite, confirm=watch.confirm
    )
    click.echo(f"{shown(out)}: {count} cells")
