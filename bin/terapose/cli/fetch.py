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
@click.option("--output", help="Copy the file here, or into this folder/; else it stays cached.")
def command(model: str, digest: str | None, output: str | None) -> None:
    """Fetch the weight file of MODEL, a name, path or URL, and print where it is and what it is."""
    from terapose.networks import identify
    from terapose.networks.weights import copy, resolve

    path = resolve(model, digest=digest)
    # what is no network takes no place of one
    info = identify(path)
    if output is not None:
        if output.endswith("/"):
            Path(output).mkdir(parents=True, exist_ok=True)
        path = copy(path, Path(output))
    licence = info.licence or "not stated"
    click.echo(f"{path}\nsha256={info.digest}\n{model}: {info.family}, licence {licence}")
