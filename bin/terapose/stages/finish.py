"""finish: check that all is exported, complete the pyramid, and lay the results out.

The label image is not copied: its files are linked into the result folder (copied where the file
system cannot link). The record of the run, ``provenance.json``, is written last: where it stands,
the rest is complete.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import terapose
from terapose.compartments import CELLS, MASKS, compartments, table_names
from terapose.earlier import RECORD, THUMBNAILS, forget, named
from terapose.geojson import joined_rings, rings_in, write_geojson
from terapose.geometry import Box, Grid, zyx
from terapose.job import Job, Receipt, Summary, extended, gather
from terapose.labels import downsample, level_region, level_shape, open_level
from terapose.mask import write_mask
from terapose.masking import masked_all
from terapose.parts import ByNumber, Table
from terapose.plan import LAST, key_of, last_stages, package_digest
from terapose.stages.export import address, levels_here, put
from terapose.table import batches
from terapose.table_files import FORMATS, write_table

log = logging.getLogger(__name__)


def run(job: Job, receipts: list[Receipt], output: Path) -> dict[str, Any]:
    """Lay out the results.

    Parameters
    ----------
    job
        The stage; ``before`` is the summary of ``relabel``.
    receipts
        Of all tasks of ``export``, ``measure`` and ``outlines``, as far as they were to run.
    output
        Folder for ``labels.zarr``, the tables of cells and ``provenance.json``, and the masks if
        they are asked for.

    Returns
    -------
    dict
        The record.
    """
    exported, others = _gathered(job, receipts)
    _coarse_levels(job)
    record = _record(job, exported, *others)
    output.mkdir(parents=True, exist_ok=True)
    forget(output, named(record))
    _place(address(job), output / "labels.zarr")
    measured, outlined = ([r for r in receipts if r["stage"] == s] for s in LAST[1:])
    for name in compartments(job.before):
        _tables(job, measured, name, output)
    if "geojson" in job.params["table"]:
        _outlines(job, measured, outlined, output)
    _masks(job, output, exported["checksum"])
    for note in record["notes"]:
        log.warning(note)
    text = json.dumps(record, indent=1)
    _whole(output / RECORD, lambda path: path.write_text(text))
    if job.params["keep_intermediates"] == "none":
        for name in (job.before["flows"], job.before["labels"]):
            job.store.drop(name)
    return record


def _gathered(job: Job, receipts: list[Receipt]) -> tuple[Summary, list[Summary]]:
    """Check the receipts of each stage; returns the summary of ``export``, and of the others."""
    summaries = []
    for stage in last_stages(job.params["measure"], job.params["table"]):
        mine = [r for r in receipts if r["stage"] == stage]
        summary = gather(job.plan, stage, mine, upscale=job.upscales)
        results = summary.pop("results")
        # of what was written, whatever tasks it was written by
        if stage == "export":
            summary["checksum"] = key_of([c for r in results for c in r["checksums"]])
        summaries.append(summary)
    return summaries[0], summaries[1:]


def _tables(job: Job, measured: list[Receipt], name: str, output: Path) -> None:
    """Write the table of a compartment in all formats."""
    wanted = [kind for kind in FORMATS if kind in job.params["table"]]
    asides = {kind: output / f".{name}.{kind}.partial" for kind in wanted}
    write_table(batches(job, measured, name), asides, _sample(job))
    for kind, aside in asides.items():
        aside.replace(output / f"{name}.{kind}")


def _sample(job: Job) -> str:
    """The image's name without what tells its format."""
    return re.sub(
        r"(?i)(\.ome)?\.(zarr|tiff?|btf|qptiff|h5|hdf5)$", "", Path(job.plan.image.address).name
    )


def _outlines(job: Job, measured: list[Receipt], outlined: list[Receipt], output: Path) -> None:
    """Write the outlines of the cells, with what was measured of them."""
    source = ByNumber(job.store, [r["result"] for r in outlined], "rings")
    rows = batches(job, measured)
    pairs = ((batch, _rings(source, batch["CellID"])) for batch in rows)
    planes = job.plan.result(upscale=True).whole[0]
    _whole(
        output / "cells.geojson",
        lambda path: write_geojson(path, pairs, _sample(job), planes=planes),
    )


def _rings(source: ByNumber, ids: NDArray[Any]) -> Table:
    """Rings of the cells of a batch."""
    first, stop = int(ids.min(initial=1)), int(ids.max(initial=0)) + 1
    return joined_rings([rings_in(t, first, stop) for t in source.tables(first, stop)])


