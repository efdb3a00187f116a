"""`terapose status`: how far a run is, and what has failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from terapose.core.errors import InputError, shown

if TYPE_CHECKING:
    from terapose.api.status import Progress

_EPILOG = """\b
Examples:
  terapose status results
  terapose status work
"""
_FAILURES = 10


def _local(_context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """A folder on a local disk."""
    from terapose.io.remote import Remote, folder_of

    place = folder_of(value)
    if isinstance(place, Remote):
        raise InputError(
            "status reads stores on a local disk only",
            where=place,
            remedy="give the folder of --store; the progress of a run is printed as it goes",
        )
    if not place.is_dir():
        raise click.BadParameter(f"Directory {str(place)!r} does not exist.", param=parameter)
    return place


@click.command(epilog=_EPILOG)
@click.argument("place", default=".", callback=_local)
def command(place: Path) -> None:
    """Show the progress of runs: tasks done, time left, and tasks that have failed.

    PLACE is a folder of results of terapose segment, a work folder of Nextflow, or the folder in
    which Nextflow was started. The run is not disturbed. The time left is an estimate for one
    stage, from the tasks that are done, or in passes of the network from parts of tasks.
    """
    from terapose.api.status import failures_in, find_stores, known
    from terapose.core.errors import StoreError

    for found in known(find_stores(place)):
        text = f"terapose: {found}" if isinstance(found, StoreError) else described(found)
        click.echo(f"{text}\n")
    failures = failures_in(place)
    for one in failures[-_FAILURES:]:
        task = f"{shown(one.name)}, exit status {one.status}, {shown(one.folder)}"
        click.echo(f"failed    {task}: {shown(one.said)}")
    if len(failures) > _FAILURES:
        click.echo(f"failed    and {len(failures) - _FAILURES} attempts before these")


def described(found: Progress) -> str:
    """The lines about one run."""
    lines = [
        f"image     {shown(found.image)}",
        f"store     {found.store}",
        f"mode      {found.mode}",
    ]
    begun = [n for n, stage in enumerate(found.stages) if stage.parts]
    for number, stage in enumerate(found.stages):
        is_over = bool(begun) and number < begun[-1]
        if not stage.parts and (is_over or not stage.needed):
            continue  # no parameter asks for it, or nobody knows yet
        line = f"{stage.name:<14} {stage.done:>6} of {stage.tasks} tasks"
        if stage.parts and stage.done < stage.tasks < stage.of_parts:
            line += f", {stage.parts} of {stage.of_parts} parts"
        if stage.paced:
            line += f", {duration(stage.seconds)}"
        if stage.left:
            line += f", {duration(stage.left)} left"
        lines.append(line)
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in words: "42 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
