"""`terapose segment`: all stages in one command on one machine."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import Planning, parameters
from terapose.cli.shared import processes, say_results
from terapose.cli.stopping import stopping
from terapose.core.errors import InputError, shown
from terapose.core.masking import masked
from terapose.core.params import Parameters

if TYPE_CHECKING:
    from terapose.io.listing import Listing
    from terapose.io.remote import Remote

_EPILOG = """\b
Examples:
  terapose segment nuclei.zarr results --diameter 14
  terapose segment stack.tif results --voxel-size 2,0.5,0.5 --diameter 20 --jobs 4
  terapose segment 'planes/img_{z}_{c}.tif' results --stack --diameter 20
  terapose segment images results --diameter 20
  terapose segment nuclei.zarr s3://bucket/results --store scratch --diameter 14
"""


@click.command(cls=Planning, epilog=_EPILOG)
@click.argument("image", required=False)
@click.argument("out", required=False)
@click.option("--input", "given", help="The image, instead of IMAGE (for MCMICRO).")
@click.option("--outdir", help="Folder for the results, instead of OUT.")
@click.option(
    "--store",
    help="Folder for the intermediate results, local or on an object store, instead of "
    "OUT/.terapose; with several samples, each gets its own folder in it.",
)
@processes
@click.option(
    "--publish-mode",
    type=click.Choice(["copy", "link"]),
    default="copy",
    show_default=True,
    help="Whether the label image is a copy of that in the store, or consists of hard links to it. "
    "Links take no disk space, but damage to the store then damages the results.",
)
@parameters(Parameters.model_fields)
def command(
    image: str | None,
    out: str | None,
    given: str | None,
    outdir: str | None,
    store: str | None,
    jobs: int | None,
    publish_mode: str,
    **options: Any,
) -> None:
    """Segment IMAGE and write labels.zarr, cells.csv and provenance.json into OUT.

    IMAGE is OME-Zarr, Zarr, N5, TIFF, OME-TIFF or HDF5: a path, or a URL of Zarr or TIFF. OUT is a
    local folder or one on an object store (s3://bucket/folder, gs://, az://: docs/cloud.md). To
    continue a run that was interrupted, repeat the command. With --input (how MCMICRO calls it)
    cell.ome.tif and the folder qc, with a picture, are written too; measuring intensities is left
    to MCMICRO, and no intermediate results are kept. With --time all, the results of each time
    point go to a separate folder in OUT.

    IMAGE may also be a folder of images, a quoted pattern ('data/*.tif') or a samplesheet (CSV
    with the columns sample and image; each further column is a parameter): the results of each
    sample go to a folder in OUT with the name of the sample. With --stack, a folder or pattern is
    one image with one plane in each file.
    """
    from terapose.cli import mcmicro
    from terapose.core.params import check
    from terapose.io.listing import Listed, Listing, listed
    from terapose.io.remote import folder_of
    from terapose.pipeline.local import cores
    from terapose.results.destination import refuse_links

    if (given is not None and image is not None) or (outdir is not None and out is not None):
        raise click.UsageError("give either IMAGE and OUT, or --input and --outdir")
    if given is not None:
        image, out = given, outdir
        options = mcmicro.as_called(options)
    out = out or outdir
    if image is None or out is None:
        raise click.UsageError("give IMAGE and OUT, or --input and --outdir")
    folder, stores = folder_of(out), folder_of(store) if store is not None else None
    refuse_links(folder, link=publish_mode == "link")
    if given is not None:
        mcmicro.check_folder(folder)
    listing = Listing([Listed("", image, {})], False, [])
    if given is None:
        listing = listed(image, stack=check(options).stack)
    if listing.left_out:
        click.echo(f"skipped, not images: {shown(', '.join(listing.left_out))}", err=True)
    workers = jobs or cores()
    how = {"for_mcmicro": given is not None, "link": publish_mode == "link"}

    def segment(name: str, address: str, params: Parameters) -> None:
        own = None if stores is None else stores / name
        _segment_one(address, folder / name, params, workers, own, **how)

    with stopping():
        _segment_all(listing, options, segment, folder)


def _segment_all(
    listing: Listing,
    options: Mapping[str, Any],
    segment: Callable[[str, str, Parameters], None],
    folder: Path | Remote,
) -> None:
    """Segment all samples, and make the report of all of them."""
    from terapose.io.samples import for_each

    begun: list[str] = []
    reported: list[str] = []

    def segment_next(name: str, address: str, params: Parameters) -> None:
        if listing.are_several:
            click.echo(f"sample: {name}", err=True)
        begun.append(name)
        segment(name, address, params)
        if params.report and name:
            reported.append(name)

    try:
        for_each(listing, options, segment_next, _say)
    finally:
        _forget_report(folder, begun)
    if reported and isinstance(folder, Path):
        _report_all(folder, reported)


def _forget_report(folder: Path | Remote, begun: list[str]) -> None:
    """Remove the report of all samples of an earlier run, once one of them was begun."""
    from terapose.results.report.own import remove_made

    # an only sample has none, and its own goes and comes with its results
    if any(begun) and isinstance(folder, Path):
        remove_made(folder)


def _report_all(folder: Path, names: list[str]) -> None:
    """Make the report of all samples."""
    from terapose.results.report.own import NUMBERS
    from terapose.results.report.writing import write_run_report

    page = write_run_report([folder / name / NUMBERS for name in names], folder)
    click.echo(f"report: {page}")


def _say(name: str, error: Exception) -> None:
    """Say why a sample failed; of what nobody expected, where in the code."""
    if not isinstance(error, InputError):
        click.echo(masked("".join(traceback.format_exception(error))), err=True, nl=False)
    click.echo(f"terapose: {name}: {shown(error, 5000)}", err=True)


def _segment_one(
    image: str,
    out: Path | Remote,
    params: Parameters,
    jobs: int,
    store: Path | Remote | None,
    *,
    for_mcmicro: bool,
    link: bool,
) -> None:
    """Segment one sample and say what came out."""
    from terapose.api import runner
    from terapose.api.progress import stages
    from terapose.cli import mcmicro
    from terapose.pipeline.plan import DiameterPlan

    # which diameter is used, before hours of work with it
    runner.log.setLevel(logging.INFO)
    if for_mcmicro:
        mcmicro.check_plane(image, params)
    with stages() as report:
        record = runner.segment_file(
            image, out, params, workers=jobs, report=report, link=link, store=store
        )
    if for_mcmicro and isinstance(out, Path):
        mcmicro.write_qc(image, out, params, record)
    model = record["model"]
    licence = model["licence"] or "not stated"
    click.echo(f"network: {model['name']} ({model['family']}), licence {licence}", err=True)
    click.echo(f"diameter: {DiameterPlan(**record['diameter']).text}", err=True)
    if second := record["second"]:
        text = DiameterPlan(**second["diameter"]).text
        click.echo(f"diameter of the second network: {text}; {second['cells']} cells", err=True)
    say_results(record, out, report=params.report)
