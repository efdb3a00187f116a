"""Segment an image from Python and get its results as an object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from terapose.api.result import Result, address
from terapose.api.results_in import results_in
from terapose.api.runner import segment_file
from terapose.core.params import check
from terapose.io.samples import one_image
from terapose.pipeline.local import Report


def run(
    image: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **params: Any,
) -> Result:
    """Segment an image of any size, on this machine, and return its results.

    It does what ``terapose segment IMAGE OUT`` does, with the same files in the same bytes. A run
    that was interrupted goes on when it is called again.

    Parameters
    ----------
    image
        Path or URL of an image.
    out
        Folder for the results, on a local disk.
    workers
        Processes; one for each core if it is not given. They do not import the main module, so a
        script needs no ``__main__`` guard.
    store
        Folder for the intermediate results; that of the results if it is not given.
    progress
        Whether to show it: bars on a terminal, a line in a notebook, lines in a log.
    **params
        Any of `terapose.core.params.Parameters`, as in docs/parameters.md.

    Returns
    -------
    Result
        Labels, table, record and report are read when they are asked for.

    Raises
    ------
    InputError
        For everything a user can put right.

    Examples
    --------
    >>> result = terapose.run("brain.zarr", "results", diameter=14)  # doctest: +SKIP
    >>> result.labels[10]  # doctest: +SKIP
    """
    where = address(image, "image", remedy=_ARRAYS)
    place = None if store is None else address(store, "store", "the path of a folder")
    checked = one_image(check(params))

    def work(folder: Path, count: int, report: Report) -> None:
        segment_file(where, folder, checked, workers=count, report=report, store=place)

    return results_in(out, work, workers=workers, progress=progress)


_ARRAYS = (
    "save the array to a file, which the results then name; or use terapose.segment, which takes "
    "arrays and returns one"
)
