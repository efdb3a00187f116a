"""`terapose fetch`: a model's weight file, ready for machines without internet."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  terapose fetch nuclei-small --output models/nuclei-small.pth
  terapose fetch https://example.org/model.pth#sha256=3f1a... --output model.pth
"""


@click.command(epilog=_EPILOG)
@click.argument("model")
@click.option("--digest", help="Expected SHA-256 of the file.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Copy the file here; else it stays cached."
)
def command(model: str, digest: str | None, output: Path | None) -> None:
    """Fetch the weight file of MODEL, a name, path or URL, and print where it is and what it is."""
    from terapose.networks import identify
    from terapose.networks.weights import copy, resolve

    path = resolve(model, digest=digest)
    if output is not None:
        path = copy(path, output)
    info = identify(path)
    licence = info.licence or "not stated"
    click.echo(f"{path}\nsha256={info.digest}\n{model}: {info.family}, licence {licence}")
