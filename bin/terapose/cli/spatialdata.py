"""`terapose spatialdata`: results as a SpatialData store."""

from __future__ import annotations

from pathlib import Path

import click

from terapose.cli.values import ZARR, LocalPath

_EPILOG = """\b
Examples:
  terapose spatialdata results/slide slide.zarr
  terapose spatialdata results/slide slide.zarr --copy-image
"""


@click.command(epilog=_EPILOG)
@click.argument("results", type=LocalPath())
@click.argument("out", type=LocalPath(endings=ZARR))
@click.option("--copy-image", is_flag=True, help="Also copy the image, with all channels.")
@click.option("--overwrite", is_flag=True, help="Replace an existing store.")
def command(results: Path, out: Path, copy_image: bool, overwrite: bool) -> None:
    """Write the results in the folder RESULTS as the SpatialData store OUT.

    It contains the label images, the tables, and the outlines of cells if the results have
    cells.geojson. The store says where the image is (attribute terapose), or has a copy of it. The
    table h5ad has to be among the results (--table csv,parquet,h5ad).
    """
    from terapose.core.errors import shown
    from terapose.results.spatial_data import write_spatial_data

    elements = write_spatial_data(results, out, overwrite=overwrite, with_image=copy_image)
    click.echo(f"{shown(out)}: {', '.join(elements)}")
