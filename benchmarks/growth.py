"""Processor time and peak memory of each step against image size: Terapose beside plain Cellpose.

1. Nuclei of 17 pixels are simulated, with a seed, in planes and volumes of several sizes.
2. Terapose: `segment_file` with one process, as `terapose segment` calls it, with all it writes.
3. Cellpose: `CellposeModel.eval` on the whole array, with the same network, the image read from and
   the labels written to a TIFF.

Each side runs in a fresh process, with one thread, which has segmented a small image before,
so that importing and compiling are not counted. Both have to find the same cells. Times are
processor time, which a busy machine changes little. Memory is the peak of the whole process; within
one process memory that was freed is not always given back, so a step shows at least what the one
before it left.

Rows are kept in a JSON file, so sizes can be measured one by one: a case that is measured again
replaces its rows.

    python -m benchmarks.growth --sizes 256 512 1024 2048 --volumes 64 96 --output docs/profile.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from benchmarks.pages import into

from terapose.apps.profile.steps import Power, Step, groups, totals

DIAMETER, VOXEL = 17.0, 0.5
"""Pixels of a nucleus, for which the shipped network was made, and um of a pixel."""
SMALL = {True: (1, 128, 128), False: (32, 48, 48)}
ROWS = Path("docs/profile.json")
BEGIN, END = "<!-- profile: begin -->", "<!-- profile: end -->"
OURS, THEIRS = "Terapose", "Cellpose"
Shape = tuple[int, int, int]
Rows = list[dict[str, Any]]


def simulate(shape: Shape, path: Path) -> None:
    """Write an image."""
    from terapose.apps.simulate.scene import slide, volume

    if shape[0] == 1:
        size = shape[1], shape[2]
        image, _ = slide(size, seed=1, pixel_size=VOXEL, diameter=DIAMETER * VOXEL, channels=1)
    else:
        image, _ = volume(shape, seed=1, voxel_size=(VOXEL,) * 3, diameter=DIAMETER * VOXEL)
    zarr.create_array(
        str(path),
        data=image.reshape(shape),
        chunks=tuple(min(n, 256) for n in shape),
        dimension_names=list("zyx"),
    )


def ours(shape: Shape, folder: Path) -> Rows:
    """Run Terapose; returns its steps."""
    from terapose.api.runner import segment_file
    from terapose.core.params import check

    given = {"diameter": DIAMETER, "anisotropy": 1.0, "percentile_sampling": "cellpose"}
    params = check({**given, "measure": "none", "table": "csv"})
    record = segment_file(str(folder / "image.zarr"), folder / "out", params)
    return [
        {"name": name, "seconds": stage["processor_seconds"], "memory": stage["peak_memory"]}
        for name, stage in record["stages"].items()
    ]


def cellposes(shape: Shape, folder: Path) -> Rows:
    """Run Cellpose; returns its steps."""
    import tifffile
    from benchmarks.oracle import model_of, stable_sort

    from terapose.networks.loading import load
    from terapose.networks.weights import resolve
    from terapose.pipeline.peak import forget_peak, peak_memory

    rows: Rows = []

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **options: Any) -> Any:
            forget_peak()
            begun = time.process_time()
            found = function(*words, **options)
            seconds = time.process_time() - begun
            rows.append({"name": name, "seconds": seconds, "memory": peak_memory()})
            return found

        return run

    flat = shape[0] == 1
    network = load(resolve("auto"))
    model = model_of(network)
    model._run_net = timed("network", model._run_net)
    model._compute_masks = timed("masks", model._compute_masks)
    read = timed("read", lambda: np.asarray(zarr.open_array(folder / "image.zarr", mode="r")))
    image = read().astype(np.float32)
    options: dict[str, Any] = {"bsize": network.tile, "channel_axis": -1}
    options |= {} if flat else {"do_3D": True, "z_axis": 0, "flow_threshold": 0.0}
    begun = time.process_time()
    with stable_sort():
        labels = model.eval((image[0] if flat else image)[..., None], **options)[0]
    inner = sum(row["seconds"] for row in rows if row["name"] in ("network", "masks"))
    other = time.process_time() - begun - inner
    rows.append({"name": "normalise and flows as colours", "seconds": other, "memory": None})
    save = timed("write", lambda: tifffile.imwrite(folder / "cellpose.tif", labels))
    save()
    return rows


def alone(side: Callable[[Shape, Path], Rows], shape: Shape, folder: Path) -> Rows:
    """Run one side in a fresh process, on a small image before."""
    context = multiprocessing.get_context("spawn")
    small = folder / f"small-{side.__name__}"
    small.mkdir()
    size = SMALL[shape[0] == 1]
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(simulate, size, small / "image.zarr").result()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(side, size, small).result()
        return pool.submit(side, shape, folder).result()


def measure(shape: Shape) -> Rows:
    """Rows of both sides.

    Raises
    ------
    RuntimeError
        If they find different cells.
    """
    import tifffile
    from benchmarks.oracle import differing

    from terapose.io.labels.ome_zarr import open_level

    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder = Path(name)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(simulate, shape, folder / "image.zarr").result()
        for side, run in ((OURS, ours), (THEIRS, cellposes)):
            found = alone(run, shape, folder)
            rows += [{"side": side, "shape": list(shape), **row} for row in found]
        labels = np.asarray(open_level(str(folder / "out" / "labels.zarr"), 0)[:]).reshape(shape)
        theirs = tifffile.imread(folder / "cellpose.tif").reshape(shape)
        if differ := differing(labels, theirs):
            raise RuntimeError(f"{shape}: {differ} voxels are in other cells")
    return [{**row, "cells": int(labels.max())} for row in rows]


def steps_of(rows: Rows) -> list[Step]:
    """Rows as steps, which are compared by mode and side."""
    return [
        Step(
            str(row["shape"]),
            row["name"],
            "planes" if row["shape"][0] == 1 else "volumes",
            row["side"],
            tuple(row["shape"]),
            1,
            seconds=row["seconds"],
            memory=row["memory"],
        )
        for row in rows
    ]


def report(rows: Rows) -> str:
    """The tables in Markdown."""
    cells = {str(row["shape"]): row["cells"] for row in rows}
    whole = {(s.result, side): s for side in (OURS, THEIRS) for s in _of(rows, side)}
    lines = [
        "| image | cells | Terapose | Cellpose | ratio | memory | Cellpose's memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result, n in cells.items():
        mine, other = whole[result, OURS], whole[result, THEIRS]
        times = [mine.seconds or 0, other.seconds or 0]
        row = [_shape(mine.shape), f"{n:,}", *(f"{t:.1f} s" for t in times)]
        row += [
            f"{times[1] / times[0]:.2f}",
            *(f"{(s.memory or 0) / 1e9:.2f} GB" for s in (mine, other)),
        ]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| step of the largest image | processor time | share | time | memory |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for group in groups(steps_of(rows)):
        shape = _shape(group.growth[-1].step.shape)
        lines.append(f"| **{group.network}, {shape}** | | | | |")
        for one in group.growth:
            row = [one.step.name, f"{one.step.seconds:.2f} s", f"{one.share or 0:.0%}"]
            row += [_power(one.seconds), _power(one.memory)]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _of(rows: Rows, side: str) -> list[Step]:
    return totals(steps_of([row for row in rows if row["side"] == side]))


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape[1:] if shape[0] == 1 else shape))


def _power(power: Power | None) -> str:
    return "-" if power is None else f"n^{power.exponent:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases that are asked for, and write all that are known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=[], help="Edges of planes.")
    parser.add_argument("--volumes", nargs="*", type=int, default=[], help="Edges of volumes.")
    parser.add_argument("--rows", type=Path, default=ROWS, help="File with all rows.")
    parser.add_argument("--output", type=Path, help="The page that has the tables.")
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    rows: Rows = json.loads(given.rows.read_text()) if given.rows.exists() else []
    shapes = [(1, n, n) for n in given.sizes] + [(n, n, n) for n in given.volumes]
    for shape in shapes:
        found = measure(shape)
        rows = [row for row in rows if row["shape"] != list(shape)] + found
        rows.sort(key=lambda row: (row["shape"][0] > 1, row["shape"], row["side"] != OURS))
        given.rows.write_text(json.dumps(rows, indent=1) + "\n")
        print(report([row for row in rows if row["shape"] == list(shape)]), flush=True)
    if given.output is not None:
        into(given.output, report(rows), BEGIN, END)


if __name__ == "__main__":
    main()
