"""What `run` and `measure` have in common: an image by its address, results in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from terapose.api.progress import stages
from terapose.api.result import Result, local, open_result
from terapose.api.runner import check_workers
from terapose.pipeline.local import Report, cores, quiet


def results_in(
    out: str | os.PathLike[str],
    work: Callable[[Path, int, Report], object],
    *,
    workers: int | None,
    progress: bool,
) -> Result:
    """Do work that writes results, and open them.

    Parameters
    ----------
    out
        Folder for the results, on a local disk.
    work
        Gets the folder, the number of processes, and what reports progress.
    workers
        Processes; None: one for each core.
    progress
        Whether it is shown.

    Raises
    ------
    InputError
        If there is no such folder or number of processes; or of the work.
    """
    folder = local(out, "out")
    count = cores() if workers is None else check_workers(workers)
    with stages() if progress else nullcontext(quiet) as report:
        work(folder, count, report)
    return open_result(folder)
