"""finish: check that all is exported, complete the pyramid, and lay the results out.

The label image is not copied: its files are linked into the result folder (copied where the file
system cannot link). The record of the run, ``provenance.json``, is written last: where it stands,
the rest is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import terapose
from terapose.geometry import Box, Grid, zyx
from terapose.job import Job, Receipt, Summary, extended, gather
from terapose.labels import downsample, level_region, level_shape, open_level
from terapose.mask import write_mask
from terapose.plan import key_of, package_digest
from terapose.stages.export import address, levels_here, put


def run(job: Job, receipts: list[Receipt], output: Path) -> dict[str, Any]:
    """Lay out the results.

    Parameters
    ----------
    job
        The stage; ``before`` is the summary of ``relabel``.
    receipts
        Of all tasks of ``export``.
    output
        Folder for ``labels.zarr``, ``cells.csv``, ``cells.parquet`` and ``provenance.json``, and
        the mask if one is asked for.

    Returns
    -------
    dict
        The record.
    """
    summary = gather(job.plan, "export", receipts)
    # of the regions, whatever tasks they were written by
    regions = [c for result in summary.pop("results") for c in result["checksums"]]
    summary["checksum"] = key_of(regions)
    _coarse_levels(job)
    output.mkdir(parents=True, exist_ok=True)
    _forget(output)
    _place(address(job), output / "labels.zarr")
    cells = pd.DataFrame(job.store.get_table(f"{job.before['relabel']}/cells.npz"))
    _whole(output / "cells.csv", lambda path: cells.to_csv(path, index=False, float_format="%.6g"))
    _whole(output / "cells.parquet", lambda path: cells.to_parquet(path, index=False))
    if job.params["mask_tiff"]:
        write_mask(
            address(job),
            output / job.params["mask_tiff"],
            levels=len(job.plan.output.factors),
            voxel_size=job.plan.image.voxel_size,
            identity=summary["checksum"],
        )
    record = _record(job, summary)
    text = json.dumps(record, indent=1)
    _whole(output / "provenance.json", lambda path: path.write_text(text))
    if job.params["keep_intermediates"] == "none":
        for name in (job.before["flows"], job.before["labels"]):
            job.store.drop(name)
    return record


def _forget(output: Path) -> None:
    """Remove what says that results are complete, and the mask of an earlier run."""
    record = output / "provenance.json"
    if record.exists():
        earlier = json.loads(record.read_text()).get("mask_tiff")
        if earlier:
            (output / earlier).unlink(missing_ok=True)
        record.unlink()


def _coarse_levels(job: Job) -> None:
    """Make the levels that are coarser than a region, from the last one that is there."""
    factors = job.plan.output.factors
    here = levels_here(factors)
    for level in range(here, len(factors)):
        step = tuple(a // b for a, b in zip(factors[level], factors[level - 1], strict=True))
        source, target = open_level(address(job), level - 1), open_level(address(job), level)
        shapes = [zyx(level_shape(job.plan.image.shape, factors[n])) for n in (level, level - 1)]
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


def _record(job: Job, exported: Summary) -> dict[str, Any]:
    """What was done, with what, and what it took."""
    plan = job.plan
    done = extended(job, exported)["history"]
    return {
        "terapose": terapose.__version__,
        "package_digest": package_digest(),
        "plan_digest": plan.digest,
        "mode": plan.mode,
        "image": plan.image.model_dump(mode="json"),
        "model": plan.model.model_dump(mode="json"),
        "intensity": plan.intensity.model_dump(mode="json", exclude={"windows"}),
        "network_shape": list(plan.network_shape),
        "rescale": plan.rescale,
        "anisotropy": plan.anisotropy,
        "flow_precision": plan.flow_precision,
        "cells": job.before["cells"],
        "mask_tiff": job.params["mask_tiff"],
        "stages": {step["stage"]: {k: v for k, v in step.items() if k != "stage"} for step in done},
        "projection": plan.projection.model_dump(mode="json"),
    }
