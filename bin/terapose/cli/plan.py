"""`terapose plan`: fix the work and tell what it will need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terapose.cli.options import Planning, parameters
from terapose.core.errors import shown
from terapose.core.params import Parameters
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import GRAPH, SCATTERED

if TYPE_CHECKING:
    from terapose.pipeline.plan import Plan

_EPILOG = """\b
Examples:
  terapose plan brain.zarr --model nuclei.pth --diameter 9
  terapose plan brain.zarr --model nuclei.pth --output plan.json --store store --tasks tasks
"""


@click.command(cls=Planning, epilog=_EPILOG)
@click.argument("image")
@click.option(
    "--model-file",
    type=click.Path(path_type=Path),
    help="The network's file, or a folder that terapose fetch has filled.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the plan here (JSON).")
@click.option("--store", help="Make the store here: a folder or a URL.")
@click.option(
    "--tasks", type=click.Path(path_type=Path), help="Write one CSV of tasks for each stage here."
)
@click.option("--seen", multiple=True, hidden=True, help="Identity that check found.")
@parameters(Parameters.model_fields)
def command(
    image: str,
    model_file: Path | None,
    output: Path | None,
    store: str | None,
    tasks: Path | None,
    seen: tuple[str, ...],
    **options: Any,
) -> None:
    """Plan the segmentation of IMAGE: geometry, tasks, memory and disk. Computes nothing yet.

    All parameters of `terapose segment` are taken and checked.
    """
    from terapose.core.params import check
    from terapose.io.images import describe
    from terapose.io.store.store import Store
    from terapose.networks import identify_all
    from terapose.networks.ensemble import resolve_all, weight_files
    from terapose.pipeline.checked import open_checked
    from terapose.pipeline.plan import tasks_csv
    from terapose.pipeline.planning import make_plan
    from terapose.stages import plan as stage

    params = check(options)
    opened = open_checked(image, params)
    if model_file is not None:
        files = weight_files(model_file, digest=params.model_digest)
    else:
        files = resolve_all(params.model, digest=params.model_digest)
    plan = make_plan(opened, identify_all(files), params)
    stage.check_seen(plan, seen)
    if store is not None:
        stage.run(plan, Store(store))
    if tasks is not None:
        tasks.mkdir(parents=True, exist_ok=True)
        for name in SCATTERED:
            (tasks / f"{name}.csv").write_text(tasks_csv(plan.tasks[name]))
    if output is not None:
        output.write_text(plan.dump())
    click.echo(
        "\n".join([*describe(opened, plan.image.channel_names), describe_plan(plan, params)])
    )


def describe_plan(plan: Plan, params: Parameters) -> str:
    """A plan in a few lines: the stages that these parameters ask for."""
    grid = " x ".join(map(str, plan.network_shape))
    lines = [
        f"network   {shown(plan.model.name)} ({plan.model.family}, {plan.model.precision}) "
        f"on {grid}",
        f"store     {of_store(plan) / 1e9:.2f} GB at its peak",
    ]
    for stage in GRAPH:
        if stage.memory and stage.runs(plan, params):
            memory, count = stage.memory(plan) / 1e9, len(plan.tasks[stage.name])
            lines.append(f"{stage.name:<14} {count:>5} tasks, up to {memory:.1f} GB of memory each")
    return "\n".join(lines)
