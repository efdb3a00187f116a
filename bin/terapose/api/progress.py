"""Progress of stages: bars on a terminal, one line that changes in a notebook, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from terapose.pipeline.local import Report

_EVERY = 10.0  # seconds between lines in a log
_OFTEN = 0.2  # and between changes of a line in a notebook


@contextmanager
def stages() -> Iterator[Report]:
    """Show how far each stage is.

    That is a bar each on a terminal and lines in a log, both on standard error, and one line that
    changes in the output of a notebook's cell.

    Yields
    ------
    callable
        To be called with a stage's name, the number of tasks done and of all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if is_notebook():
        with _display() as show_there:
            yield show_there
        return
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


def lines(title: str, console: Console) -> Callable[[int, int], None]:
    """What writes a line now and then, and at the end, when it is called with how far a loop is."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= _EVERY:
            last = now
            console.print(f"{title}: {done} of {total}", highlight=False)

    return show


def _stage_lines(console: Console) -> Report:
    shows: dict[str, Callable[[int, int], None]] = {}

    def show(stage: str, done: int, total: int) -> None:
        shows.setdefault(stage, lines(stage, console))(done, total)

    return show


def is_notebook() -> bool:
    """Whether this code runs in a kernel of Jupyter, which shows more than text."""
    # whoever runs in one has imported it
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


@contextmanager
def _display() -> Iterator[Report]:
    """A line below a cell; when all is done it says how long that took."""
    from IPython.display import display

    begin = last = time.monotonic()
    seen: dict[str, tuple[int, int]] = {}
    handle = display(_line("starting"), raw=True, display_id=True)

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        seen[stage] = done, total
        now = time.monotonic()
        if done == total or now - last >= _OFTEN:
            last = now
            handle.update(_line(f"{stage}: {done} of {total}", done / max(total, 1)), raw=True)

    def took() -> str:
        return f"{time.monotonic() - begin:.0f} s"

    try:
        yield show
    except BaseException:
        left = [f"{name} ({a} of {b})" for name, (a, b) in seen.items() if a < b]
        place = f" in {left[-1]}" if left else ""
        handle.update(_line(f"stopped{place} after {took()}"), raw=True)
        raise
    handle.update(_line(f"{len(seen)} stages in {took()}"), raw=True)


def _line(text: str, part: float | None = None) -> dict[str, Any]:
    """A line as text and, with a bar, for a page."""
    bar = "" if part is None else f' <progress value="{part:.3f}"></progress>'
    return {"text/plain": text, "text/html": f"<div>{text}{bar}</div>"}
