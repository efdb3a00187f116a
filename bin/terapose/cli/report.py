"""`terapose report`: a page to judge results by."""

from __future__ import annotations

from pathlib import Path

import click

from terapose.cli.shared import refuse_given
from terapose.cli.values import LocalPath, from_input

_EPILOG = """\b
Examples:
  terapose report results/brain
  terapose report results/brain brain.zarr
  terapose report results"""


@click.command(epilog=_EPILOG)
@click.argument("results", type=LocalPath())
@click.argument("image", required=False, default="", callback=from_input)
@click.option("--output", type=LocalPath(), help="Folder for the report.  [default: RESULTS]")
@click.option("--name", help="Name of the sample.  [default: name of the folder]")
@click.option(
    "--folder",
    help="With several samples: the folder of each page, relative to the page of all samples; {} "
    "is the name of the sample.  [default: where the page is]",
)
def command(
    results: Path, image: str, output: Path | None, name: str | None, folder: str | None
) -> None:
    """Write a report of the results in the folder RESULTS: report.html and its numbers as JSON.

    The page shows pictures with the outlines of cells, statistics, and warnings with what to try.
    It is one file that needs nothing else. report_mqc.json has the main numbers for MultiQC. IMAGE
    is the image that was segmented; if it is not given, it is the one in provenance.json, and if it
    is -, its address is read from standard input. If RESULTS contains a folder for each sample,
    each gets its report, and RESULTS one of all samples; folders that contain only a report.json
    are listed as they are.
    """
    from terapose.core.errors import InputError, shown
    from terapose.results.earlier import RECORD
    from terapose.results.report.own import NUMBERS
    from terapose.results.report.writing import samples_in, write_report, write_run_report

    output = output or results
    folders = samples_in(results)
    if not folders:
        refuse_given(("folder",), "is that of the pages of several samples")
        page = write_report(results, output, name=name or "", address=image)
        click.echo(f"report: {shown(page)}")
        return
    if image or name:
        raise InputError(
            "image and name are those of one sample",
            where=results,
            got=f"folders of {len(folders)} samples",
            remedy="give the folder of one sample",
        )
    if folder is not None and "{}" not in folder and len(folders) > 1:
        raise InputError(
            "is the same for all samples",
            where="--folder",
            got=folder,
            allowed="a pattern with {} for the name of the sample",
        )
    for one in folders:
        if (one / RECORD).exists():
            click.echo(f"report: {shown(write_report(one, one))}")
    page = write_run_report([one / NUMBERS for one in folders], output, folder)
    click.echo(f"report: {shown(page)}")
