"""`terapose plan`: fix the work and estimate what it will need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terapose.cli.options import Planning, parameters
from terapose.cli.shared import refuse_given
from terapose.cli.values import LocalPath, store_address
from terapose.core.amounts import in_bytes
from terapose.core.errors import shown
from terapose.core.params import Parameters
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import GRAPH, SCATTERED, WHOLE

if TYPE_CHECKING:
    from terapose.pipeline.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])

_EPILOG = """\b
Examples:
  terapose plan brain.zarr --model nuclei.pth --diameter 9
  terapose plan brain.zarr --model nuclei.pth --output plan.json --store store --tasks tasks
  terapose plan brain.zarr --diameter 9 --price default --workers 200
"""


_MODEL_FILE = "The network's file, or a folder written by terapose fetch."


def _places(required: bool) -> Callable[[F], F]:
    """The options that say where plan, store and tasks go."""
    file = LocalPath(is_file=True)
    options = (
        click.option("--output", type=file, required=required, help="Write the plan here (JSON)."),
        click.option(
            "--store",
            required=required,
            callback=store_address,
            help="Create the store here: a folder, local or on an object store.",
        ),
        click.option(
            "--tasks",
            type=LocalPath(),
            required=required,
            help="Folder for the tables of tasks, one CSV file for each stage.",
        ),
    )
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


def _refuse_others(output: Path) -> None:
    """Refuse to replace a file that is no plan."""
    from terapose.core.errors import InputError, StoreError
    from terapose.io.checksums import unsealed
    from terapose.io.documents import read_document

    if not os.path.lexists(output):
        return
    try:
        is_plan = "network_shape" in unsealed(read_document(output), output)
    except (InputError, StoreError):
        is_plan = False
    if not is_plan:
        raise InputError(
            "would be overwritten, although it is not a plan of Terapose",
            where=output,
            remedy="choose another name, or move it away",
        )


def _write(plan: Plan, output: Path | None, store: str | None, tasks: Path | None) -> None:
    """Make the store, and write what the workflow reads of a plan."""
    from terapose.io.files import write_text
    from terapose.io.store.store import Store
    from terapose.pipeline.needs import needs_of, needs_of_whole, tasks_csv, tasks_of_whole
    from terapose.stages.plan import run

    if store is not None:
        run(plan, Store(store, plan.digest))
    if tasks is not None:
        tasks.mkdir(parents=True, exist_ok=True)
        for name in SCATTERED:
            write_text(tasks / f"{name}.csv", tasks_csv(plan.tasks[name], needs_of(plan, name)))
        whole = tasks_csv(tasks_of_whole(plan), needs_of_whole(plan))
        write_text(tasks / f"{WHOLE.name}.csv", whole)
    if output is not None:
        write_text(output, plan.dump())


@click.command(
    name="plan",
    epilog="""\b
Example:
  terapose stage plan --model-file network --store store --tasks tasks --output plan.json \\
    < handed.json""",
)
@click.option(
    "--model-file", type=click.Path(path_type=Path, exists=True), required=True, help=_MODEL_FILE
)
@_places(required=True)
def stage(model_file: Path, output: Path, store: str, tasks: Path) -> None:
    """Create the store for the plan that terapose check passes on standard input.

    What it passes includes the digest of the code, so --code is not needed.
    """
    from terapose.pipeline.handover import Handed

    plan = Handed.read(sys.stdin.read()).plan(model_file)
    _write(plan, output, store, tasks)
    if plan.diameter.note:
        click.echo(f"diameter  {plan.diameter.text}")


commands = {"plan": stage}


@click.command(cls=Planning, epilog=_EPILOG)
@click.argument("image")
@click.option("--model-file", type=click.Path(path_type=Path), help=_MODEL_FILE)
@_places(required=False)
@click.option(
    "--price",
    metavar="FILE|default",
    help="Also print core hours, GPU hours, disk space, requests and cost at the prices in this "
    "JSON file (docs/cloud.md); default: example prices.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="With --price: number of tasks that run at the same time  [default: 100]",
)
@parameters(Parameters.model_fields)
def command(
    image: str,
    model_file: Path | None,
    output: Path | None,
    store: str | None,
    tasks: Path | None,
    price: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Plan the segmentation of IMAGE: geometry, tasks, memory and disk.

    Takes and checks all parameters of `terapose segment`, and segments nothing. Without --diameter,
    a U-Net is run on a small sample of the image, up to 48 tiles, to find it.
    """
    from terapose.cli.price import price_lines, prices_of
    from terapose.core.params import check
    from terapose.io.images.describe import describe
    from terapose.io.samples import one_image
    from terapose.networks.ensemble import resolve_all, weight_files
    from terapose.pipeline.checked import open_checked, without_use
    from terapose.pipeline.sized import plan_of
    from terapose.results.named_files import check_files

    if model_file is not None:
        refuse_given(("model",), "has no use with --model-file")
    if price is None:
        refuse_given(("workers",), "is only used with --price", "add --price")
    params = one_image(check(options), "this command takes one time point")
    check_files([output], [image, *(str(one) for one in (model_file, price) if one)])
    if output is not None:
        _refuse_others(output)
    # the diameter may take minutes to find: not for prices that are none
    prices = None if price is None else prices_of(price)
    opened = open_checked(image, params)
    if model_file is not None:
        files = weight_files(model_file, digest=params.model_digest)
    else:
        files = resolve_all(params.model, digest=params.model_digest)
    plan = plan_of(opened, files, params)
    notes = [f"note      {note}" for note in without_use(opened, params)]
    lines = [*describe(opened, plan.image.channel_names), *notes, describe_plan(plan, params)]
    if prices is not None:
        lines += ["", *price_lines(plan, params, opened, prices, workers)]
    _write(plan, output, store, tasks)
    click.echo("\n".join(lines))


def describe_plan(plan: Plan, params: Parameters) -> str:
    """A plan in a few lines: the stages that these parameters ask for.

    Of each what its tasks are projected to need, and what they request in the workflow.
    """
    from terapose.pipeline.needs import is_one_task, needs_of, needs_of_whole

    grid = " x ".join(map(str, plan.network_shape))
    lines = [
        f"network   {shown(plan.model.name)} ({plan.model.family}, {plan.model.precision}) "
        f"on {grid}",
        f"diameter  {plan.diameter.text}",
        f"store     {in_bytes(of_store(plan))} at its peak",
    ]
    for stage in GRAPH:
        if stage.memory and stage.runs(plan, params):
            memory, count = in_bytes(stage.projected(plan, params)), len(plan.tasks[stage.name])
            lines.append(
                f"{stage.name:<14} {count:>5} tasks, up to {memory} of memory each, "
                f"requested: {needs_of(plan, stage.name, params)}"
            )
    if is_one_task(plan, params):
        lines.append(
            "in the workflow all of them are one task (unless single_task is false), "
            f"requested: {needs_of_whole(plan)}"
        )
    return "\n".join(lines)
