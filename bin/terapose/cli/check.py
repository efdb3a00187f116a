"""`terapose check`: everything that can be wrong with a run, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from terapose.cli.options import Planning, parameters
from terapose.cli.values import LocalPath, from_input
from terapose.core.params import Parameters

_EPILOG = """\b
Example:
  terapose check nuclei.zarr --diameter 14 --output results
"""


@click.command(cls=Planning, epilog=_EPILOG)
@click.argument("image", callback=from_input)
@click.option("--output", help="Folder for the results, local or on an object store.")
@click.option(
    "--params-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON file with parameters; options on the command line take precedence.",
)
@click.option("--sample", default="sample", hidden=True, help="Name of the sample.")
@click.option(
    "--lines",
    type=LocalPath(is_file=True),
    hidden=True,
    help="Write the lines from which the workflow starts the sample, or each time point, here.",
)
@click.option(
    "--second",
    is_flag=True,
    hidden=True,
    help="Check the run of the second network (cell_model).",
)
@click.option(
    "--own",
    hidden=True,
    help="Parameters of this sample only (JSON); they override those of the run.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    hidden=True,
    help="The workflow's copy of this package, which has to be the same.",
)
@parameters(Parameters.model_fields)
def command(
    image: str,
    sample: str,
    output: str | None,
    params_file: Path | None,
    lines: Path | None,
    second: bool,
    own: str | None,
    source: Path | None,
    **options: Any,
) -> None:
    """Check the parameters, IMAGE, the network and the folder for the results.

    Prints what was understood of the image: its axes, shape, channels and voxel size. If IMAGE is
    -, its address is read from standard input.
    """
    from terapose.core.params import check
    from terapose.io.documents import object_in, read_object
    from terapose.io.files import write_text
    from terapose.io.remote import folder_of
    from terapose.pipeline.code import check_same
    from terapose.stages.check import run

    if source is not None:
        check_same(source)
    given = read_object(params_file) if params_file else {}
    alone = object_in(own, f"parameters of {sample}") if own else {}
    given |= alone | {k: v for k, v in options.items() if v is not None}
    whose = f"parameters of {sample}" if alone else "parameters"
    params = check(given, whose)
    if second and not params.has_second:
        # no line: there is nothing to run
        if lines is not None:
            write_text(lines, "sample\n")
        return
    folder = None if output is None else folder_of(output)
    checked = run(sample, image, params, folder, second=second)
    if lines is not None:
        write_text(lines, checked.lines)
    click.echo(checked.said)
