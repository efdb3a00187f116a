"""Progress of one loop: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from terapose.api.progress import lines


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
        yield lines(title, console)
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
