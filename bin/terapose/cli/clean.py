"""`terapose clean`: remove the intermediate results of runs that are finished."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_EPILOG = """\b
Examples:
  terapose clean results
  terapose clean results --work work --yes
  terapose clean results --store /scratch/me
"""


@click.command(epilog=_EPILOG)
@click.argument("results", type=_FOLDER)
@click.option("--work", type=_FOLDER, help="Work folder of the workflow that made the results.")
@click.option("--store", type=_FOLDER, help="Folder that the runs were given as --store.")
@click.option("--yes", is_flag=True, help="Remove what is listed; otherwise nothing is removed.")
def command(results: Path, work: Path | None, store: Path | None, yes: bool) -> None:
    """List or remove the intermediate results of runs whose RESULTS are complete.

    RESULTS is a folder of results, one that contains a folder for each sample, or what terapose
    tune has written. Files of results are compared with their checksums first. With --work, the
    task folders of the last run are removed as well, once all samples in it are finished. What is
    kept, such as the intermediate results of runs that are not finished, is listed with the
    reason. Afterwards, changing a threshold or filter runs the network again.
    """
    from terapose.api.clean import clean, left_by
    from terapose.core.amounts import in_bytes
    from terapose.core.errors import shown

    found = (clean if yes else left_by)(results, work, store)
    for one in found:
        word = "kept" if one.kept else "removed" if yes else "removable"
        count = f" (tasks: {len(one.tasks)})" if one.tasks else ""
        reason = f": {shown(one.kept)}" if one.kept else ""
        size = "" if one.size is None else f", {in_bytes(one.size)}"
        click.echo(f"{word:<9} {shown(one.path)}{count}{size}{reason}")
    going = [one.size or 0 for one in found if not one.kept]
    if not found:
        hint = "" if work or store else "; --work and --store name other folders to look into"
        click.echo(f"no intermediate results beside {shown(results)}{hint}")
    elif yes:
        click.echo(f"{in_bytes(sum(going))} freed")
    elif going:
        click.echo(f"{in_bytes(sum(going))} would be freed: --yes removes it")
    else:
        click.echo("nothing to remove")
