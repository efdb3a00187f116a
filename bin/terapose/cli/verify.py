"""`terapose verify`: whether results are as they were written."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)
_EPILOG = """\b
Examples:
  terapose verify results/brain
  terapose verify results"""


@click.command(epilog=_EPILOG)
@click.argument("results")
@click.option("--store", hidden=True, help="Store to make the results from again.")
@click.option("--plan", type=_FILE, hidden=True, help="Plan of the run they should be of.")
@click.option("--before", type=_FILE, hidden=True, help="Summary of that run before them.")
@click.option("--into", hidden=True, help="Folder they are about to be copied to: says so there.")
def command(
    results: str, store: str | None, plan: Path | None, before: Path | None, into: str | None
) -> None:
    """Compare the files in the folder RESULTS with the checksums in its provenance.json.

    RESULTS is a local folder or one on an object store (s3://bucket/folder).

    Finds what was damaged, changed or removed since: label image, tables, masks, thumbnails; and
    files that were added to the label image or the thumbnails. If RESULTS contains a folder for
    each sample, all are checked. The exit code is 2 if anything has changed, for example after a
    run was killed while copying.
    """
    from terapose.core.errors import InputError, shown
    from terapose.io.remote import folder_of
    from terapose.results.earlier import announce, record_of
    from terapose.results.verify import check, check_run, folders_in

    found, wrong = folders_in(folder_of(results)), list[InputError]()
    for folder in found:
        try:
            check(folder)
            if store and plan and before and isinstance(folder, Path):
                check_run(folder, store, plan, before)
        except InputError as error:
            wrong.append(error)
            if len(found) > 1:
                click.echo(f"terapose: {error}", err=True)
        else:
            click.echo(f"{shown(folder)}: as written")
    if into is not None and not wrong:
        announce(folder_of(into), record_of(Path(results)) or {})
    if wrong and store is not None:
        from terapose.io.store.store import Store
        from terapose.pipeline.repair import count

        count(Store(store), "finish")
    if wrong and len(found) == 1:
        raise wrong[0]
    if wrong:
        raise InputError(
            f"results of {len(wrong)} of {len(found)} samples have changed since they were written",
            where=results,
            remedy="run again (the workflow with -resume) to restore them",
        )
