"""`terapose tune`: try values of parameters on regions of an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import Planning, parameters
from terapose.cli.values import LocalPath, Numbers, from_input
from terapose.core.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terapose.apps.tune.search import Outcome

_EPILOG = """\b
Examples:
  terapose tune nuclei.zarr tuned --diameter 14
  terapose tune nuclei.zarr tuned --reference labels.zarr
  terapose tune slide.tif tuned --sweep cellprob_threshold=-2,-1,0,1 --sweep diameter=12,16,20
"""


@click.command(cls=Planning, epilog=_EPILOG)
@click.argument("image", callback=from_input)
@click.argument("out", type=LocalPath(), default="tune")
@click.option(
    "--reference",
    default="",
    help="Label image made by hand, of the whole image or the region: the best values are those "
    "with the highest average precision against it.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="Values of diameter, flow3d_smooth, cellprob_threshold, flow_threshold or min_size, once "
    "for each parameter.  [default: all that apply to the mode, with usual values]",
)
@click.option(
    "--regions", type=click.IntRange(1, 50), default=3, show_default=True, help="How many regions."
)
@click.option(
    "--size",
    type=Numbers(2, 3),
    help="Size Z,Y,X (or Y,X) of a region in voxels.  [default: room for a few dozen cells]",
)
@parameters(Parameters.model_fields)
def command(
    image: str,
    out: Path,
    reference: str,
    sweeps: tuple[str, ...],
    regions: int,
    size: tuple[int, ...] | None,
    **options: Any,
) -> None:
    """Try values of parameters on regions of IMAGE, and write a contact sheet into OUT.

    OUT gets tune.html and tune.png, in which cells at different values can be compared, tune.json
    with all numbers, and params.json for nextflow run . -params-file. The parameters below are
    those to start with. The network runs once for each region and diameter; all
    other values reuse its flows, also when the command is repeated. If IMAGE is -, its address is
    read from standard input.
    """
    from terapose.api.tune.running import Asked, tune
    from terapose.cli.progress import progress
    from terapose.cli.stopping import stopping
    from terapose.core.geometry import zyx
    from terapose.core.params import check
    from terapose.io.samples import one_image

    params = one_image(check(options), "this command takes one time point")
    asked = Asked(sweeps, reference, regions, zyx((1, *size)[-3:]) if size else None)
    with stopping(), progress("tuning") as show:
        outcomes, _, found = tune(image, out, params, asked, show)
    _print(outcomes, scored=bool(reference))
    if found and found.origin == "found":
        click.echo(f"diameter:   {found.pixels:g} pixels (found in the image, as none was given)")
    click.echo(f"sheet:      {out / 'tune.html'}")
    click.echo(f"parameters: {out / 'params.json'}")


def _print(outcomes: Sequence[Outcome], *, scored: bool) -> None:
    """A table of all values."""
    from rich.console import Console
    from rich.table import Table

    columns = ("parameter", "value", "cells", "median size", "agreement 0.5", "0.75")
    table = Table(*columns, *(("AP 0.5", "AP 0.75", "") if scored else ()))
    for outcome in outcomes:
        for n, trial in enumerate(outcome.trials):
            row = [outcome.sweep.name if n == 0 else "", f"{trial.value:g}", str(trial.cells)]
            row += [f"{trial.median_size:.0f}", *_scores(trial.agreement)]
            if scored:
                best = "best" if trial.value == outcome.chosen else ""
                row += [*_scores(trial.precision), best]
            table.add_row(*row, end_section=n == len(outcome.trials) - 1)
    Console().print(table)


def _scores(values: tuple[float, ...] | None) -> list[str]:
    return [f"{value:.3f}" for value in values] if values else ["", ""]
