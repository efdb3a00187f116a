"""`terapose verify`: whether results are as they were written."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Example:
  terapose verify results"""


@click.command(epilog=_EPILOG)
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--store", hidden=True, help="Store to make the results from again.")
def command(results: Path, store: str | None) -> None:
    """Compare the files in the folder RESULTS with the checksums in its provenance.json.

    Finds what was damaged, changed or removed since: label image, tables, masks, thumbnails. Exit
    code 2 if anything was.
    """
    from terapose.core.errors import InputError
    from terapose.results.verify import check

    try:
        check(results)
    except InputError:
        if store is not None:
            from terapose.io.store.store import Store
            from terapose.pipeline.repair import count

            count(Store(store), "finish")
        raise
    click.echo(f"{results}: as written")
