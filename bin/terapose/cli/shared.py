"""Options that several commands share, and the lines that several print when they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from terapose.cli.values import seconds_of
from terapose.core.errors import InputError

if TYPE_CHECKING:
    from terapose.io.remote import Remote

F = TypeVar("F", bound=Callable[..., Any])

threads = click.option(
    "-p", "--jobs", type=click.IntRange(1), help="Number of threads.  [default: one per core]"
)
"""Option of commands whose threads share the work."""
processes = click.option(
    "--jobs", type=click.IntRange(1), help="Number of processes.  [default: one per core]"
)
"""Option of commands that run stages."""
overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing file.")
"""Option of commands that write a file which may have taken somebody's work."""


def ome_zarr_options(version: str | None) -> Callable[[F], F]:
    """Options of commands that write an OME-Zarr on a local disk.

    Parameters
    ----------
    version
        Default of --ome-zarr-version; None: the version of the image, or else 0.5.
    """
    ome_zarr = click.option(
        "--ome-zarr-version",
        "version",
        type=click.Choice(["0.4", "0.5"]),
        default=version,
        help=f"OME-Zarr version.  [default: {version or 'that of the image, else 0.5'}]",
    )
    replace = click.option("--overwrite", is_flag=True, help="Replace an existing OME-Zarr.")

    def decorate(function: F) -> F:
        return ome_zarr(threads(replace(function)))

    return decorate


def refuse_given(names: Iterable[str], fault: str, remedy: str = "leave it out") -> None:
    """Refuse options of this call that would do nothing.

    Parameters
    ----------
    names
        Of options, as the command's function has them.
    fault
        What is wrong with them, as the end of a sentence.
    remedy
        What to do about it.

    Raises
    ------
    InputError
        If one of them was given, even with the value that is its default.
    """
    context = click.get_current_context()
    flags = {str(one.name): one.opts[-1] for one in context.command.params}
    unset = (None, ParameterSource.DEFAULT)
    given = [flags[name] for name in names if context.get_parameter_source(name) not in unset]
    if given:
        raise InputError(fault, where=", ".join(given), remedy=remedy)


def say_unfinished(out: Path) -> None:
    """Name the folders of unfinished work that other calls with this destination have left."""
    from terapose.apps.unfinished import others

    for name in others(out):
        click.echo(f"unfinished work of another call is left in {out.parent / name}", err=True)


def say_results(record: Mapping[str, Any], out: Path | Remote, *, report: bool) -> None:
    """Say what a run found, how long it took, and where its files are.

    Parameters
    ----------
    record
        Of the results.
    out
        Their folder.
    report
        Whether there is one.
    """
    click.echo(f"cells:  {record['cells']}", err=True)
    click.echo(f"seconds: {seconds_of(record)}", err=True)
    click.echo(f"labels: {out / 'labels.zarr'}")
    for name in record["tables"]:
        click.echo(f"table:  {out / name}")
    if report:
        click.echo(f"report: {out / 'report.html'}")
