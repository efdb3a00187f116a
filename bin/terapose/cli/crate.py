"""`terapose crate`: results described as an RO-Crate."""

from __future__ import annotations

import re
from pathlib import Path

import click

from terapose.cli.values import LocalPath

_EPILOG = """\b
Examples:
  terapose crate results/brain
  terapose crate results --license https://creativecommons.org/licenses/by/4.0/
"""


@click.command(epilog=_EPILOG)
@click.argument("results", type=LocalPath())
@click.option(
    "--license",
    "licence",
    default="",
    help="URL of the licence under which you publish the results.",
)
def command(results: Path, licence: str) -> None:
    """Describe the results in the folder RESULTS as an RO-Crate: ro-crate-metadata.json.

    RESULTS is the folder of one sample, or contains a folder for each. Results are first compared
    with their checksums; damaged ones are refused.
    """
    from terapose.core.errors import InputError, shown
    from terapose.results.ro_crate import write_crate
    from terapose.results.verify import folders_in

    if licence and not re.fullmatch(r"https?://[!-~]+", licence):
        raise InputError(
            "is not the URL of a page",
            where="license",
            got=licence,
            allowed="http:// or https://, and ASCII characters other than spaces",
            remedy="for example https://creativecommons.org/licenses/by/4.0/",
        )
    for folder in folders_in(results):
        assert isinstance(folder, Path)
        click.echo(f"crate: {shown(write_crate(folder, licence))}")
