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
"""Tasks that are listed."""


def _local(_context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """A folder on a local disk."""
    from terapose.io.remote import Remote, folder_of

    place = folder_of(value)
    if isinstance(place, Remote):
        raise InputError(
            "status reads stores on a local disk only",
            where=place,
            remedy="give a local folder; the run itself also prints its progress",
        )
    if not place.is_dir():
        raise click.BadParameter(f"Directory {str(place)!r} does not exist.", param=parameter)
    return place


@click.command(epilog=_EPILOG)
@click.argument("place", default=".", callback=_local)
def command(place: Path) -> None:
    """Show the progress of runs: tasks done, time left, and tasks that have failed.

    PLACE is a folder of results of terapose segment, a work folder of Nextflow (-work-dir), or the
    folder in which Nextflow was started, if that contains the work folder. The run is not
    disturbed. The time left for a stage is estimated from the tasks that are done (in passes of the
    network, from parts of tasks); the time left for the run also uses measured rates for stages
    that have not begun. Only the last attempt at a task counts. It is listed as failed; as
    repeated, if it failed and another attempt waits or runs; or as silent, if it has not ended, but
    has written nothing for an hour or more.
    """
    from terapose.api.failures import failures_in, has_attempts
    from terapose.api.status import find_stores, known
    from terapose.core.errors import StoreError

    stores, failures = find_stores(place), failures_in(place)
    if not stores and not failures:
        _refuse_empty(place, has_tasks=has_attempts(place))
    for found in known(stores):
        text = f"terapose: {found}" if isinstance(found, StoreError) else described(found)
        click.echo(f"{text}\n")
    for one in failures[-_FAILURES:]:
        end = "no exit status" if one.status is None else f"exit status {one.status}"
        task = f"{shown(one.name)}, {end}, {shown(one.folder)}"
        click.echo(f"{one.ending:<9} {task}: {shown(one.said)}")
    if len(failures) > _FAILURES:
        click.echo(f"and {len(failures) - _FAILURES} tasks before these")


def _refuse_empty(place: Path, *, has_tasks: bool) -> None:
    """Say that there is nothing to see, as an error unless a run has just begun."""
    if has_tasks:
        click.echo("no store: a run has just begun here, or it was cleaned; no task has failed")
        return
    raise InputError(
        "no run has begun here",
        where=place,
        allowed="a folder of results of terapose segment, a work folder of Nextflow (-work-dir), "
        "or the folder in which it was started, if that has the work folder",
    )


def described(found: Progress) -> str:
    """The lines about one run."""
    lines = [
        f"image     {shown(found.image)}",
        f"store     {found.store}",
        f"mode      {found.mode}",
    ]
    for stage in found.stages:
        if not stage.parts and not stage.needed:
            continue  # nobody knows yet whether a parameter asks for it
        line = f"{stage.name:<14} {stage.done:>6} of {stage.tasks} tasks"
        if stage.parts and stage.done < stage.tasks < stage.of_parts:
            line += f", {stage.parts} of {stage.of_parts} parts"
        if stage.paced:
            line += f", {duration(stage.seconds)}"
        if stage.left:
            line += f", {duration(stage.left)} left"
        lines.append(line)
    if found.left:
        lines.append(f"in all    about {duration(found.left)} left (an estimate)")
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