def _mask_files(job: Job) -> list[tuple[str, str]]:
    """Compartments and files of the label images as OME-TIFF, if wanted: cells as it was given."""
    given = job.params["mask_tiff"]
    names = compartments(job.before) if given else ()
    return [(name, given if name == CELLS else MASKS[name]) for name in names]


def _masks(job: Job, output: Path, identity: str) -> None:
    """Write the label images as OME-TIFF, if wanted."""
    planned = job.output
    place = (planned.whole, planned.offset) if planned.whole != planned.shape else None
    for name, file in _mask_files(job):
        write_mask(
            address(job),
            output / file,
            name=name,
            levels=len(job.output.factors),
            voxel_size=job.output.voxel_size,
            identity=identity,
            description=_of_level(job),
            place=place,
        )


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
    masks, full, output = _mask_files(job), job.plan.full, job.output
    if not masks or full is None or output is full:
        return []
    files = ", ".join(file for _, file in masks)
    size, whole = (" x ".join(map(str, p.whole[3 - p.dimensions :])) for p in (output, full))
    return [
        f"{files}: {size} pixels of level {output.level}, where the image has {whole}; "
        "for a mask that fits the image give --upscale, or segment level 0"
    ]


def _coarse_levels(job: Job) -> None:
    """Make the levels that are coarser than a region, from the last one that is there."""
    factors = job.output.factors
    for name in compartments(job.before):
        for level in range(levels_here(factors), len(factors)):
            _coarse_level(job, name, level)


def _coarse_level(job: Job, name: str, level: int) -> None:
    factors = job.output.factors
    step = tuple(a // b for a, b in zip(factors[level], factors[level - 1], strict=True))
    source, target = (open_level(address(job), n, name=name) for n in (level - 1, level))
    shapes = [zyx(level_shape(job.output.shape, factors[n])) for n in (level, level - 1)]
    # a single plane has two dimensions in the label image
    chunks = zyx((1,) * (3 - target.ndim) + target.chunks)
    for box in Grid(shapes[0], chunks):
        fine = Box(
            zyx([a * s for a, s in zip(box.start, step, strict=True)]),
            zyx([b * s for b, s in zip(box.stop, step, strict=True)]),
        ).clip(shapes[1])
        read = np.asarray(source[fine.slices[-source.ndim :]]).reshape(fine.shape)
        values = downsample(read, step, fine.start)
        put(target, level_region(fine.start, fine.stop, step), values)


def _place(source: str, target: Path) -> None:
    """Link or copy a folder of the store to where it is wanted, as a whole."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    if "://" in source:
        import fsspec

        fs, path = fsspec.core.url_to_fs(source)
        fs.get(path, str(aside), recursive=True)
    else:
        leftovers = shutil.ignore_patterns("*.partial")
        try:
            shutil.copytree(source, aside, copy_function=os.link, ignore=leftovers)
        except (OSError, shutil.Error):
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(source, aside, ignore=leftovers)
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)


def _whole(path: Path, write: Any) -> None:
    """Write a file aside and rename it, so that it is there whole or not at all."""
    aside = path.with_name(f".{path.name}.partial")
    write(aside)
    aside.replace(path)


def _record(job: Job, *last: Summary) -> dict[str, Any]:
    """What was done, with what, and what it took."""
    plan = job.plan
    done = extended(job, last[-1], *last[:-1])["history"]
    return {
        "terapose": terapose.__version__,
        "package_digest": package_digest(),
        "plan_digest": plan.digest,
        "mode": plan.mode,
        "image": masked_all(plan.image.model_dump(mode="json")),
        "output": job.output.model_dump(
            mode="json", exclude={"version", "dimensions", "voxels", "chunks", "factors", "region"}
        ),
        "model": masked_all(plan.model.model_dump(mode="json")),
        "intensity": plan.intensity.model_dump(mode="json", exclude={"windows"}),
        "network_shape": list(plan.network_shape),
        "rescale": plan.rescale,
        "anisotropy": plan.anisotropy,
        "flow_precision": plan.flow_precision,
        "cells": job.before["cells"],
        "compartments": list(compartments(job.before)),
        "expand": job.before["expand"],
        "second": job.before.get("second"),
        "thumbnails": None if job.params["thumbnails"] is None else THUMBNAILS,
        "tables": table_names(compartments(job.before), job.params["table"]),
        "masks": [file for _, file in _mask_files(job)],
        "notes": _notes(job),
        "stages": {step["stage"]: {k: v for k, v in step.items() if k != "stage"} for step in done},
        "projection": plan.projection.model_dump(mode="json"),
    }
