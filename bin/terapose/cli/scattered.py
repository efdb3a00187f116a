"""One command for each scattered stage: run one task and write the receipt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from terapose.cli.example import add_example
from terapose.cli.options import parameters
from terapose.cli.values import LocalPath, store_address
from terapose.core.errors import InputError
from terapose.pipeline.graph import GRAPH, STAGES, follows_summary
from terapose.pipeline.graph import commands as by_command
from terapose.pipeline.stage import Stage

if TYPE_CHECKING:
    from terapose.io.store.store import Store
    from terapose.pipeline.job import Job
    from terapose.pipeline.plan import Plan

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
    store = click.option(
        "--store", required=True, callback=store_address, help="The store's address."
    )
    return plan(store(code(function)))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a receipt or a summary, with its checksum."""
    from terapose.io.checksums import sealed
    from terapose.io.files import write_text

    write_text(path, json.dumps(sealed(value), sort_keys=True), "receipt")


def open_plan(stage: Stage, plan: Path, store: str, code: str | None) -> tuple[Plan, Store]:
    """The plan and its store, for a stage.

    Raises
    ------
    InputError
        If the stage's code is not ``code``, as **check** has printed it.
    """
    from terapose.io.store.store import Store
    from terapose.pipeline.plan import load

    if code is not None:
        stage.confirm_code(code)
    planned = load(plan, Store(store))
    return planned, Store(store, planned.digest)


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
        If the stage's code is not ``code``, as **check** has printed it.
    """
    from terapose.core.params import check
    from terapose.pipeline.job import Job
    from terapose.pipeline.repair import read_summary
    from terapose.pipeline.state import State

    planned, place = open_plan(STAGES[stage], plan, store, code)
    checked = check(options)
    params = {name: getattr(checked, name) for name in options}
    state = read_summary(before, place) if before else State()
    return Job(planned, place, stage, task, {**params, **more}, state)


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


def _network(path: Path) -> dict[str, Any]:
    from terapose.networks.ensemble import weight_files

    return {"model_files": tuple(str(file) for file in weight_files(path))}


def _cells(path: Path) -> dict[str, Any]:
    from terapose.stages.cell_overlaps import given

    return given(path)


class _Given(NamedTuple):
    """How the input of a stage is given: an option, and what a job has of it."""

    option: Callable[[F], F]
    read: Callable[[Path], dict[str, Any]]


NETWORK = _Given(
    click.option(
        "--model-file",
        "given",
        type=click.Path(path_type=Path, exists=True),
        required=True,
        help="The network's file, or a folder written by terapose fetch.",
    ),
    _network,
)
_CELLS = _Given(
    click.option(
        "--cells",
        "given",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        required=True,
        help="Results of the run that segmented the cells.",
    ),
    _cells,
)
_INPUTS = {"network": NETWORK, "cells": _CELLS}


def _make(described: Stage) -> click.Command:
    """The command of a scattered stage; the passes of the network have one."""
    name = described.command

    @click.command(name=name, help=f"{described.help} Runs one task of the stage.")
    @plan_options
    @before_option(follows_summary(described))
    @click.option("--task", type=click.IntRange(0), required=True, help="Index of the task.")
    @click.option(
        "--output",
        type=LocalPath(is_file=True),
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
        axis: str = "",
        given: Path | None = None,
        **options: Any,
    ) -> None:
        more = _INPUTS[described.input].read(given) if described.input and given else {}
        stage = f"{name}-{axis}" if axis else name
        _run(make_job(stage, plan, store, before, options, code=code, task=task, **more), output)

    if described.axis:
        axes = click.Choice([s.axis for s in GRAPH if s.command == name])
        command = click.option("--axis", type=axes, required=True, help="Orientation.")(command)
    if described.input:
        command = _INPUTS[described.input].option(command)
    return add_example(command, described.name)


def _run(job: Job, output: Path) -> None:
    """Run a task, and write its receipt."""
    from terapose.pipeline.repair import forgetting
    from terapose.pipeline.running import run

    _refuse_unknown(job)
    with forgetting(job.plan, job.store, job):
        write_json(output, run(job))


commands = {name: _make(stage) for name, stage in by_command().items() if stage.over}
