"""`terapose evaluate`: scores of a label image against a reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terapose.cli.values import LocalPath, Numbers

if TYPE_CHECKING:
    from terapose.apps.evaluate import Scores

_EPILOG = """\b
Examples:
  terapose evaluate demo.labels.zarr results/demo/labels.zarr
  terapose evaluate reference.tif predicted.tif --json scores.json
"""


@click.command(epilog=_EPILOG)
@click.argument("reference")
@click.argument("predicted")
@click.option(
    "--thresholds",
    type=Numbers(*range(1, 21), kind=float),
    default="0.5,0.75,0.9",
    show_default=True,
    help="Minimum intersection over union for a match.",
)
@click.option("--json", "report", type=LocalPath(), help="Also write the scores to a file.")
def command(
    reference: str, predicted: str, thresholds: tuple[float, ...], report: Path | None
) -> None:
    """Score the label image PREDICTED against REFERENCE, block by block.

    Both may be OME-Zarr label images or labels groups with one, Zarr arrays, TIFF, OME-TIFF or
    HDF5 (file.h5/dataset). Both must have the same shape. A file that changes while it is read is
    refused.
    """
    from terapose.apps.evaluate import compare
    from terapose.cli.progress import progress
    from terapose.io.images.watch import Watch

    watch = Watch()
    with progress("comparing") as show:
        scores = compare(
            watch.labels(reference), watch.labels(predicted), thresholds=thresholds, progress=show
        )
    watch.confirm()
    _print(scores)
    if report is not None:
        _save(scores, report)


def _save(scores: Scores, path: Path) -> None:
    from terapose.core.errors import InputError
    from terapose.io import files

    text = json.dumps(scores.as_dict(), indent=2, allow_nan=False) + "\n"
    try:
        with files.written(path, "scores") as partial:
            partial.write_text(text)
    except OSError as error:
        raise InputError(
            "the scores cannot be written",
            where=path,
            got=f"{type(error).__name__}: {error}",
            remedy="choose a folder that exists and that you may write to",
        ) from error


def _print(scores: Scores) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("IoU", "AP", "recall", "precision", "matched", "false", "missed")
    for row in zip(
        scores.thresholds,
        scores.average_precision,
        scores.recall,
        scores.precision,
        scores.true_positives,
        scores.false_positives,
        scores.false_negatives,
        strict=True,
    ):
        table.add_row(f"{row[0]:g}", *(f"{v:.3f}" for v in row[1:4]), *map(str, row[4:]))
    console = Console()
    console.print(table)
    console.print(
        f"{scores.reference} instances in the reference, {scores.predicted} predicted; "
        f"mean IoU of matches {scores.mean_iou:.3f}, panoptic quality "
        f"{scores.panoptic_quality:.3f}",
        highlight=False,
        soft_wrap=True,
    )
