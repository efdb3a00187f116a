"""Export and finish: every level of the pyramid is the nearest voxel of the finest, whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.fields import NETWORK, balls, prepared, run_stages, scatter, to_centres

from terapose.core.geometry import ZYX, Box
from terapose.core.params import check
from terapose.intermediates import label_store
from terapose.io.labels.ome_zarr import open_level
from terapose.pipeline.job import Job, Receipt
from terapose.pipeline.local import stage_params
from terapose.pipeline.plan import Plan, items
from terapose.pipeline.running import run_gather
from terapose.results import verify
from terapose.stages import finish

SHAPE = (22, 75, 90)
FACTORS = ((1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16))


def small_chunks(plan: Plan, version: str, shards: ZYX) -> Plan:
    """The plan with chunks so small that there are regions, and levels coarser than a region."""
    stored = {"version": version, "chunks": (8, 8, 8), "region": (32, 32, 32), "shards": shards}
    output = plan.output.model_copy(update={**stored, "factors": FACTORS})
    plan = plan.model_copy(update={"output": output})
    count = items(plan, "export")
    tasks = {**plan.tasks, "export": tuple((n, min(n + 2, count)) for n in range(0, count, 2))}
    return plan.model_copy(update={"tasks": tasks})


@pytest.mark.parametrize(
    ("version", "shards", "files"),
    [
        ("0.5", (1, 1, 1), [360, 90, 18, 4, 1]),
        ("0.4", (1, 1, 1), [360, 90, 18, 4, 1]),
        # in a region of 4 chunks there are at most 2 of the second level, and 1 of the third
        ("0.5", (2, 2, 2), [60, 18, 9, 1, 1]),
        ("0.5", (1, 4, 4), [27, 27, 18, 1, 1]),
    ],
)
def test_levels_are_the_nearest_voxels(
    tiny_model: Path, tmp_path: Path, version: str, shards: ZYX, files: list[int]
) -> None:
    field = to_centres(balls(SHAPE, seed=4, count=40, radius=7))
    plan, store = prepared(tmp_path, tiny_model, np.random.default_rng(0).random(SHAPE))
    plan = small_chunks(plan, version, shards)
    store.write(NETWORK, Box.whole(SHAPE), field)
    result = run_stages(plan, store)
    cells = result.states["relabel"]
    output = tmp_path / "results"
    params = stage_params(check({}), "finish")
    job = Job(plan, store, "finish", 0, {**params, **finish.placed(output)}, cells)
    receipts = scatter(plan, store, "export", {}, cells)
    receipts += scatter(plan, store, "measure", {"measure": params["measure"]}, cells)
    run_gather(job, receipts)

    finest = np.asarray(open_level(str(output / "labels.zarr"), 0)[:])
    assert finest.max() > 20
    np.testing.assert_array_equal(finest, result.labels)
    for level, (z, y, x) in enumerate(FACTORS):
        coarse = np.asarray(open_level(str(output / "labels.zarr"), level)[:])
        np.testing.assert_array_equal(coarse, finest[::z, ::y, ::x])
    table = pd.read_csv(output / "cells.csv")
    np.testing.assert_array_equal(
        table["Volume"], np.bincount(finest.ravel(), minlength=len(table) + 1)[1:]
    )
    record = json.loads((output / "provenance.json").read_text())
    assert record["cells"] == finest.max()
    _links_or_copies(job, receipts, output)
    known = label_store.files_of(job)
    assert known.fine == 3
    keys = {key for region in known.regions for key in known.of_region(region)}
    keys |= {*known.of_coarse_levels()}
    assert [sum(key.startswith(f"cells/{n}/") for key in keys) for n in range(5)] == files
    labels = output / "labels.zarr"
    there = {p.relative_to(labels).as_posix() for p in labels.rglob("*")}
    # voxels of nothing but 0 have no file
    assert 0.5 * len(keys) < len(keys & there) <= len(keys)
    assert verify.faults(output) == []
    one = labels / min(key for key in keys & there if key.startswith("cells/1/"))
    one.write_bytes(one.read_bytes()[::-1])
    assert len(verify.faults(output)) == 1


def _links_or_copies(job: Job, receipts: list[Receipt], copied: Path) -> None:
    """The same bytes in files of their own, or in those of the store where that is asked for."""
    linked = copied.with_name("linked")
    run_gather(replace(job, params={**job.params, **finish.placed(linked, link=True)}), receipts)
    name = label_store.name(job)
    files = [p.relative_to(copied) for p in copied.rglob("labels.zarr/*/*/c/**/*") if p.is_file()]
    files += [p.relative_to(copied) for p in copied.rglob("labels.zarr/*/*/*/**/[0-9]")]
    files = [file for file in files if (copied / file).is_file()]
    assert files
    for file in files:
        kept = Path(job.store.where(f"{name}/{Path(*file.parts[1:])}"))
        assert (linked / file).samefile(kept) and not (copied / file).samefile(kept)
        assert (copied / file).read_bytes() == kept.read_bytes()
