"""One command for each gather, and one for all stages whose receipts no gather takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terapose.cli.example import add_example
from terapose.cli.options import parameters
from terapose.cli.scattered import before_option, make_job, plan_options, write_json
from terapose.cli.values import LocalPath
from terapose.pipeline.graph import (
    GATHERED,
    GRAPH,
    OF_GATHERS,
    SCATTERED,
    STAGES,
    follows_summary,
)
from terapose.pipeline.stage import Stage

if TYPE_CHECKING:
    from terapose.pipeline.job import Job

F = TypeVar("F", bound=Callable[..., Any])

_SUMMARY = "Write the summary here."
_RESULTS = "Folder for labels.zarr, cells.csv, cells.parquet and provenance.json."


def _output(described: str) -> Callable[[F], F]:
    return click.option("--output", type=LocalPath(), required=True, help=described)


def _receipts(function: F) -> F:
    kind = click.Path(path_type=Path, exists=True)
    return click.argument("receipts", nargs=-1, type=kind, required=True)(function)


def _gather(described: Stage) -> click.Command:
    """The command of a gather: of receipts of one stage or of several, or of a summary alone."""
    name, stages = described.name, described.gathers
    about = " RECEIPTS are files or folders of them." if stages else ""
    if len(stages) > 1:
        about = " RECEIPTS are files, or folders of them, in folders named by their stages."

    @click.command(name=name, help=described.help + about)
    @plan_options
    @before_option(follows_summary(described))
    @_output(_RESULTS if described.results else _SUMMARY)
    @parameters(described.parameters)
    def command(
        plan: Path,
        store: str,
        code: str | None,
        before: Path | None,
        output: Path,
        receipts: tuple[Path, ...] = (),
        **options: Any,
    ) -> None:
        more = {}
        if described.results:
            from terapose.stages.finish import placed

            # Nextflow publishes a copy of what is laid out here
            more = placed(output, link=True)
        job = make_job(name, plan, store, before, options, code=code, **more)
        _run(job, receipts, None if described.results else output)

    if stages:
        command = _receipts(command)
    return add_example(command, name, "." if described.results else f"{name}.json")


@click.command(
    name="gather",
    help="Check that every item of a stage has exactly one receipt, and summarise them."
    " RECEIPTS are files or folders of them.",
)
@plan_options
@before_option(False)
@click.option(
    "--stage",
    type=click.Choice([name for name in SCATTERED if name not in GATHERED]),
    required=True,
    help="Stage that wrote these receipts.",
)
@_output(_SUMMARY)
@parameters(OF_GATHERS)
@_receipts
def _own(
    plan: Path,
    store: str,
    code: str | None,
    before: Path | None,
    stage: str,
    output: Path,
    receipts: tuple[Path, ...],
    **options: Any,
) -> None:
    _run(make_job(stage, plan, store, before, options, code=code), receipts, output)


def _run(job: Job, receipts: Sequence[Path], output: Path | None) -> None:
    """Gather receipts, and write the summary."""
    from terapose.pipeline.repair import forgetting, read_receipts
    from terapose.pipeline.running import run_gather

    stages = STAGES[job.stage].gathers or (job.stage,)
    with forgetting(job.plan, job.store):
        found = read_receipts(receipts, job.store, stages[0] if len(stages) == 1 else None)
        state = run_gather(job, found)
        if output is not None:
            write_json(output, state.document())


commands = {
    "gather": add_example(_own, "follow", "follow.json"),
    **{s.name: _gather(s) for s in GRAPH if s.over is None},
}
