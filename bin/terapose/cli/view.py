"""`terapose view`: results in Neuroglancer or napari."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.shared import refuse_given
from terapose.cli.values import LocalPath, from_input

if TYPE_CHECKING:
    from terapose.apps.view.opening import Viewer

_EPILOG = """\b
Examples:
  terapose view results/brain
  terapose view results/brain --color-by CellProbability
  terapose view results/brain --static brain-viewer
  terapose view results/brain --viewer napari"""
_SERVING = ("browser", "host", "port", "state")


@click.command(epilog=_EPILOG)
@click.argument("results", type=LocalPath())
@click.argument("image", required=False, default="", callback=from_input)
@click.option(
    "--viewer",
    type=click.Choice(("neuroglancer", "napari")),
    default="neuroglancer",
    show_default=True,
    help="Neuroglancer runs in a browser, napari in its own window.",
)
@click.option(
    "--color-by",
    metavar="COLUMN",
    help="Column of the table that gives cells their colours; CellID: a different colour for each "
    "cell.  [default: Volume or Area]",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve.  [default: a free one]")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1, this machine alone]")
@click.option("--browser/--no-browser", default=None, help="Open a browser.  [default: yes]")
@click.option("--client", help="URL of a Neuroglancer to use in place of the installed one.")
@click.option("--state", type=LocalPath(is_file=True), help="Write Neuroglancer's state as JSON.")
@click.option(
    "--static",
    type=LocalPath(),
    metavar="FOLDER",
    help="Write a folder for a web server or a bucket, and serve nothing.",
)
@click.option(
    "--links/--copies",
    default=None,
    help="Files in that folder are links to the image and the results.  [default: copies]",
)
def command(results: Path, image: str, viewer: str, static: Path | None, **options: Any) -> None:
    """Look at the results in the folder RESULTS: image, cells coloured by a column, and outlines.

    Data are read as needed, whatever the size of the image. Neuroglancer needs the package
    neuroglancer (terapose[view]) but no internet connection; only this machine can reach it, at an
    address that is printed, until Ctrl-C. IMAGE is the image that was segmented; if it is not
    given, it is the one in provenance.json, and if it is -, its address is read from standard
    input.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if viewer == "napari":
        refuse_given(
            (*_SERVING, "client", "links", "static"),
            "has no use with --viewer napari",
        )
        from terapose.apps.view.napari_layers import show

        show(results, image, given.get("color_by"))
    elif static is not None:
        refuse_given(_SERVING, "has no use with --static")
        _write(results, image, static, given)
    else:
        refuse_given(("links",), "has no use with a viewer that is served")
        _serve(results, image, given)


def _write(results: Path, image: str, static: Path, given: dict[str, Any]) -> None:
    from terapose.apps.view.folder import write_view
    from terapose.cli.progress import progress
    from terapose.cli.stopping import stopping
    from terapose.core.errors import shown

    with stopping(), progress("writing") as show:
        notes = write_view(results, static, image=image, progress=show, **given)
    _print_notes(notes)
    click.echo(f"viewer: {shown(static / 'index.html')}")


def _serve(results: Path, image: str, given: dict[str, Any]) -> None:
    from terapose.apps.view.opening import open_view
    from terapose.cli.stopping import stopping
    from terapose.results.named_files import check_files
    from terapose.results.records import complete_record

    state, browser = given.pop("state", None), given.pop("browser", True)
    if state is not None:
        check_files([state], [image or str(complete_record(results)["image"]["address"])])
    with stopping(), open_view(results, image=image, browser=False, **given) as viewer:
        if state is not None:
            _write_state(state, viewer.state)
        _print_notes(viewer.notes)
        try:
            _print_addresses(viewer)
            if browser and not viewer.open_browser():
                click.echo("no browser was found: open the address in one", err=True)
            # a signal just before a wait that never ends would not be seen
            while True:
                time.sleep(0.5)
        except KeyboardInterrupt:
            click.echo("closed", err=True)


def _print_addresses(viewer: Viewer) -> None:
    click.echo(f"viewer: {viewer.url}")
    if viewer.tunnel:
        click.echo(f"from another machine, first type there: {viewer.tunnel}")
    else:
        click.echo(
            "warning: other machines can reach this address, and what they read is not encrypted",
            err=True,
        )
    click.echo("Ctrl-C closes it", err=True)


def _write_state(path: Path, state: dict[str, Any]) -> None:
    import json

    from terapose.core.errors import InputError
    from terapose.io import files

    try:
        files.write_text(path, json.dumps(state, indent=1) + "\n", "state")
    except OSError as error:
        raise InputError(
            "the state cannot be written",
            where=path,
            got=error.strerror,
            remedy="choose a folder that exists and that you may write to",
        ) from error


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
