"""One command for each gather: check that the receipts are complete, and sum them up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import parameters
from terapose.cli.scattered import before_option, make_job, plan_options, write_json
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.stage import Stage

if TYPE_CHECKING:
    from terapose.pipeline.job import Job

_ANY = Stage(
    "gather",
    "Check that every item of a stage has exactly one receipt, and summarise them.",
    "gather",
    gathers=("follow",),
)
"""That of all stages whose receipts no other stage takes; the example is one of them."""
_LAST = "finish"
"""The gather that lays results out where others write a summary."""
_SUMMARY = "Write the summary here."
_RESULTS = "Folder for labels.zarr, cells.csv, cells.parquet and provenance.json."


def _gather(described: Stage) -> click.Command:
    """The command of a gather: of receipts of one stage or of several, or of a summary alone."""
    name, stages = described.name, described.gathers
    is_any, is_last = described is _ANY, name == _LAST
    about = " RECEIPTS are files or folders of them." if stages else ""
    if len(stages) > 1:
        about = " RECEIPTS are files, or folders of them, in folders named by their stages."
    words = ("--stage follow " if is_any else "") + "--plan plan.json --store store"
    words += f" --output {'.' if is_last else f'{name}.json'}{' receipts' if stages else ''}"

    @click.command(
        name=name,
        help=described.help + about,
        epilog=f"\b\nExample:\n  terapose stage {name} {words}",
    )
    @plan_options
    @before_option(name not in ("gather", "percentiles"))
    @click.option(
        "--output",
        type=click.Path(path_type=Path),
        required=True,
        help=_RESULTS if is_last else _SUMMARY,
    )
    @parameters(described.parameters)
    def command(
        plan: Path,
        store: str,
        code: str | None,
        before: Path | None,
        output: Path,
        stage: str = name,
        receipts: tuple[Path, ...] = (),
        **options: Any,
    ) -> None:
        _run(make_job(stage, plan, store, before, options, code=code), receipts, output)

    if is_any:
        option = click.option("--stage", required=True, help="Stage that wrote these receipts.")
        command = option(command)
    if stages:
        kind = click.Path(path_type=Path, exists=True)
        command = click.argument("receipts", nargs=-1, type=kind, required=True)(command)
    return command


def _run(job: Job, receipts: Sequence[Path], output: Path) -> None:
    """Gather receipts."""
    from terapose.pipeline.job import run_gather
    from terapose.pipeline.repair import forgetting, read_receipts

    stages = STAGES[job.stage].gathers or (job.stage,)
    with forgetting(job.plan, job.store):
        found = read_receipts(receipts, job.store, stages[0] if len(stages) == 1 else None)
        if job.stage == _LAST:
            from terapose.stages.finish import run

            # Nextflow publishes a copy of what is laid out here
            run(job, found, output, link=True)
        else:
            write_json(output, run_gather(job, found).document())


commands = {s.name: _gather(s) for s in (_ANY, *GRAPH) if s.over is None}
