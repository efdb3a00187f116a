"""What a whole job takes beside its network: `python -m benchmarks.whole_job PART ...`.

All images are simulated, with a seed: nuclei of 17 pixels, for which the shipped network is made.

- ``slide``, ``volume``: `terapose segment` of one, with one process and with two. Wall time and
  processor time of the whole command, and the seconds of its network's tasks as `provenance.json`
  has them: with one process that is their wall time, with two they may overlap.
- ``workflow``: an empty workflow, then `nextflow run` of one slide of 512 pixels, then of 50 by a
  samplesheet. Processor time of everything that was started, and for each slide what is left
  without the empty workflow and without the stages' own, as `provenance.json` has it.
- ``store``: bytes that the stages read and wrote, as the kernel counts them, for each voxel of the
  network's grid: a plane and a volume. Those of the network include the file of weights. As in a
  run of this size, which holds in memory flows and what leads from them to labels; as in larger
  ones, where all of it is in the store; and both with `flow_precision` float16.

Wall times are for an idle machine; a busy one changes processor time little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import masks
from benchmarks.growth import DIAMETER, simulate

from terapose.pipeline.local import run_stages

ROOT = Path(__file__).parents[1]
SLIDE, SMALL, MANY, VOLUME = 2048, 512, 50, 160
SHEET = (64, 512, 512)


def timed(words: Sequence[object], folder: Path) -> tuple[float, float]:
    """Run a command; returns wall time and processor time, that of its children, too."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run([*map(str, words)], cwd=folder, stdout=log, stderr=log)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError((folder / "log.txt").read_text())
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows):
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def command(folder: Path, shape: tuple[int, int, int]) -> None:
    """Parts ``slide`` and ``volume``."""
    simulate(shape, folder / "image.zarr")
    rows, given = [], ("--diameter", DIAMETER, *("--anisotropy", 1) * (shape[0] > 1))
    for jobs in (1, 2):
        out = folder / f"out{jobs}"
        words = [sys.executable, ROOT / "bin/terapose.py", "segment", folder / "image.zarr", out]
        wall, processor = timed([*words, *given, "--jobs", jobs], folder)
        stages = json.loads((out / "provenance.json").read_text())["stages"]
        network = sum(s["seconds"] for name, s in stages.items() if name.startswith("gradients"))
        times = (f"{seconds:.1f} s" for seconds in (wall, processor, network))
        name = " x ".join(map(str, shape[shape[0] == 1 :]))
        ratio = f"{wall / network:.2f}" if jobs == 1 else "-"
        rows.append([f"{name}, `--jobs {jobs}`", *times, ratio])
    table(("segment", "wall", "processor", "network's tasks", "ratio of walls"), rows)


def workflow(folder: Path, edge: int, many: int) -> None:
    """Part ``workflow``."""
    (folder / "empty.nf").write_text("workflow { }\n")
    empty = timed(["nextflow", "run", "empty.nf"], folder)
    rows = [["an empty workflow", *(f"{seconds:.1f} s" for seconds in empty), "-", "-"]]
    for count in (1, many):
        place = folder / str(count)
        place.mkdir()
        names = [f"slide{n}" for n in range(count)]
        for name in names:
            simulate((1, edge, edge), place / f"{name}.zarr")
        sheet = ["sample,image", *(f"{name},{place / name}.zarr" for name in names)]
        (place / "sheet.csv").write_text("\n".join(sheet) + "\n")
        words = ["nextflow", "run", ROOT, "-ansi-log", "false", "--diameter", DIAMETER]
        took = timed([*words, "--input", "sheet.csv", "--outdir", "out"], place)
        records = [
            json.loads((place / "out" / name / "provenance.json").read_text()) for name in names
        ]
        own = sum(s["processor_seconds"] for r in records for s in r["stages"].values())
        beyond = [took[0] - empty[0], (took[1] - empty[1] - own) / count]
        times = (f"{seconds:.1f} s" for seconds in (*took, *beyond))
        rows.append([f"{count} of {edge} x {edge}", *times])
    head = ("nextflow run", "wall", "processor", "wall beyond the empty one")
    table(
        (*head, "processor time per slide, without the empty workflow and the stages' work"), rows
    )


def store(case: masks.Case, folder: Path) -> list[tuple[int, int]]:
    """Bytes read and written by the network's stages, and by those after it."""
    counts: list[tuple[int, int]] = []

    def counted(*words: Any, **options: Any) -> Any:
        read, written = bytes_so_far()
        done = run_stages(*words, **options)
        after = bytes_so_far()
        counts.append((after[0] - read, after[1] - written))
        return done

    with patch("benchmarks.masks.run_stages", counted):
        masks.prepare(case, folder)
        masks.ours(case, folder)
    network, *others = counts
    return [network, (sum(c[0] for c in others), sum(c[1] for c in others))]


def bytes_so_far() -> tuple[int, int]:
    """That this process has read and written so far, from disk or from what is cached of it."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def traffic(folder: Path, edges: tuple[int, int]) -> None:
    """Part ``store``."""
    plane, volume = masks.Case((1, edges[0], edges[0]), 0.4), masks.Case((edges[1],) * 3)
    ways: dict[str, dict[str, Any]] = {
        "held": {},
        "held, float16": {"precision": "float16"},
        "in the store": {"held": False},
        "in the store, float16": {"held": False, "precision": "float16"},
    }
    rows = []
    for case, (way, given) in itertools.product((plane, volume), ways.items()):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            for shape in (masks.SMALL[case.is_flat], case.shape):
                # the small one imports and compiles
                place = folder / f"{way} {shape}"
                place.mkdir()
                one = replace(case, shape=shape, **given)
                found = pool.submit(store, one, place).result()
        pairs = [*found, [sum(pair) for pair in zip(*found, strict=True)]]
        voxels = math.prod(case.shape)
        numbers = (f"{n / voxels:.1f}" for pair in pairs for n in pair)
        rows.append([f"{case.name}, {way}", *numbers])
    parts = ("network: read", "written", "other stages: read", "written", "all: read", "written")
    table(("bytes a voxel", *parts), rows)


def main() -> None:
    """Measure the parts that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=("slide", "volume", "workflow", "store"))
    parser.add_argument("--slide", type=int, default=SLIDE, help="Edge of the slide, in pixels.")
    parser.add_argument("--small", type=int, default=SMALL, help="Edge of the workflow's slides.")
    parser.add_argument("--many", type=int, default=MANY, help="How many of them.")
    parser.add_argument("--volume", type=int, default=VOLUME, help="Edge of part store's volume.")
    parser.add_argument("--shape", type=int, nargs=3, default=SHEET, help="ZYX of part volume.")
    given = parser.parse_args()
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="whole-job-") as name:
            if part == "slide":
                command(Path(name), (1, given.slide, given.slide))
            elif part == "volume":
                command(Path(name), tuple(given.shape))
            elif part == "workflow":
                workflow(Path(name), given.small, given.many)
            else:
                traffic(Path(name), (given.slide, given.volume))


if __name__ == "__main__":
    main()
