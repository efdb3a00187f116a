"""Memory and processor time of the gathers of a volume, at several numbers of cells.

No image is segmented: the tables that the tasks of ``peaks`` and ``masks`` would leave are made up,
for a cell at every 20th voxel along each axis; a tenth of them have a hole of three voxels. Then
``seeds``, ``objects``, ``relabel`` and the table of cells as CSV and Parquet (``measure: none``)
run as they are, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from terapose.core.geometry import ZYX, Box
from terapose.core.params import check
from terapose.core.tables import Table, merged
from terapose.intermediates.cell_table import batches
from terapose.io.store.long_tables import put_rows
from terapose.io.store.store import Store
from terapose.io.tables.writers import write_table
from terapose.networks.files import identify
from terapose.networks.weights import resolve
from terapose.pipeline.checked import open_checked
from terapose.pipeline.job import Job, Receipt, stage_key
from terapose.pipeline.local import stage_params
from terapose.pipeline.peak import peak_memory
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State

ROOT = Path(__file__).resolve().parents[1]
STEP = 20
BEFORE = State(key="made", flows="none", ends="ends", counts="counts")
"""Of the stage before the first gather."""
SHAPES: tuple[ZYX, ...] = ((512, 4000, 4000), (2048, 4000, 4000), (2048, 8000, 8000))


class Made:
    """A plan and store of a volume, with made-up results of its scattered stages."""

    def __init__(self, folder: Path, shape: ZYX) -> None:
        image = folder / "image.zarr"
        zarr.create_array(
            str(image), shape=shape, chunks=(64, 256, 256), dtype="uint16", dimension_names="zyx"
        )
        self.params = check({"model": "nuclei-small", "measure": "none", "table": "csv,parquet"})
        model = identify(resolve("nuclei-small"))
        self.plan = make_plan(open_checked(str(image), self.params), model, self.params)
        self.store = Store(str(folder / "store"))
        self.cells: ZYX = tuple(n // STEP for n in shape)  # type: ignore[assignment]

    def job(self, stage: str, before: State) -> Job:
        """A gather."""
        return Job(self.plan, self.store, stage, 0, stage_params(self.params, stage), before)

    def receipts(self, stage: str, make: Callable[[Box], dict[str, Table]]) -> list[Receipt]:
        """Write what tasks would leave; returns their receipts, which lack a key."""
        return [self._receipt(stage, task, make) for task in range(len(self.plan.tasks[stage]))]

    def _receipt(self, stage: str, task: int, make: Callable[[Box], dict[str, Table]]) -> Receipt:
        items = self.plan.batch(stage, task)
        parts = [make(self.plan.grid[item]) for item in items]
        result: dict[str, Any] = {"found": 0, "checksums": []}
        for kind in parts[0]:
            tables = [part[kind] for part in parts]
            result[kind] = f"made/{stage}/{task}-{kind}.npz"
            if kind == "seeds":
                self.store.put_table(result[kind], merged(tables))
            else:
                numbers = put_rows(self.store, result[kind], tables)
            if kind == "objects":
                result |= {"found": sum(len(t["id"]) for t in tables), **numbers}
        told = {"stage": stage, "plan": self.plan.digest, "task": task}
        used = {"params": {}, "seconds": 0.0, "peak_memory": 0}
        return {**told, **used, "items": [items.start, items.stop], "result": result}

    def _cells(self, block: Box) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Number and seed (ZYX) of the cells of a block."""
        ranges = [
            np.arange(-(-(a - STEP // 2) // STEP), -(-(b - STEP // 2) // STEP)).clip(0, n - 1)
            for a, b, n in zip(block.start, block.stop, self.cells, strict=True)
        ]
        at = np.stack(np.meshgrid(*map(np.unique, ranges), indexing="ij"), -1).reshape(-1, 3)
        seed = at * STEP + STEP // 2
        mine = ((seed >= block.start) & (seed < block.stop)).all(axis=1)
        return np.ravel_multi_index(tuple(at[mine].T), self.cells) + 1, seed[mine]

    def peaks(self, block: Box) -> dict[str, Table]:
        """Seeds of a block."""
        number, seed = self._cells(block)
        position = np.ravel_multi_index(tuple(seed.T), self.plan.image.shape).astype(np.uint64)
        return {"seeds": {"position": position, "count": np.full(len(number), 50, np.int32)}}

    def masks(self, block: Box) -> dict[str, Table]:
        """Objects of a block and their holes."""
        number, seed = self._cells(block)
        count = 400 + number * 7919 % 200
        columns = {f"{a}{n}": seed[:, i] + (-5, 6)[n] for n in (0, 1) for i, a in enumerate("zyx")}
        columns |= {f"sum_{a}": seed[:, i] * count for i, a in enumerate("zyx")}
        shape = self.plan.image.shape
        first = np.ravel_multi_index(tuple((seed - (5, 0, 0)).T), shape)
        cells: Table = {"id": number, "count": count, "first": first, **columns}
        cells["sum_probability"] = count * 1.5
        hollow = np.repeat(np.flatnonzero(number % 10 == 0), 3)
        inside = seed[hollow] + np.arange(len(hollow))[:, np.newaxis] % 3 * (0, 0, 1)
        holes: Table = {
            "id": number[hollow],
            "voxel": np.ravel_multi_index(tuple(inside.T), shape),
            "under": np.zeros(len(hollow), np.int64),
            "probability": np.zeros(len(hollow), np.float32),
        }
        return {"objects": cells, "holes": holes}


def write(job: Job) -> State:
    """Write the table of cells in two formats."""
    folder = Path(job.store.address)
    write_table(
        batches(job, []), {k: folder / f"cells.{k}" for k in ("csv", "parquet")}, "made", "cells"
    )
    return job.before


def gathers(made: Made) -> list[tuple[str, Callable[..., Any], list[list[Receipt]]]]:
    """Name of each gather, its function, and the receipts that it takes beside its job."""
    return [
        ("seeds", run_gather, [made.receipts("peaks", made.peaks)]),
        ("objects", run_gather, [made.receipts("masks", made.masks)]),
        ("relabel", run_gather, [[]]),
        ("finish", write, []),
    ]


def keyed(receipts: list[Receipt], before: State) -> list[Receipt]:
    """Receipts with the key of tasks that come after a state."""
    return [{**r, "key": stage_key(r["stage"], r["params"], before.key)} for r in receipts]


def _measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float, int]:
    begin = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - begin, peak_memory()


def measure(folder: Path, shape: ZYX) -> dict[str, Any]:
    """Run the gathers of a volume; returns cells, processor seconds and peak memory of each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = Made(folder, shape)
    before = BEFORE
    row: dict[str, Any] = {"shape": shape, "cells": int(np.prod(made.cells)), "gathers": {}}
    for name, function, receipts in gathers(made):
        # a process of its own: the system tells a process the largest memory it ever had
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            arguments = (made.job(name, before), *(keyed(each, before) for each in receipts))
            before, seconds, peak = pool.submit(_measured, function, arguments).result()
        row["gathers"][name] = {"seconds": round(seconds, 1), "peak": peak}
    shutil.rmtree(folder)
    return row


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    heads = " | ".join(f"{r['cells']:,} cells" for r in rows)
    lines = [f"| gather | {heads} |", "| --- " * (len(rows) + 1) + "|"]
    for name in rows[0]["gathers"]:
        found = [r["gathers"][name] for r in rows]
        cells = " | ".join(f"{g['peak'] / 1e6:,.0f} MB, {g['seconds']:,.0f} s" for g in found)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, default=len(SHAPES), help="how many of the volumes")
    parser.add_argument("--folder", type=Path, default=Path("tables"), help="scratch: 5 GB")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "tables.json")
    given = parser.parse_args()
    rows = [measure(given.folder.resolve(), shape) for shape in SHAPES[: given.sizes]]
    given.json.write_text(
        json.dumps({"machine": platform.machine(), "rows": rows}, indent=1) + "\n"
    )
    print(report(rows))


if __name__ == "__main__":
    main()
