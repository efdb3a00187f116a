"""The command of the task that runs all stages of a small image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.cli.scattered import NETWORK, open_plan, plan_options, write_json
from terapose.cli.values import LocalPath
from terapose.pipeline.graph import WHOLE


@click.command(
    name=WHOLE.name,
    help=WHOLE.help,
    epilog="""\b
Example:
  terapose stage whole --plan plan.json --store store --model-file network --output results \\
    --summary finish.json""",
)
@plan_options
@NETWORK.option
@click.option("--output", type=LocalPath(), required=True, help="Folder for the results.")
@click.option(
    "--summary",
    type=LocalPath(is_file=True),
    required=True,
    help="Write the summary here that the results are compared with.",
)
@parameters(WHOLE.parameters)
def _command(
    plan: Path,
    store: str,
    code: str | None,
    given: Path,
    output: Path,
    summary: Path,
    **options: Any,
) -> None:
    from terapose.core.params import check
    from terapose.stages import finish, whole

    planned, place = open_plan(WHOLE, plan, store, code)
    more = {"gradients": NETWORK.read(given), "finish": finish.placed(output, link=True)}
    state = whole.run(planned, place, check(options), more)
    write_json(summary, state.document())


commands = {WHOLE.name: _command}
