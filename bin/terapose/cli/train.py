"""`terapose train`: a small U-Net for one's own images."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from terapose.cli.values import Numbers

_EPILOG = """\b
Examples:
  terapose train cells/ --output cells.pth --holdout-every 5
  terapose train nuclei2d/ embryos/ --voxel-size 1.75,0.8,0.8 --holdout 'Emb11*' --output n.pth
  terapose train cells/ --output cells.pth --holdout-every 5 --resume
"""


@click.command(epilog=_EPILOG)
@click.argument(
    "data", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Weight file.")
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="Per epoch.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Crops a step.")
@click.option("--crop", type=click.IntRange(16), default=128, show_default=True, help="Pixels.")
@click.option("--rate", type=float, default=2e-3, show_default=True, help="Peak learning rate.")
@click.option(
    "--diameter",
    type=click.FloatRange(4, 200),
    default=17.0,
    show_default=True,
    help="Pixels that objects are scaled to; smaller is faster, larger finer.",
)
@click.option(
    "--widths",
    type=Numbers(2, 3, 4, 5),
    default=(16, 32, 64, 96),
    help="Channels of the network's levels.  [default: 16,32,64,96]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16 is faster where the processor has it.",
)
@click.option("--voxel-size", type=Numbers(3, kind=float), help="Z,Y,X of volumes.")
@click.option(
    "--plane-step", type=click.IntRange(1), default=4, show_default=True, help="Of volumes."
)
@click.option("--simulated", type=click.IntRange(0), default=0, help="Add simulated volumes.")
@click.option("--holdout", multiple=True, help="File names (pattern or @LIST) to validate on.")
@click.option("--exclude", multiple=True, help="File names (pattern or @LIST) to ignore.")
@click.option(
    "--holdout-every",
    type=click.IntRange(0),
    default=0,
    help="Validate on every n-th file of each folder in which no --holdout matches.",
)
@click.option("--resume", is_flag=True, help="Continue from OUTPUT's checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and its checkpoint.")
@click.option("--licence", default="unstated", help="Of the weights, for the model card.")
@click.option("--threads", type=click.IntRange(1), help="Processors to use (default: all).")
def command(
    data: tuple[Path, ...], output: Path, resume: bool, overwrite: bool, **options: Any
) -> None:
    """Train a network on folders DATA, each with images/ and labels/ of the same file names.

    Images are 2D, or volumes that are cut into planes of three orientations. After each epoch there
    is a line of scores, the weights in OUTPUT and a checkpoint beside it; at the end a model card.
    """
    import torch

    from terapose.cli.progress import progress
    from terapose.train.card import write_card
    from terapose.train.dataset import read_dataset
    from terapose.train.loop import Trainer, fit, prepare

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    trainer = Trainer(_settings(options))
    prepare(trainer, output, resume=resume, overwrite=overwrite)
    with progress("reading") as show:
        dataset = read_dataset(
            data,
            holdout=options["holdout"],
            exclude=options["exclude"],
            every=options["holdout_every"],
            voxel_size=options["voxel_size"],
            plane_step=options["plane_step"],
            simulated=options["simulated"],
            seed=options["seed"],
            show=show,
        )
    click.echo(f"{len(dataset.training)} items to train on, {len(dataset.held_out)} held out")
    with progress("training") as show:
        fit(
            trainer,
            dataset.training,
            dataset.held_out,
            output,
            report=click.echo,
            show=show,
        )
    card = write_card(
        output,
        settings=trainer.settings,
        sources=dataset.sources,
        history=trainer.history,
        command=shlex.join(["terapose", *sys.argv[1:]]),
        licence=options["licence"],
    )
    click.echo(f"weights: {output}\ncard: {card}")


def _settings(options: dict[str, Any]) -> Any:
    from terapose.train.loop import Settings

    return Settings(
        epochs=options["epochs"],
        steps=options["steps"],
        batch=options["batch"],
        edge=options["crop"],
        rate=options["rate"],
        widths=(1, *options["widths"]),
        diameter=options["diameter"],
        seed=options["seed"],
        precision=options["precision"],
    )
