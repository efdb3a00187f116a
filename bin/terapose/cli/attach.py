"""`terapose attach`: label images of results, copied into the image."""

from __future__ import annotations

import click

_EPILOG = """\b
Examples:
  terapose attach results/brain
  terapose attach results brain.zarr
  terapose attach s3://bucket/results/brain s3://bucket/brain.zarr"""


@click.command(epilog=_EPILOG)
@click.argument("results")
@click.argument("image", required=False, default="")
def command(results: str, image: str) -> None:
    """Copy the label images in the folder RESULTS into IMAGE, as its labels.

    IMAGE is an OME-Zarr image on a local disk or an object store; if it is not given, it is the one
    in provenance.json. labels.zarr is first compared with its checksums, as in terapose verify. Its
    label images become IMAGE/labels/cells (and nuclei, cytoplasm); label images with these names
    that Terapose wrote there earlier are replaced, those of other programs never. RESULTS stays as
    it is.
    """
    from terapose.core.errors import shown
    from terapose.io.remote import folder_of
    from terapose.results.in_image.attaching import attach

    click.echo(f"labels: {shown(attach(folder_of(results), image))}")
