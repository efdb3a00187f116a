"""`terapose segment`: all stages in one command on one machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.params import Parameters

_EPILOG = """\b
Examples:
  terapose segment nuclei.zarr results --diameter 14
  terapose segment stack.tif results --voxel-size 2,0.5,0.5 --diameter 20 --jobs 4
"""


@click.command(epilog=_EPILOG)
@click.argument("image")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), help="Processes  [default: all cores]")
@parameters(Parameters.model_fields)
def command(image: str, out: Path, jobs: int | None, **options: Any) -> None:
    """Segment IMAGE and write labels.zarr, cells.csv and provenance.json into OUT.

    IMAGE is OME-Zarr, Zarr, TIFF, OME-TIFF or HDF5, a path or a URL. A run that was stopped goes
    on where it was when the same command is given again.
    """
    from terapose.cli.progress import stages
    from terapose.params import check
    from terapose.runner import segment_file

    params = check(options)
    with stages() as report:
        record = segment_file(
            image, out, params, workers=jobs or os.cpu_count() or 1, report=report
        )
    click.echo(f"cells:  {record['cells']}", err=True)
    click.echo(f"labels: {out / 'labels.zarr'}")
    click.echo(f"table:  {out / 'cells.csv'}")
