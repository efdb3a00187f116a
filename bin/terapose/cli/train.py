"""`terapose train`: a network for one's own images, new or fine-tuned."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.values import LocalPath, Numbers, Real
from terapose.core.masking import masked

if TYPE_CHECKING:
    from terapose.apps.train.dataset import Dataset

_EPILOG = """\b
Examples:
  terapose train cells/ --output cells.pth --holdout-every 5
  terapose train cells/ --init cyto3 --channels 2,1 --output mine.pth --holdout-every 5 \\
    --patience 8
  terapose train nuclei2d/ embryos/ --voxel-size 1.75,0.8,0.8 --holdout 'Emb11*' --output n.pth
  terapose train cells/ --output cells.pth --holdout-every 5 --resume
"""


@click.command(epilog=_EPILOG)
@click.argument(
    "data", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--output", type=LocalPath(is_file=True), required=True, help="Weight file.")
@click.option(
    "--init",
    metavar="MODEL",
    help="Name, path or URL of what to fine-tune: a U-Net of Cellpose 1 to 3 or terapose train, or "
    "a network of Cellpose 4.",
)
@click.option(
    "--channels",
    type=Numbers(1, 2, 3),
    default=(),
    help="Channels of multichannel images, from 1: cell, then nucleus.  [default: all, if the "
    "network takes as many]",
)
@click.option(
    "--epochs", type=click.IntRange(1), default=40, show_default=True, help="Number of epochs."
)
@click.option(
    "--steps", type=click.IntRange(1), default=100, show_default=True, help="Steps per epoch."
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=0,
    help="Stop after N epochs without a better score, and keep the best epoch.  [default: off]",
)
@click.option(
    "--batch", type=click.IntRange(1, 65536), help="Crops per step.  [default: 8; Cellpose 4: 1]"
)
@click.option(
    "--crop",
    type=click.IntRange(16, 65536),
    help="Width of a crop in pixels.  [default: 7.5 diameters]",
)
@click.option(
    "--rate",
    type=Real(0, min_open=True),
    help="Peak learning rate.  [default: 2e-3; fine-tuning: 2e-4; Cellpose 4: 1e-5]",
)
@click.option(
    "--diameter",
    type=Real(4, 200),
    help="Diameter in pixels to which objects are scaled; smaller is faster, larger is finer.  "
    "[default: 17; fine-tuning: the file's]",
)
@click.option(
    "--widths",
    type=Numbers(2, 3, 4, 5),
    help="Channels at each level of a new network.  [default: 16,32,64,96]",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed."
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="bfloat16 is faster on processors that support it.  [default: float32]",
)
@click.option(
    "--voxel-size",
    type=Numbers(3, kind=float),
    help="Voxel size Z,Y,X in micrometres, for volumes that do not specify it.",
)
@click.option(
    "--plane-step",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Use every n-th plane of volumes.",
)
@click.option("--simulated", type=click.IntRange(0), default=0, help="Add simulated volumes.")
@click.option(
    "--simulated-slides", type=click.IntRange(0), default=0, help="Add nuclei of simulated slides."
)
@click.option("--holdout", multiple=True, help="File names (pattern or @LIST) to validate on.")
@click.option("--exclude", multiple=True, help="File names (pattern or @LIST) to ignore.")
@click.option(
    "--holdout-every",
    type=click.IntRange(0),
    default=0,
    help="Validate on every n-th file of each folder in which no --holdout matches.",
)
@click.option("--resume", is_flag=True, help="Continue from OUTPUT's checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and the files beside it.")
@click.option(
    "--licence",
    help="Licence of the weights, for the model card.  [default: that of --init, or unstated]",
)
@click.option(
    "--data-licence",
    multiple=True,
    help="Licence of all DATA, or one for each, for the model card.",
)
@click.option("--use-gpu", is_flag=True, help="Train on a CUDA device.")
@click.option(
    "--threads", type=click.IntRange(1), help="Number of threads.  [default: one per core]"
)
def command(
    data: tuple[Path, ...],
    output: Path,
    init: str | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Train a network on folders DATA of images with labels, or fine-tune one.

    A folder has images/ and labels/ with the same file names, or NAME.tif beside NAME_masks.tif, or
    HDF5 files with raw and label. Images are 2D, or volumes that are cut into planes of three
    orientations. After each epoch a line of scores is printed, the weights are written to OUTPUT,
    and a plot of the scores and a checkpoint beside it; at the end, a model card is added.
    """
    import torch

    from terapose.apps.train.card import write_card
    from terapose.apps.train.curve import curve_of
    from terapose.apps.train.saving import check_output
    from terapose.apps.train.start import begin
    from terapose.cli.progress import progress
    from terapose.networks.files import UNSTATED
    from terapose.networks.weights import resolve

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    source = None if init is None else resolve(init)
    check_output(output, source)
    start = begin({**options, "resume": resume}, init=source, output=output)
    start.prepare(output, resume=resume, overwrite=overwrite)
    dataset = _read(data, options, start.limit)
    with progress("training") as show:
        trained = start.train(dataset, output, command=_called(), report=click.echo, show=show)
    card = write_card(
        output,
        settings=start.settings,
        sources=dataset.sources,
        trained=trained,
        licence=options["licence"] or start.licence or UNSTATED,
    )
    click.echo(f"weights: {output}\ncurve: {curve_of(output)}\ncard: {card}")


def _called() -> str:
    """The command line that repeats it, for a card that will be published with the weights."""
    words = (masked(word) for word in sys.argv[1:] if word != "--resume")
    return shlex.join(["terapose", *words])


def _read(data: tuple[Path, ...], options: dict[str, Any], limit: int) -> Dataset:
    from terapose.apps.train.dataset import read_dataset
    from terapose.cli.progress import progress

    with progress("reading") as show:
        dataset = read_dataset(
            data,
            holdout=options["holdout"],
            exclude=options["exclude"],
            every=options["holdout_every"],
            voxel_size=options["voxel_size"],
            plane_step=options["plane_step"],
            channels=options["channels"],
            limit=limit,
            licences=options["data_licence"],
            simulated=options["simulated"],
            slides=options["simulated_slides"],
            seed=options["seed"],
            show=show,
        )
    click.echo(f"{len(dataset.training)} items to train on, {len(dataset.held_out)} held out")
    return dataset
