"""All stages in one call on one machine: the same functions and the same bytes as the workflow.

The stages are run by `terapose.pipeline.local`, after the image was checked. The store is beside
the results, or where it was asked for, and is named by the plan's digest, so a run that was
stopped goes on where it was: tasks that left their marker are not repeated.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from terapose.api.home import Home, home_of, laid_out, local_cells
from terapose.core.devices import how_many
from terapose.core.drivers import confirm_driver
from terapose.core.errors import InputError, shown
from terapose.core.geometry import Box
from terapose.core.param_types import refuse_odd_name
from terapose.core.params import Parameters
from terapose.io import files, remote_lock
from terapose.io.images.model import Image
from terapose.io.lock import Held, held
from terapose.io.remote import Remote, folder_of
from terapose.io.store.store import Store
from terapose.pipeline.around import find_all, look_all
from terapose.pipeline.checked import open_checked, part_of, without_use
from terapose.pipeline.local import (
    Report,
    Runner,
    for_one_process,
    pool_of,
    pools_of_gpus,
    quiet,
    repairing,
    run_stages,
)
from terapose.pipeline.needs import fits_one_task
from terapose.pipeline.plan import Plan
from terapose.pipeline.upscale import full_image
from terapose.results.destination import check_output, refuse_links, renew
from terapose.results.earlier import record_of
from terapose.results.in_image.attaching import check_image
from terapose.results.outputs import result_names
from terapose.results.processing.chosen import packed
from terapose.results.report.own import refuse_others, remove_made

log = logging.getLogger(__name__)


def segment_file(
    image: str,
    output: str | Path | Remote,
    params: Parameters,
    *,
    workers: int = 1,
    report: Report = quiet,
    link: bool = False,
    store: str | Path | Remote | None = None,
    part: Box | None = None,
) -> dict[str, Any]:
    """Segment an image on this machine.

    Parameters
    ----------
    image
        Path or URL.
    output
        Folder for the results, on a local disk or on an object store (``s3://bucket/folder``).
    params
        All parameters.
    workers
        Processes.
    report
        Called with the progress.
    link
        Whether the files of the label image are links into the store, where the file system has
        them: no room is needed for a copy, but what damages the store damages the results.
    store
        Folder of either kind in which ``.terapose``, with the store of intermediates, is made, in
        place of that of the results.
    part
        What to segment of the image that the parameters choose, in its voxels; by default all.

    Returns
    -------
    dict
        The record of the run, as in ``provenance.json``.

    Raises
    ------
    InputError
        For everything a user can put right.
    """
    from terapose.stages.check import check_open_files

    check_open_files(workers)
    params = packed(params)
    results = _folder_of(output)
    refuse_links(results, link=link)
    other = None if store is None else _folder_of(store)
    with image_and_folder(image, results, params) as (opened, held_by_me):
        home = home_of(results, other)
        with laid_out(results, home, held_by_me) as folder:
            # files that are sent on may be links: what is sent is compared with their checksums
            as_links = link or (isinstance(results, Remote) and isinstance(home.place, Path))
            made = _segment(opened, folder, home, params, workers, report, link=as_links, part=part)
            look_all(made.record["mode"], params, folder)
            remove_made(results)
            if params.report:
                make_report(folder, results, opened.address)
        # not before results are where they should be: another run can go on from what is kept
        made.clear(home, params)
    return made.record


def _folder_of(given: str | Path | Remote) -> Path | Remote:
    return given if isinstance(given, Remote) else folder_of(given)


@contextmanager
def image_and_folder(
    image: str,
    folder: Path | Remote,
    params: Parameters,
    beside: Sequence[str] = (),
    *,
    is_second: bool = False,
    has_network: bool = True,
) -> Iterator[tuple[Image, Held]]:
    """The image, once all is checked, and the folder while no other run writes to it.

    Parameters
    ----------
    image
        Path or URL.
    folder
        Of the results.
    params
        All parameters.
    beside
        Other files that are read, which no result may replace.
    is_second
        Whether the notes on image and parameters were logged before.
    has_network
        Whether a network runs, not only measurements.
    """
    from terapose.stages import check as check_stage

    # the record and the store's name hold the address: it has to mean the same from any folder
    image = image if "://" in image else os.path.abspath(os.path.expanduser(image))
    place = str(folder) if isinstance(folder, Remote) else os.path.abspath(folder)
    for what, text in (("image", image), ("folder of results", place)):
        refuse_odd_name(text, what)
    opened = open_checked(image, params)
    # the voxels of the results
    result = full_image(opened, params) if params.upscale else opened
    check_stage.check_readable(opened, params, result, has_network=has_network)
    check_stage.check_thumbnails(result, params)
    check_image(opened, params)
    read = (params.tissue, params.markers, *beside)
    check_output(folder, image, result_names(params), read)
    if params.report:
        refuse_others(folder)
    notes = [] if is_second else [*without_use(opened, params), *check_stage.exposed(image, params)]
    for note in notes:
        log.warning(note)
    if isinstance(folder, Remote):
        with remote_lock.held(folder) as confirm:
            yield opened, confirm
    else:
        with held(folder) as confirm:
            files.clear_aside(folder)
            yield opened, confirm


def make_report(folder: Path, results: Path | Remote, address: str) -> None:
    """Make the report of results, under the name of the folder that they are for."""
    from terapose.results.report.writing import write_report

    place = os.path.abspath(results) if isinstance(results, Path) else str(results)
    write_report(folder, folder, name=place.rpartition("/")[2], address=address)


class _Made(NamedTuple):
    """The record of a run, and its store."""

    record: dict[str, Any]
    store: Store

    def clear(self, home: Home, params: Parameters) -> None:
        """Remove intermediates, if none are kept."""
        if params.keep_intermediates == "none":
            home.clear(self.store)


def _segment(
    opened: Image,
    folder: Path,
    home: Home,
    params: Parameters,
    workers: int,
    report: Report,
    *,
    link: bool,
    part: Box | None,
) -> _Made:
    """Segment an image that was checked, in a folder that no other run writes to."""
    from terapose.networks.ensemble import identify_all, resolve_all
    from terapose.pipeline.sized import is_sought, plan_of
    from terapose.stages import plan as plan_stage

    with ExitStack() as stack:
        cells = None
        if params.has_second:
            # for the nuclei alone: nobody looks at it
            cells = stack.enter_context(local_cells(home))
            renew(cells, opened.address, result_names(params.second))
            # held until they are matched: no other run can put its own in their place
            same, _ = stack.enter_context(
                image_and_folder(opened.address, cells, params.second, is_second=True)
            )
            apart = home.of_cells()
            made = _segment(
                same, cells, apart, params.second, workers, report, link=False, part=part
            )
            made.clear(apart, params.second)
        model_files = resolve_all(params.model, digest=params.model_digest)
        opened, params = find_all(opened, params, model_files)
        opened = opened if part is None else part_of(opened, part)
        if params.use_gpu:
            confirm_driver()
            if is_sought(identify_all(model_files), params) and not how_many("cuda"):
                # before cells are measured, on CPUs
                _confirm_device("cuda")
        plan = plan_of(opened, model_files, params)
        _say_diameter(plan)
        store = home.store(plan.digest)
        plan_stage.run(plan, store)
        alone = fits_one_task(plan, params)
        pool = stack.enter_context(pool_of(1 if alone else workers))
        runner = Runner(plan, for_one_process(store, params) if alone else store, pool, report)
        if (device := plan.model.device) != "cpu":
            # before hours of other work
            if pool is None:
                _confirm_device(device)
            else:
                # where there is none, one process says so
                number = max(1, how_many(device))
                runner.gpus = stack.enter_context(pools_of_gpus(number))
                runner.gpus[0].submit(_confirm_device, device).result()
        record = repairing(
            runner,
            lambda: run_all(runner, params, model_files, folder, cells, workers=workers, link=link),
        )
    return _Made(record, store)


def _say_diameter(plan: Plan) -> None:
    """Say early which diameter is used: of a long run, another one can be given yet."""
    if plan.diameter.origin == "network" and plan.diameter.note:
        return  # a warning has said so
    channels = ",".join(map(str, plan.image.channels))
    image = shown(plan.image.address)
    log.info("%s: channels %s: diameter %s", image, channels, plan.diameter.text)


def _confirm_device(device: str) -> None:
    """Confirm that networks can run on a device."""
    from terapose.networks.loading import confirm_device

    confirm_device(device)


def run_all(
    runner: Runner,
    params: Parameters,
    model_files: Sequence[Path],
    output: Path,
    cells: Path | None = None,
    *,
    workers: int = 1,
    link: bool = False,
) -> dict[str, Any]:
    """Run every stage after the plan.

    Parameters
    ----------
    runner
        With the plan and a store in which `terapose.stages.plan.run` made the arrays.
    params
        All parameters.
    model_files
        The network's file, or those of several that are averaged.
    output
        Folder for the results.
    cells
        Results of the second network, if there is one.
    workers, link
        Threads that cut thumbnails, and whether results are links into the store, as in
        `terapose.stages.finish.placed`.

    Returns
    -------
    dict
        The record of the run.
    """
    from terapose.stages import cell_overlaps, finish

    given = {
        "gradients": {"model_files": tuple(map(str, model_files))},
        "finish": finish.placed(output, link=link, jobs=workers),
    }
    if cells is not None:
        given["cell_overlaps"] = cell_overlaps.given(cells)
    run_stages(runner, params, given)
    record = record_of(output)
    assert record is not None  # finish has written it
    return record


def check_workers(workers: Any) -> int:
    """The number of processes, if it is one.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(workers, int) or workers < 1:
        raise InputError("is not a number of processes", where="workers", got=workers)
    return workers
