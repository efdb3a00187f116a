"""`terapose process`: applies a function to a label image of any size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terapose.cli.shared import ome_zarr_options, refuse_given, say_unfinished
from terapose.cli.values import ZARR, LocalPath, Numbers, from_input

if TYPE_CHECKING:
    from terapose.results.processing.functions import Function

_EPILOG = """\b
Examples:
  terapose process results/labels.zarr large.zarr --with size --set min=200
  terapose process results/labels.zarr split.zarr --with split --set distance=8
  terapose process results/labels.zarr mine.zarr --with mine.py --image image.zarr --halo 2,8,8
"""


@click.command(epilog=_EPILOG)
@click.argument("labels", callback=from_input)
@click.argument("out", type=LocalPath(endings=ZARR))
@click.option(
    "--with",
    "source",
    required=True,
    metavar="NAME|FILE",
    help="components, split, size or merge; or a Python file with a function process or renumber.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set an option of the function."
)
@click.option(
    "--image",
    help="Image of the same shape, which is also passed to a function of yours.",
)
@click.option(
    "--channels", help="Channels that are passed, numbers from 1 or names.  [default: all]"
)
@click.option(
    "--halo",
    type=Numbers(1, 3),
    help="Voxels Z,Y,X that are passed around a block or object.  [default: what the "
    "function declares]",
)
@click.option(
    "--block-shape",
    type=Numbers(3),
    help="Size of a block, Z,Y,X in voxels; does not affect the result.  [default: 256,256,256; "
    "for a plane 1,2048,2048]",
)
@ome_zarr_options("0.5")
def command(
    labels: str,
    out: Path,
    source: str,
    settings: tuple[str, ...],
    image: str | None,
    channels: str | None,
    halo: tuple[int, ...] | None,
    block_shape: tuple[int, int, int] | None,
    version: str,
    jobs: int | None,
    overwrite: bool,
) -> None:
    """Apply a function to the label image LABELS, block by block, and write OUT.

    OUT is a labels group (OME-Zarr) on a local disk, with dense IDs. The function splits
    objects (split), finds connected components (components), filters objects by size (size) or
    merges IDs by a table (merge), or is your own, in a Python file whose code is run. To continue
    work that was interrupted, repeat the command.
    """
    from terapose.api.progress import stages
    from terapose.apps.process.run import default_block, process
    from terapose.apps.process.setting import FileSetting
    from terapose.cli.known import image_with
    from terapose.cli.stopping import at_once
    from terapose.core.geometry import Grid, zyx
    from terapose.io.images.watch import Watch

    watch = Watch()
    function = _function(source, settings, halo)
    if function.kind == "numbers" or not function.digest:
        # only what a file defines can look at it
        refuse_given(("image", "channels"), "the function sees no image")
    cells = watch.labels(labels)
    shape = zyx(cells.shape)
    opened, numbers = image_with(labels, shape, image, channels, watch)
    if block_shape is not None and min(block_shape) < 1:
        raise click.BadParameter("a block has at least 1 voxel along each axis")
    block = zyx(map(min, block_shape or default_block(shape), shape))
    setting = FileSetting(cells, opened, numbers, function, Grid(shape, block))
    with at_once(), stages() as show:
        made = process(
            setting,
            out,
            version=version,
            jobs=jobs or os.cpu_count() or 1,
            overwrite=overwrite,
            progress=show,
            watch=watch,
        )
    click.echo(f"{out}: {made.objects} objects")
    say_unfinished(out)


def _function(source: str, settings: tuple[str, ...], halo: tuple[int, ...] | None) -> Function:
    """The function that the options name."""
    from dataclasses import replace

    from terapose.core.errors import InputError
    from terapose.core.near import did_you_mean
    from terapose.io.homes import expanded
    from terapose.results.processing.builtin import BUILTIN
    from terapose.results.processing.chosen import options_of
    from terapose.results.processing.functions import as_halo, load

    if source in BUILTIN:
        function = BUILTIN[source]
    elif source.endswith(".py"):
        function = load(expanded(source))
    else:
        raise InputError(
            "there is no such function",
            where="with",
            got=source,
            allowed=f"{', '.join(BUILTIN)}, or a file with the ending .py",
            remedy=did_you_mean(source, BUILTIN),
        )
    if halo is not None:
        if function.kind == "numbers":
            raise InputError(
                "the function sees no voxels, so it has no halo", where="halo", got=halo
            )
        function = replace(function, halo=as_halo(halo, "halo"))
    return function.with_options(options_of(settings, "set"))
