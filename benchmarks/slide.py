"""A whole slide through the workflow: memory of every task at two sizes, and the bytes of two cuts.

1. A slide is simulated (nuclei, cell bodies, two markers; uint16) and written as slides come: a
   BigTIFF with tiles, deflate, a predictor and a pyramid in SubIFDs. It is kept for later runs.
2. ``nextflow run`` segments it once for each way of cutting the work (`CUTS`). A run that was
   stopped goes on where it was; minutes are those of all tasks together, whenever they ran.
3. The peak memory of every task is in Nextflow's trace and in the tasks' receipts. The store is
   weighed while it runs, and labels and table of all cuts have to be the same bytes.

Rows are added to a JSON file, which keeps those of earlier runs; the tables are printed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from terapose.apps.simulate.scene import slide_scene
from terapose.apps.simulate.write import write

ROOT = Path(__file__).resolve().parents[1]
PIXEL = 0.5
RULES = ("--mode", "2d", "--diameter", "18", "--channels", "1")
CUTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "other": ("--block_shape", "1,700,1500", "--rectangle", "2300", "--max_tasks", "37"),
}
TRACE = """trace.raw = true
trace.fields = 'process,tag,status,exit,start,complete,realtime,peak_rss,%cpu'
"""


def make_slide(path: Path, edge: int, seed: int) -> None:
    """Write a slide of ``edge`` x ``edge`` pixels and four channels."""
    scene = slide_scene((edge, edge), seed=seed, channels=4, pixel_size=PIXEL)
    plain, labels = write(scene, path.with_name("plain.ome.tif"), overwrite=True)
    labels.unlink()
    image = tifffile.memmap(plain, mode="r")
    levels = 1
    while edge >> levels >= 1024:
        levels += 1
    names = {"Name": ["nuclei", "cell bodies", "marker 1", "marker 2"]}
    size = {f"PhysicalSize{axis}": PIXEL for axis in "XY"}
    aside = path.with_suffix(".partial")
    with tifffile.TiffWriter(aside, bigtiff=True, ome=True) as file:
        for level in range(levels):
            part = image[:, :: 1 << level, :: 1 << level]
            file.write(
                _tiles(part),
                shape=part.shape,
                dtype=part.dtype,
                tile=(1024, 1024),
                compression="zlib",
                compressionargs={"level": 3},
                predictor=True,
                photometric="minisblack",
                subifds=levels - 1 if level == 0 else None,
                subfiletype=1 if level else 0,
                metadata=None if level else {"axes": "CYX", "Channel": names, **size},
            )
    del image
    plain.unlink()
    aside.replace(path)


def _tiles(image: NDArray[np.uint16]) -> Iterator[NDArray[np.uint16]]:
    """Tiles of a CYX image in the file's order, padded at the far edges."""
    for plane in image:
        for y in range(0, plane.shape[0], 1024):
            for x in range(0, plane.shape[1], 1024):
                part = plane[y : y + 1024, x : x + 1024]
                tile = np.zeros((1024, 1024), np.uint16)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def segment(image: Path, folder: Path, cut: str) -> dict[str, Any]:
    """Run the workflow once; returns what it took and what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trace.config").write_text(TRACE)
    command = ["nextflow", "run", ROOT, "-ansi-log", "false", "-c", "trace.config", "-resume"]
    command += ["--input", image, "--outdir", "out", *RULES, *CUTS[cut]]
    most = 0
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], cwd=folder, stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(5)
            most = max(most, sum(map(_weight, folder.glob("work/*/*/store"))))
    if process.returncode:
        raise RuntimeError((folder / "log.txt").read_text())
    out = folder / "out" / image.name.removesuffix(".ome.tif")
    with (folder / "out/pipeline_info/trace.txt").open(newline="") as file:
        tasks = list(csv.DictReader(file, delimiter="\t"))
    record = json.loads((out / "provenance.json").read_text())
    processes = _processes(tasks, record["stages"])
    return {
        "cut": cut,
        "shape": record["image"]["shape"][1:],
        "cells": record["cells"],
        "store": most,
        "image": image.stat().st_size,
        "labels": _digest(sorted(out.glob("labels.zarr/**/*"))),
        "table": _digest([out / "cells.csv"]),
        "seconds": round(sum(p["seconds"] for p in processes.values())),
        "processes": processes,
    }


def _processes(
    tasks: Sequence[dict[str, str]], stages: dict[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """For each process its tasks, the largest peak of their memory, and their seconds.

    Nextflow looks at a task every second or so and can miss the peak; a task's receipt has the
    system's own figure for its Python. The larger one counts.
    """
    found: dict[str, dict[str, float]] = {}
    for task in tasks:
        row = found.setdefault(
            task["process"].rpartition(":")[2], {"tasks": 0, "peak": 0, "seconds": 0}
        )
        row["tasks"] += 1
        row["peak"] = max(row["peak"], int(task["peak_rss"] or 0))
        row["seconds"] = round(row["seconds"] + int(task["realtime"] or 0) / 1000, 1)
    for name, row in found.items():
        stage = stages.get(name.lower().replace("_", "-"), {})
        row["peak"] = max(row["peak"], stage.get("peak_memory") or 0)
    return found


def _weight(folder: Path) -> int:
    """Bytes of the files in a folder that is being worked in."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue  # dropped meanwhile
    return total


def _digest(paths: Sequence[Path]) -> str:
    """SHA-256 of the names and bytes of files."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown: runs, then the memory of their processes."""
    lines = [
        "| slide | cut | cells | minutes of tasks | store, peak | labels |",
        "| --- " * 6 + "|",
    ]
    for r in rows:
        lines.append(
            f"| {r['shape'][0]:,} x {r['shape'][1]:,} | {r['cut']} | {r['cells']:,} | "
            f"{r['seconds'] / 60:.1f} | {r['store'] / 1e9:.1f} GB | `{r['labels'][:12]}` |"
        )
    heads = [f"{r['shape'][0]:,}, {r['cut']}" for r in rows]
    lines += ["", f"| process | {' | '.join(heads)} |", "| --- " * (len(rows) + 1) + "|"]
    for name in rows[-1]["processes"]:
        cells = []
        for r in rows:
            p = r["processes"].get(name)
            cells.append(f"{p['peak'] / 1e6:,.0f} MB in {p['tasks']:.0f}" if p else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, check that the cuts agree, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edges", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--cuts", nargs="+", choices=CUTS, default=list(CUTS))
    parser.add_argument("--folder", type=Path, default=Path("slides"), help="scratch: 30 GB")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "slides.json")
    given = parser.parse_args(words)
    folder = given.folder.resolve()
    rows = json.loads(given.json.read_text())["rows"] if given.json.exists() else []
    for edge in given.edges:
        image = folder / f"slide-{edge}.ome.tif"
        if not image.exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_slide(image, edge, seed=edge)
        for cut in given.cuts:
            row = segment(image, folder / f"run-{edge}-{cut}", cut)
            shutil.rmtree(folder / f"run-{edge}-{cut}")
            rows = [r for r in rows if (r["shape"], r["cut"]) != (row["shape"], cut)] + [row]
            rows.sort(key=lambda r: (r["shape"], r["cut"]))
            machine = f"{platform.machine()}, {os.cpu_count()} processors"
            given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(report(rows))
    for edge in given.edges:
        same = {(r["labels"], r["table"]) for r in rows if r["shape"] == [edge, edge]}
        if len(same) > 1:
            raise SystemExit(f"{edge}: the cuts differ")


if __name__ == "__main__":
    main()
