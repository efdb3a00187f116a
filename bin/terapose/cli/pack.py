"""`terapose pack`: label images as a submission to the CellMap segmentation challenge."""

from __future__ import annotations

from pathlib import Path

import click

from terapose.cli.shared import overwrite as overwrite_option
from terapose.cli.values import LocalPath

_EPILOG = """\b
Examples:
  terapose pack test_crop_manifest.csv 'results/{crop}/{label}/labels.zarr' submission.zip
  terapose pack manifest.csv 'labels/{dataset}-{crop}-{label}.zarr' submission.zip --skip-missing
"""


@click.command(epilog=_EPILOG)
@click.argument("manifest", type=LocalPath(is_file=True))
@click.argument("labels")
@click.argument("out", type=LocalPath(is_file=True))
@click.option("--skip-missing", is_flag=True, help="Leave out crops that have no label image.")
@overwrite_option
def command(manifest: Path, labels: str, out: Path, skip_missing: bool, overwrite: bool) -> None:
    """Pack label images into the zip file OUT for the CellMap segmentation challenge.

    MANIFEST is the table of the challenge's test crops. LABELS is the address of the label images,
    with {crop} (as in crop234), {label} and {dataset} for the names in a row. Each is brought to
    the voxel size, position and shape in the row by the nearest voxel; IDs above 255 are kept.
    """
    from terapose.apps.pack import pack, read_manifest
    from terapose.cli.progress import progress
    from terapose.io.images.address import refuse_inputs
    from terapose.results.named_files import refuse_results

    refuse_inputs([out], [str(manifest)])
    refuse_results([out])
    rows = read_manifest(manifest)
    with progress("packing") as show:
        missing = pack(
            rows,
            labels,
            out,
            skip_missing=skip_missing,
            overwrite=overwrite,
            progress=show,
        )
    for row in missing:
        click.echo(f"{row.crop}/{row.label} is left out: it has no label image", err=True)
    click.echo(f"{out}: {len(rows) - len(missing)} of {len(rows)} label images")
