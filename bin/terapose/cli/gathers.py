"""One command for each gather: check that the receipts are complete, and sum them up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from terapose.cli.options import parameters
from terapose.cli.scattered import before_option, make_job, plan_options, read_summary, write_json
from terapose.params import STAGES

_RECEIPTS = click.argument(
    "receipts", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True
)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Write the summary here."
)


def _gather(stage: str, text: str, needs_before: bool) -> click.Command:
    """A gather with a module of its own."""

    @click.command(
        name=stage,
        help=f"{text} RECEIPTS are files or folders of them.",
        epilog=f"""\b
Example:
  terapose {stage} --plan plan.json --store store --output {stage}.json receipts""",
    )
    @plan_options
    @before_option(needs_before)
    @_OUTPUT
    @parameters(STAGES.get(stage, ()))
    @_RECEIPTS
    def command(
        plan: Path,
        store: str,
        before: Path | None,
        output: Path,
        receipts: tuple[Path, ...],
        **options: Any,
    ) -> None:
        from terapose.job import module, read_receipts

        run: Callable[..., Any] = module(stage).run
        write_json(
            output, run(make_job(stage, plan, store, before, options), read_receipts(receipts))
        )

    return command


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
    from terapose.job import read_receipts, run_gather

    job = make_job(stage, plan, store, before, options)
    write_json(output, run_gather(job, read_receipts(receipts)))


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
@click.option(
    "--history",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Summary of an earlier stage, for the record; may be given several times.",
)
@parameters(STAGES["finish"])
@_RECEIPTS
def finish(
    plan: Path,
    store: str,
    before: Path | None,
    output: Path,
    history: tuple[Path, ...],
    receipts: tuple[Path, ...],
    **options: Any,
) -> None:
    """Complete the pyramid and lay the results out.

    RECEIPTS are files or folders of them.
    """
    from terapose.job import read_receipts
    from terapose.stages.finish import run

    job = make_job("finish", plan, store, before, options)
    summaries = [read_summary(path) for path in history]
    run(job, read_receipts(receipts), output, summaries)


commands = {
    "gather": gather,
    "finish": finish,
    "percentiles": _gather("percentiles", "Merge histograms into global percentiles.", False),
    "seeds": _gather("seeds", "Number the seeds of all blocks.", True),
    "relabel": _gather("relabel", "Decide which objects stay, and number them.", True),
}
