"""One command for each gather: check that the receipts are complete, and sum them up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.cli.scattered import before_option, make_job, plan_options, write_json
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.stage import Stage

_RECEIPTS = click.argument(
    "receipts", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True
)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Write the summary here."
)


def _gather(described: Stage) -> click.Command:
    """A gather with a module of its own: of a scattered stage's receipts, or of a summary alone."""
    stage, scattered = described.name, next(iter(described.gathers), None)
    about, words = (
        (" RECEIPTS are files or folders of them.", " receipts") if scattered else ("", "")
    )

    @click.command(
        name=stage,
        help=described.help + about,
        epilog=f"""\b
Example:
  terapose stage {stage} --plan plan.json --store store --output {stage}.json{words}""",
    )
    @plan_options
    @before_option(stage != "percentiles")
    @_OUTPUT
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
        from terapose.pipeline.job import run_gather
        from terapose.pipeline.repair import forgetting, read_receipts

        job = make_job(stage, plan, store, before, options, code=code)
        with forgetting(job.plan, job.store):
            given = read_receipts(receipts, job.store, scattered) if scattered else []
            write_json(output, run_gather(job, given))

    return _RECEIPTS(command) if scattered else command


@click.command(
    epilog="""\b
Example:
  terapose stage gather --stage follow --plan plan.json --store store --output sum.json receipts"""
)
@plan_options
@before_option(False)
@click.option("--stage", required=True, help="Stage whose receipts these are.")
@_OUTPUT
@_RECEIPTS
def gather(
    plan: Path,
    store: str,
    code: str | None,
    before: Path | None,
    stage: str,
    output: Path,
    receipts: tuple[Path, ...],
) -> None:
    """Check that every item of a stage has exactly one receipt, and sum them up.

    RECEIPTS are files or folders of them.
    """
    from terapose.pipeline.job import run_gather
    from terapose.pipeline.repair import forgetting, read_receipts

    job = make_job(stage, plan, store, before, {}, code=code)
    with forgetting(job.plan, job.store):
        write_json(output, run_gather(job, read_receipts(receipts, job.store, stage)))


@click.command(
    epilog="""\b
Example:
  terapose stage finish --plan plan.json --store store --before relabel.json --output . receipts"""
)
@plan_options
@before_option(True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for labels.zarr, cells.csv, cells.parquet and provenance.json.",
)
@parameters(STAGES["finish"].parameters)
@_RECEIPTS
def finish(
    plan: Path,
    store: str,
    code: str | None,
    before: Path | None,
    output: Path,
    receipts: tuple[Path, ...],
    **options: Any,
) -> None:
    """Complete the pyramid and lay the results out.

    RECEIPTS are files, or folders of them, in folders that are named by their stages.
    """
    from terapose.pipeline.repair import forgetting, read_receipts
    from terapose.stages.finish import run

    job = make_job("finish", plan, store, before, options, code=code)
    with forgetting(job.plan, job.store):
        # Nextflow publishes a copy of what is laid out here
        run(job, read_receipts(receipts, job.store, None), output, link=True)


commands = {
    "gather": gather,
    "finish": finish,
    **{s.name: _gather(s) for s in GRAPH if s.over is None and s.name != "finish"},
}
