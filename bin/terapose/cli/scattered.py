"""One command for each scattered stage: run one of its tasks and write the receipt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terapose.cli.options import parameters
from terapose.core.errors import InputError
from terapose.pipeline.graph import STAGES
from terapose.pipeline.graph import commands as by_command
from terapose.pipeline.stage import Stage

if TYPE_CHECKING:
    from terapose.pipeline.job import Job

F = TypeVar("F", bound=Callable[..., Any])


def before_option(required: bool) -> Callable[[F], F]:
    """The option that names the summary of the stage before."""
    return click.option(
        "--before",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        required=required,
        help="Summary of the gather before this stage.",
    )


def plan_options(function: F) -> F:
    """The options that name plan and store."""
    plan = click.option(
        "--plan",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        required=True,
        help="The plan (plan.json).",
    )
    code = click.option(
        "--code", help="Expected digest of the stage's code, as printed by terapose check."
    )
    store = click.option("--store", required=True, help="The store's address.")
    return plan(store(code(function)))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a receipt or a summary, with its checksum."""
    from terapose.io.checksums import sealed
    from terapose.io.files import write_text

    write_text(path, json.dumps(sealed(value), sort_keys=True), "receipt")


def check_code(stage: Stage, code: str | None) -> None:
    """Refuse a stage whose code is not ``code``, as **check** has told it.

    Raises
    ------
    InputError
        If it has changed meanwhile.
    """
    if code is not None and code != stage.code:
        raise InputError(
            "the code has changed since the run began",
            where=f"stage {stage.name}",
            got=stage.code,
            allowed=code,
            remedy="run again with -resume: what it changes is computed again",
        )


def make_job(
    stage: str,
    plan: Path,
    store: str,
    before: Path | None,
    options: dict[str, Any],
    *,
    code: str | None,
    task: int = 0,
    **more: Any,
) -> Job:
    """A job from a command's options; ``more`` are parameters that no user gives.

    Raises
    ------
    InputError
        If the stage's code is not ``code``, as **check** has told it.
    """
    from terapose.core.params import check
    from terapose.io.store.store import Store
    from terapose.pipeline.job import Job
    from terapose.pipeline.plan import load
    from terapose.pipeline.repair import read_summary
    from terapose.pipeline.state import State

    check_code(STAGES[stage], code)
    checked = check(options)
    params = {name: getattr(checked, name) for name in options}
    place = Store(store)
    state = read_summary(before, place) if before else State()
    return Job(load(plan, place), place, stage, task, {**params, **more}, state)


def _refuse_unknown(job: Job) -> None:
    """Refuse a task that the plan does not have."""
    tasks = len(job.plan.tasks[job.stage])
    if job.task >= tasks:
        raise InputError(
            "is not a task of this stage",
            where=f"stage {job.stage}",
            got=job.task,
            allowed=f"0 to {tasks - 1}" if tasks else "none: this plan has no tasks of it",
        )


def _make(stage: str, described: Stage) -> click.Command:
    @click.command(
        name=stage,
        help=f"{described.help} Runs one task of the stage.",
        epilog=f"""\b
Example:
  terapose stage {stage} --plan plan.json --store store --task 0 --output receipt.json""",
    )
    @plan_options
    @before_option(stage not in ("convert", "intensities"))
    @click.option("--task", type=click.IntRange(0), required=True, help="Index of the task.")
    @click.option(
        "--output",
        type=click.Path(path_type=Path),
        required=True,
        help="Write the receipt here (JSON).",
    )
    @parameters(described.parameters)
    def command(
        plan: Path,
        store: str,
        code: str | None,
        before: Path | None,
        task: int,
        output: Path,
        axis: str | None = None,
        model_file: Path | None = None,
        cells: Path | None = None,
        **options: Any,
    ) -> None:
        from terapose.pipeline.job import run
        from terapose.pipeline.repair import forgetting

        name, more = stage, dict[str, Any]()
        if stage == "gradients":
            from terapose.networks.ensemble import weight_files

            assert model_file is not None  # click has required it
            files = tuple(str(file) for file in weight_files(model_file))
            name, more = f"{stage}-{axis}", {"model_files": files}
        if cells is not None:
            from terapose.stages.cell_overlaps import identity, read_record

            more = {"cells": str(cells), "identity": identity(read_record(cells))}
        job = make_job(name, plan, store, before, options, code=code, task=task, **more)
        _refuse_unknown(job)
        with forgetting(job.plan, job.store, job):
            write_json(output, run(job))

    if stage == "gradients":
        command = click.option(
            "--axis", type=click.Choice(["yx", "zx", "zy"]), required=True, help="Orientation."
        )(command)
        command = click.option(
            "--model-file",
            type=click.Path(path_type=Path, exists=True),
            required=True,
            help="The network's file, or a folder written by terapose fetch.",
        )(command)
    if stage == "cell_overlaps":
        command = click.option(
            "--cells",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            required=True,
            help="Results of the run that segmented the cells.",
        )(command)
    return command


commands = {name: _make(name, stage) for name, stage in by_command().items() if stage.over}
