"""finish (gather): complete the pyramid, and arrange the results.

1. The files of the label image in the store are compared with what **export** noted of them;
   regions that are damaged are exported again. Then the coarse levels are made.
2. All results are made in a folder aside, in the folder of the results. The label image is copied
   (the file system may share the blocks of both) or, with ``link``, linked; a copy is compared with
   the checksums as well. Everything else gets a checksum as it is written. Thumbnails are cut out
   of the image; before and after, it has to be the image that was planned.
3. The record of an earlier run is removed, the results take their places, each by one rename, and
   the record of the run, ``provenance.json``, comes last: where it exists, the rest is complete.

Before the third step no existing result is touched, so damage in the store cannot affect it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from terapose.core.masking import masked_all
from terapose.core.params import OUTLINES
from terapose.core.tables import Table
from terapose.core.version import __version__
from terapose.intermediates.cell_table import batches
from terapose.intermediates.compartments import CELLS, compartments
from terapose.io import files
from terapose.io.checksums import sealed
from terapose.io.images.folders import sample_name
from terapose.io.labels.ome_tiff import write_mask
from terapose.io.store.long_tables import ByNumber
from terapose.io.tables.geojson import joined_rings, rings_in, write_geojson
from terapose.io.tables.writers import FORMATS, write_table
from terapose.pipeline.code import package_digest
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import memory_of
from terapose.pipeline.job import Job, Result
from terapose.pipeline.machine import of_steps, warning_of
from terapose.pipeline.plan import key_of
from terapose.pipeline.state import Added
from terapose.results.earlier import RECORD, replacing
from terapose.results.outputs import LABELS, THUMBNAILS, mask_files, recorded
from terapose.results.publishing import complete, lay_out, noted

log = logging.getLogger(__name__)


def placed(output: Path, *, link: bool = False, jobs: int = 1) -> dict[str, Any]:
    """What the stage is given beside its parameters.

    Parameters
    ----------
    output
        Folder for ``labels.zarr``, the tables of cells and ``provenance.json``, and the masks and
        thumbnails if they are asked for.
    link
        Link the files of the label image where that is possible: whatever changes them in the store
        changes the results.
    jobs
        Threads that cut thumbnails.
    """
    return {"output": str(output), "link": link, "jobs": jobs}


def gather(job: Job, results: Mapping[str, list[Result]]) -> Added:
    """Arrange the results.

    Parameters
    ----------
    job
        The stage, with what `placed` says; before it ``relabel``, or ``match``, and the tasks.
    results
        Of ``export``, ``measure`` and ``outlines``, as far as they were to run.

    Raises
    ------
    StoreError
        If something is missing or damaged in the store.
    InputError
        If the image has changed since the run was planned, as far as it is read here: where
        thumbnails are cut out of it, or its content identifies it.
    """
    exported = results["export"]
    # of what was written, whatever tasks it was written by
    checksum = key_of([crc for result in exported for crc in result["checksums"]])
    record = _record(job, checksum)
    # what is damaged is exported again as it was, from the state before the tasks
    before = job.before.history[-len(results) - 1]
    job = replace(job, before=job.before.model_copy(update={"key": before.key}))
    checks = complete(job, [crc for result in exported for crc in result["files"]])
    output = Path(job.params["output"])
    output.mkdir(parents=True, exist_ok=True)
    staging = files.aside(output / RECORD)
    try:
        with files.naming(output):
            staging.mkdir()
            lay_out(job, staging / LABELS, checks, link=job.params["link"])
            _contents(job, results, checksum, staging)
            job.confirm_content()
            record = sealed({**record, **noted(staging, checks)})
            (staging / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            _publish(staging, output, record)
    finally:
        files.remove(staging)
    for note in record["notes"]:
        log.warning(note)
    if job.params["keep_intermediates"] == "none":
        numbers = [job.before.numbers] if job.before.is_processed else []
        for name in (job.before.flows, job.before.labels, *numbers):
            job.store.drop(name)
    return Added()


def _contents(job: Job, results: Mapping[str, list[Result]], identity: str, staging: Path) -> None:
    """Make what is made of the label image: tables, outlines, masks and thumbnails."""
    measured = results.get("measure", [])
    for name in compartments(job.before):
        _tables(job, measured, name, staging)
    if "outlines" in results:
        _outlines(job, measured, results["outlines"], staging)
    _masks(job, staging, identity)
    _thumbnails(job, staging)


def _publish(staging: Path, output: Path, record: dict[str, Any]) -> None:
    """Put the results in their places; the record, which says that they are complete, last."""
    files.point("results: before the earlier ones go")
    with replacing(output, record):
        names = sorted(path.name for path in staging.iterdir())
        for name in (*(n for n in names if n != RECORD), RECORD):
            files.point(f"results: before {name} is renamed")
            files.put_in_place(staging / name, output / name)
            files.point(f"results: after {name} is renamed")


def _tables(job: Job, measured: list[Result], name: str, output: Path) -> None:
    """Write the table of a compartment in all formats."""
    wanted = [kind for kind in FORMATS if kind in job.params["table"]]
    paths = {kind: output / f"{name}.{kind}" for kind in wanted}
    write_table(batches(job, measured, name), paths, sample_name(job.plan.image.address), name)


def _outlines(job: Job, measured: list[Result], outlined: list[Result], output: Path) -> None:
    """Write the outlines of the cells, with what was measured of them."""
    planes = job.plan.result(upscale=True).whole[0]
    sample = sample_name(job.plan.image.address)
    for kind in (kind for kind in OUTLINES if kind in job.params["table"]):
        rings = partial(_rings, ByNumber(job.store, outlined, "rings"))
        pairs = ((batch, rings(batch["CellID"])) for batch in batches(job, measured))
        write_geojson(output / f"{CELLS}.{kind}", pairs, sample, planes=planes)


def _rings(source: ByNumber, ids: NDArray[Any]) -> Table:
    """Rings of the cells of a batch."""
    first, stop = int(ids.min(initial=1)), int(ids.max(initial=0)) + 1
    return joined_rings([rings_in(t, first, stop) for t in source.tables(first, stop)])


def _masks(job: Job, output: Path, identity: str) -> None:
    """Write the label images as OME-TIFF, if requested."""
    planned = job.output
    place = (planned.whole, planned.offset) if planned.whole != planned.shape else None
    for name, file in mask_files(job.params, compartments(job.before)).items():
        write_mask(
            str(output / LABELS),
            output / file,
            name=name,
            levels=len(job.output.factors),
            voxel_size=job.output.voxel_size,
            identity=identity,
            description=_of_level(job),
            place=place,
        )


def _thumbnails(job: Job, output: Path) -> None:
    """Cut the thumbnails of the cells, if requested."""
    if job.params["thumbnails"] is None:
        return
    from terapose.results.thumbnails import cut  # brings pandas, which is slow to import

    kind = "parquet" if "parquet" in job.params["table"] else "csv"
    cut.cut_cells(
        job.seen_image,
        str(output / LABELS),
        str(output / f"{CELLS}.{kind}"),
        str(output / THUMBNAILS),
        window=job.params["thumbnails"] or None,
        jobs=job.params["jobs"],
    )
    job.confirm_image()


def _of_level(job: Job) -> str:
    """What to say of a label image for which a coarser level was segmented."""
    level, output = job.plan.image.level, job.output
    if not level:
        return ""
    if job.upscales:
        return f"Segmented at level {level} of the image's pyramid, brought to level 0."
    return f"Pixels are those of level {output.level} of the image's pyramid."


def _notes(job: Job) -> list[str]:
    """What the user should know of results that are complete."""
    mixed = warning_of(of_steps(job.before.history))
    sought = job.plan.diameter
    guessed = f"diameter: {sought.text}" if sought.note and sought.origin == "network" else ""
    return [*filter(None, (mixed, guessed)), *_notes_on_second(job), *_notes_on_masks(job)]


def _notes_on_second(job: Job) -> list[str]:
    """What to say of the run of the second network, whose own record nobody looks at."""
    second = job.before.second
    if second is None:
        return []
    said = [str(note) for note in second["notes"]]
    if second["diameter"]["origin"] == "network" and second["diameter"]["note"]:
        said.append("give the diameter of a typical cell in pixels (--cell-diameter)")
    if not second["cells"]:
        said.append(
            "no cells were found, so each nucleus is a cell by itself; check --cell-channels and "
            "--cell-diameter"
        )
    channels = ", ".join(map(str, second["channels"]))
    return [f"second network (channels {channels}): {'; '.join(said)}"] if said else []


def _notes_on_masks(job: Job) -> list[str]:
    """What to say of masks that do not fit the image."""
    masks = mask_files(job.params, compartments(job.before))
    full, output = job.plan.full, job.output
    if not masks or full is None or output is full:
        return []
    files = ", ".join(masks.values())
    size, whole = (" x ".join(map(str, p.whole[3 - p.dimensions :])) for p in (output, full))
    return [
        f"{files}: {size} pixels of level {output.level}, where the image has {whole}; "
        "for a mask that fits the image give --upscale, or segment level 0"
    ]


def _record(job: Job, checksum: str) -> dict[str, Any]:
    """What was done, with what, and what it took; ``checksum`` is that of the label image."""
    plan, history = job.plan, {step.stage: step.record() for step in job.before.history}
    history["export"]["checksum"] = checksum
    record = {
        "terapose": __version__,
        "package_digest": package_digest(),
        "plan_digest": plan.digest,
        "mode": plan.mode,
        "image": masked_all(plan.image.model_dump(mode="json")),
        "output": job.output.model_dump(mode="json", exclude=_OF_FILES),
        "model": masked_all(plan.model.model_dump(mode="json")),
        "intensity": plan.intensity.model_dump(mode="json", exclude={"windows"}),
        "network_shape": list(plan.network_shape),
        "diameter": plan.diameter.model_dump(),
        "rescale": plan.rescale,
        "anisotropy": plan.anisotropy,
        "block": list(plan.block),
        "flow_precision": plan.flow_precision,
        "cells": job.before.cells,
        "compartments": list(compartments(job.before)),
        "expand": job.before.expand,
        "second": job.before.second,
        **recorded(job.params, compartments(job.before)),
        "notes": _notes(job),
        "stages": history,
        "projection": {"memory": memory_of(plan), "store": of_store(plan)},
    }
    if job.before.given is None:
        return record
    # nothing was computed by a network
    found = {name: value for name, value in record.items() if name not in _OF_NETWORK}
    return {**found, "given_labels": masked_all(job.before.given)}


_OF_FILES = {"version", "dimensions", "voxels", "chunks", "shards", "factors", "region"}
"""Of a label image, how it is stored: its own metadata say that."""
_OF_NETWORK = ("model", "intensity", "network_shape", "rescale", "flow_precision", "projection")
