"""One command for each gather: check that the receipts are complete, and sum them up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.cli.scattered import before_option, make_job, plan_options, write_json
from terapose.core.params import STAGES

_RECEIPTS = click.argument(
    "receipts", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True
)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Write the summary here."
)


def _gather(
    stage: str, text: str, scattered: str | None = None, *, first: bool = False
) -> click.Command:
    """A gather with a module of its own: of a scattered stage's receipts, or of a summary alone."""
    about, words = (
        (" RECEIPTS are files or folders of them.", " receipts") if scattered else ("", "")
    )

    @click.command(
        name=stage,
        help=text + about,
        epilog=f"""\b
Example:
  terapose {stage} --plan plan.json --store store --output {stage}.json{words}""",
    )
    @plan_options
    @before_option(not first)
    @_OUTPUT
    @parameters(STAGES.get(stage, ()))
    def command(
        plan: Path,
        store: str,
        before: Path | None,
        output: Path,
        receipts: tuple[Path, ...] = (),
        **options: Any,
    ) -> None:
        from terapose.pipeline.job import module
        from terapose.pipeline.repair import forgetting, read_receipts

        run: Callable[..., Any] = module(stage).run
        job = make_job(stage, plan, store, before, options)
        with forgetting(job.plan, job.store):
            given = [read_receipts(receipts, job.store, scattered)] if scattered else []
            write_json(output, run(job, *given))

    return _RECEIPTS(command) if scattered else command


@click.command(
    epilog="""\b
Example:
  terapose gather --stage follow --plan plan.json --store store --output follow.json receipts"""
)
@plan_options
@before_option(False)
@click.option("--stage", required=True, help="Stage whose receipts these are.")
@_OUTPUT
@parameters(STAGES["combine"])
@_RECEIPTS
def gather(
    plan: Path,
    store: str,
    before: Path | None,
    stage: str,
    output: Path,
    receipts: tuple[Path, ...],
    **options: Any,
) -> None:
    """Check that every item of a stage has exactly one receipt, and sum them up.

    RECEIPTS are files or folders of them.
    """
    from terapose.pipeline.job import run_gather
    from terapose.pipeline.repair import forgetting, read_receipts

    job = make_job(stage, plan, store, before, options)
    with forgetting(job.plan, job.store):
        write_json(output, run_gather(job, read_receipts(receipts, job.store, stage)))


@click.command(
    epilog="""\b
Example:
  terapose finish --plan plan.json --store store --before relabel.json --output . receipts"""
)
@plan_options
@before_option(True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for labels.zarr, cells.csv, cells.parquet and provenance.json.",
)
@parameters(STAGES["finish"])
@_RECEIPTS
def finish(
    plan: Path,
    store: str,
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

    job = make_job("finish", plan, store, before, options)
    with forgetting(job.plan, job.store):
        # Nextflow publishes a copy of what is laid out here
        run(job, read_receipts(receipts, job.store, None), output, link=True)


commands = {
    "gather": gather,
    "finish": finish,
    "percentiles": _gather("percentiles", "Find what becomes 0 and 1.", "intensities", first=True),
    "seeds": _gather("seeds", "Number the seeds of all blocks.", "peaks"),
    "objects": _gather("objects", "Make one table of all objects.", "masks"),
    "planes": _gather("planes", "Decide which objects of planes stay (mode stitch)."),
    "stitch": _gather(
        "stitch", "Join the objects of neighbouring planes (mode stitch).", "overlaps"
    ),
    "match": _gather("match", "Match nuclei to the cells of a second network.", "matches"),
    "relabel": _gather("relabel", "Decide which cells stay, and number them."),
}
