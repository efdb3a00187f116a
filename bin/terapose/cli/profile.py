"""`terapose profile`: time and memory of each step against the size of the image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terapose.cli.values import LocalPath

if TYPE_CHECKING:
    from terapose.apps.profile.steps import Group, Growth, Power, Step

_EPILOG = """\b
Examples:
  terapose profile results/brain
  terapose profile small medium large --plot profile.png --csv profile.csv
"""


@click.command(epilog=_EPILOG)
@click.argument("results", nargs=-1, required=True, type=LocalPath())
@click.option("--csv", "table", type=LocalPath(is_file=True), help="Also write all steps as CSV.")
@click.option(
    "--json", "numbers", type=LocalPath(is_file=True), help="Also write steps and fits as JSON."
)
@click.option(
    "--plot",
    "picture",
    type=LocalPath(is_file=True, endings=[".png"]),
    help="Also draw them as PNG (log-log).",
)
def command(
    results: tuple[Path, ...], table: Path | None, numbers: Path | None, picture: Path | None
) -> None:
    """Show the time and memory of each step of RESULTS, and how they grow with the image.

    RESULTS are folders of results, or of several samples, of terapose segment or the workflow. The
    table shows the largest image for each mode and network; the exponents are those of powers of
    the number of voxels, fitted to all images. If pipeline_info contains a trace of Nextflow, the
    time and memory that it measured for tasks are shown, too.
    """
    from terapose.api.profile import as_json, profile
    from terapose.apps.profile.plot import plot
    from terapose.io import files
    from terapose.results.named_files import check_files

    check_files((table, numbers, picture))
    steps, found = profile(results)
    for group in found:
        _print(group)
    if table is not None:
        with files.written(table, "table") as place:
            _write_csv(steps, place)
    if numbers is not None:
        with files.written(numbers, "numbers") as place:
            place.write_text(as_json(steps, found), encoding="utf-8")
    if picture is not None:
        plot(steps, found, picture)


def _write_csv(steps: Sequence[Step], path: Path) -> None:
    """A line for each step of each run."""
    from terapose.io.text_tables import as_cell

    columns = ("tasks", "seconds", "processor_seconds", "memory", "task_seconds", "task_memory")
    # names of folders may be of bytes that are not UTF-8
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.writer(file)
        rows.writerow(["result", "step", "mode", "network", "z", "y", "x", "voxels", *columns])
        for s in steps:
            values = (getattr(s, column) for column in columns)
            texts = map(as_cell, (s.result, s.name, s.mode, s.network))
            rows.writerow([*texts, *s.shape, s.voxels, *values])


def _print(group: Group) -> None:
    """A table of the largest run, with the exponents of all."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from terapose.core.errors import shown

    largest = group.growth[-1].step
    shape = " x ".join(map(str, largest.shape))
    traced = any(one.step.task_seconds is not None for one in group.growth)
    columns = ["step", "tasks", "seconds", "share", "processor", "memory"]
    columns += ["seconds in tasks", "memory of tasks"] if traced else []
    powers = group.runs > 1
    table = Table(*columns, *(("time ~ n^", "memory ~ n^") if powers else ()))
    for one in group.growth:
        last = one is group.growth[-2] if len(group.growth) > 1 else False
        row = _row(one, traced=traced, powers=powers)
        table.add_row(*(escape(shown(cell)) for cell in row), end_section=last)
    console = Console()
    console.print(
        f"mode {group.mode}, network {shown(group.network)}: {shown(largest.result)}, "
        f"{shape} voxels" + (f", the largest of {group.runs}" if powers else ""),
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    console.print(table)


def _row(one: Growth, *, traced: bool, powers: bool) -> list[str]:
    """The cells of a step."""
    step = one.step
    row = [step.name, str(step.tasks), _number(step.seconds)]
    row += ["" if one.share is None else f"{one.share:.1%}"]
    row += [_number(step.processor_seconds), _bytes(step.memory)]
    if traced:
        row += [_number(step.task_seconds), _bytes(step.task_memory)]
    return row + ([_exponent(one.seconds), _exponent(one.memory)] if powers else [])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def _bytes(value: int | None) -> str:
    from terapose.core.amounts import in_bytes

    return "" if value is None else in_bytes(value)


def _exponent(power: Power | None) -> str:
    return "" if power is None else f"{power.exponent:.2f}"
