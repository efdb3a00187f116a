"""`terapose fetch`: a model's weight file, ready for machines without internet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from terapose.cli.shared import overwrite as overwrite_option
from terapose.cli.values import from_input
from terapose.core.errors import InputError, shown

_EPILOG = """\b
Examples:
  terapose fetch nuclei-large --output models/nuclei-large.pth
  terapose fetch https://example.org/model.pth#sha256=3f1a... --output model.pth
  terapose fetch cyto3,lab.pth --output models/both/
  terapose fetch nuclei-large --output models/nuclei-large.pth --compile
"""


@click.command(epilog=_EPILOG)
@click.argument("model", callback=from_input)
@click.option("--digest", help="Expected SHA-256 of the file; for several, separated by commas.")
@click.option(
    "--mark",
    help="Which version of the file at the URL is meant, as `terapose check` prints it; for "
    "several, separated by commas.",
)
@click.option(
    "--output",
    help="Copy the file to this path, or into this folder if it ends with /; default: keep it in "
    "the cache.",
)
@click.option(
    "--compile",
    "compiles",
    is_flag=True,
    help="Also compile the code that stages run, unless that has been done: then no task has to.",
)
@overwrite_option
def command(
    model: str,
    digest: str | None,
    mark: str | None,
    output: str | None,
    compiles: bool,
    overwrite: bool,
) -> None:
    """Fetch the weight file of MODEL, a name, path or URL, and print where it is and what it is.

    Separate several models with commas; each is put into a numbered subfolder. If MODEL is -, it
    is read from standard input. A file that exists and is another one is not replaced unless
    --overwrite is given.
    """
    from terapose.io.remote import local_path
    from terapose.networks.ensemble import copy_all, identify_all, named, resolve_all
    from terapose.pipeline.compiling import compile_missing
    from terapose.results.named_files import refuse_results

    # before anything is downloaded
    place = None if output is None else local_path(output)
    refuse_results([] if place is None else [place])
    if mark:
        _check_marks(mark.split(","), named(model), is_digested=bool(digest))
    files = resolve_all(model, digest=digest or "", marks=mark or "")
    # before copying: a file that is not a network must not replace one
    info = identify_all(files)
    if output is not None and place is not None:
        if output.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        files = copy_all(files, place, overwrite=overwrite)
    for file, one in zip(files, info.members or (info,), strict=True):
        click.echo(f"{file}\nsha256={one.digest}")
    if compiles:
        compile_missing(partial(click.echo, err=True))
    click.echo(f"{shown(model)}: {info.family}, licence {info.licence or 'not stated'}")


def _check_marks(marks: Sequence[str], names: Sequence[str], *, is_digested: bool) -> None:
    """Refuse marks that say nothing: what is no URL, or has a digest, is known without one."""
    from terapose.networks.ensemble import check_number

    check_number("marks", marks, names, where="--mark")
    for mark, name in zip(marks, names, strict=True):
        if mark and (is_digested or "://" not in name or "#sha256=" in name):
            raise InputError(
                "has no use with a network that is no URL, or has a digest",
                where="--mark",
                got=f"{mark} for {name}",
                remedy="leave it out",
            )
