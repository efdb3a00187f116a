"""Progress of one loop: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_EVERY = 10.0  # seconds between lines in a log


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a loop is, on standard error.

    Parameters
    ----------
    title
        What is being done, in a word or two.

    Yields
    ------
    callable
        To be called with the number of steps done and of all steps.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str, console: Console) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= _EVERY:
            last = now
            console.print(f"{title}: {done} of {total}", highlight=False)

    return show


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far each stage is, on standard error: a bar each on a terminal, lines in a log.

    Yields
    ------
    callable
        To be called with a stage's name, the number of tasks done and of all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _stage_lines(console)
        return
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show


def _stage_lines(console: Console) -> Callable[[str, int, int], None]:
    shows: dict[str, Callable[[int, int], None]] = {}

    def show(stage: str, done: int, total: int) -> None:
        shows.setdefault(stage, _lines(stage, console))(done, total)

    return show
