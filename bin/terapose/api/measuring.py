"""Measure cells of labels that are given: corrected by hand, or made by another program.

The labels are checked and read into a store (`terapose.results.given`), from which the stages
after **relabel** go on as in any run. The store is removed at the end, and a new one is made each
time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from terapose.api.home import home_of
from terapose.api.result import Result, address
from terapose.api.results_in import results_in
from terapose.api.runner import image_and_folder, make_report
from terapose.core.errors import InputError
from terapose.core.param_types import refuse_odd_name
from terapose.core.params import MEASURING, SELECTION, Parameters, check
from terapose.io.images.model import Image
from terapose.io.samples import one_image
from terapose.networks.files import ModelInfo
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.image_plan import note_planned
from terapose.pipeline.local import Report, Runner, pool_of, quiet, run_stages
from terapose.pipeline.plan import Plan, key_of
from terapose.pipeline.planning import make_plan
from terapose.results.earlier import record_of
from terapose.results.given.cells import Rules, put_cells
from terapose.results.given.source import open_given
from terapose.results.report.own import remove_made

_LAST = ("export", "measure", "outlines", "finish")
_NO_NETWORK = ModelInfo(Path(), "none", "none", "", 0, 1, 224, 30.0, False, None)


def measure(
    image: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    renumber: bool = False,
    allow_pieces: bool = False,
    workers: int | None = None,
    progress: bool = True,
    **params: Any,
) -> Result:
    """Measure the cells of labels that are given, and write results like those of a run.

    Parameters
    ----------
    image
        Path or URL of the image.
    labels
        Path or URL of the label image, or path of GeoJSON with polygons, as QuPath exports them.
    out
        Folder for the results, on a local disk.
    renumber
        Number the cells 1 to N by position; otherwise they have to be numbered like that.
    allow_pieces
        Accept cells in several pieces.
    workers
        Processes; one for each core if it is not given.
    progress
        Whether to show it, as in `terapose.run`.
    **params
        Any of those in docs/measure.md.

    Returns
    -------
    Result
        Labels, table and record are read when they are asked for.

    Raises
    ------
    InputError
        For everything a user can put right.

    Examples
    --------
    >>> result = terapose.measure("brain.zarr", "edited.tif", "measured")  # doctest: +SKIP
    """
    strange = sorted(set(params) - {*MEASURING, *SELECTION})
    if strange:
        raise InputError(
            "is not a parameter of measure",
            where=", ".join(strange),
            allowed=", ".join((*MEASURING, *SELECTION)),
        )
    pixels = address(image, "image", remedy=_ARRAYS)
    cells = address(labels, "labels", "the path or URL of labels", _ARRAYS)
    checked = check(params)

    def work(folder: Path, count: int, report: Report) -> None:
        measure_file(
            pixels,
            cells,
            folder,
            checked,
            renumber=renumber,
            allow_pieces=allow_pieces,
            workers=count,
            report=report,
        )

    return results_in(out, work, workers=workers, progress=progress)


_ARRAYS = "save the array to a file, such as a TIFF or a Zarr"


def measure_file(
    image: str,
    labels: str,
    folder: Path,
    params: Parameters,
    *,
    renumber: bool,
    allow_pieces: bool,
    workers: int = 1,
    report: Report = quiet,
) -> dict[str, Any]:
    """Measure labels as `measure` does; returns the record, as in ``provenance.json``.

    Raises
    ------
    InputError
        For everything a user can put right.
    """
    params = one_image(params, "only one image can be measured")
    labels = labels if "://" in labels else os.path.abspath(os.path.expanduser(labels))
    refuse_odd_name(labels, "labels")
    # nothing is normalised, and values need not be looked at for it
    params = params.model_copy(update={"normalize": "none"})
    with image_and_folder(image, folder, params, [labels], has_network=False) as (opened, _):
        _refuse_runs(folder)
        home = home_of(folder, None)
        plan = _plan(opened, params, labels)
        store = home.store(plan.digest)
        assert isinstance(home.place, Path)  # as the folder is
        store.remove()
        try:
            with pool_of(workers) as pool:
                runner = Runner(plan, store, pool, report)
                rules = Rules(renumber, allow_pieces, params.expand or 0)
                _run(runner, params, labels, rules, folder, workers)
            remove_made(folder)
            if params.report:
                make_report(folder, folder, opened.address)
        finally:
            store.remove()
            with suppress(OSError):  # stores of other runs are in it
                os.rmdir(home.place)
    record = record_of(folder)
    assert record is not None  # finish has written it
    return record


def _run(
    runner: Runner, params: Parameters, labels: str, rules: Rules, folder: Path, workers: int
) -> None:
    """Read the labels, and run the stages that follow on cells that are numbered."""
    from terapose.stages import finish

    plan, store = runner.plan, runner.store
    note_planned(plan.image, None, store)
    STAGES["convert"].implementation.prepare(plan, store)
    source = open_given(labels, plan, renumber=rules.renumber)
    copied = run_stages(runner, params, {}, _of(["convert"])).state
    before = copied.model_copy(update={"plan": plan.digest})
    state = put_cells(plan, store, source, rules, before, runner.report)
    given = {"finish": finish.placed(folder, jobs=workers)}
    run_stages(runner, params, given, _of(_LAST), state)


def _of(names: Iterable[str]) -> list[Any]:
    """Stages of the graph by name."""
    return [stage for stage in GRAPH if stage.name in names]


def _plan(image: Image, params: Parameters, labels: str) -> Plan:
    """The plan of a run without a network: blocks and tasks of the stages that are needed."""
    planned = make_plan(image, _NO_NETWORK, params)
    tasks = {
        name: batches if name in ("convert", *_LAST) else ()
        for name, batches in planned.tasks.items()
    }
    # what is only of a network takes no room
    nothing: Any = {"network_shape": (1, 1, 1), "slabs": (1, 1, 1), "passes": (), "rescale": 1.0}
    model = planned.model.model_copy(update={"name": "", "digest": key_of("labels", labels)})
    return planned.model_copy(
        update={**nothing, "tasks": tasks, "model": model, "full": None, "cover": None}
    )


def _refuse_runs(folder: Path) -> None:
    """Refuse to replace what a network has found by what was measured of something else."""
    record = record_of(folder)
    if record is not None and "given_labels" not in record:
        raise InputError(
            "holds the results of a run, which would be replaced",
            where=folder,
            remedy="choose another folder",
        )
