"""One command for each stage before the plan and after the results that has its own module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.cli.values import LocalPath
from terapose.pipeline.around import PLACING
from terapose.pipeline.graph import commands as by_command
from terapose.pipeline.stage import Stage

_CODE = click.option(
    "--code", help="Expected digest of the stage's code, as printed by terapose check."
)


def _before(described: Stage) -> click.Command:
    name = described.command

    @click.command(
        name=name,
        help=f"{described.help} Takes the output of terapose check and passes it on.",
        epilog=f"""\b
Example:
  terapose stage {name} --model-file network --output found.json < handed.json""",
    )
    @click.option(
        "--model-file",
        type=click.Path(path_type=Path, exists=True),
        required=True,
        help="The network's file, or a folder written by terapose fetch.",
    )
    @click.option(
        "--output",
        type=LocalPath(is_file=True),
        required=True,
        help="Write the output that is passed on here.",
    )
    @_CODE
    @parameters(PLACING)
    def command(model_file: Path, output: Path, code: str | None, **placing: Any) -> None:
        from terapose.io.files import write_text
        from terapose.pipeline.handover import Handed

        if code is not None:
            described.confirm_code(code)
        handed = Handed.read(sys.stdin.read())
        write_text(output, handed.found(described, model_file, placing).text)

    return command


def _after(described: Stage) -> click.Command:
    name = described.command

    @click.command(
        name=name,
        help=f"{described.help} RESULTS is a folder of results.",
        epilog=f"""\b
Example:
  terapose stage {name} results --output .""",
    )
    @click.argument("results", type=click.Path(path_type=Path, exists=True, file_okay=False))
    @click.option(
        "--output", type=LocalPath(), required=True, help="Folder for the files that are written."
    )
    @_CODE
    def command(results: Path, output: Path, code: str | None) -> None:
        from terapose.pipeline.around import look

        if code is not None:
            described.confirm_code(code)
        look(described, results, output)

    return command


_MAKE = {"before": _before, "after": _after}
commands = {n: _MAKE[s.phase](s) for n, s in by_command().items() if s.phase in _MAKE}
