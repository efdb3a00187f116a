"""Thumbnails of cells, beside labsyspharm's cellcutter: `make compare-cellcutter`.

1. `.cellcutter` is made: cellcutter 0.2.12 with what it needs, pinned by hash.
2. A field of a slide is simulated (seeded) and repeated to slides of each size: 4 channels of 16
   bits, tiles of 1024 pixels, deflate. Two tables have the same cells: one follows the image, one
   is shuffled.
3. `cut_cells` and `terapose cut` cut the same cells, one after the other, as commands of their own:
   seconds, processor seconds, memory of the largest process, size on disk. The arrays are compared,
   value for value; a difference is a failure, but for cells that cellcutter gives the mask of
   another cell, which are counted.
4. 100 random and 100 contiguous cells are read, from arrays of several layouts, by the zarr of
   cellcutter's environment and by our own; the median of several.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cellcutter"
FIELD, CHANNELS, TILE, SEED = 2048, 4, 1024, 1
CELLS = 100
REPEATS = 9
LAYOUTS = {
    "the default": [],
    "16 cells a chunk": ["--cells-per-chunk", "16"],
    "a cell a chunk": ["--cells-per-chunk", "1"],
    "Zarr 3, 16 cells a chunk, shards of 32 MB": [
        *("--zarr-version", "3", "--cells-per-chunk", "16", "--shard-size", "32")
    ],
    "Zarr 3, a cell a chunk, shards of 32 MB": [
        *("--zarr-version", "3", "--cells-per-chunk", "1", "--shard-size", "32")
    ],
}


# -- in either environment ----------------------------------------------------------------------


def read(paths: Sequence[str]) -> None:
    """Print the milliseconds that random and contiguous cells take, of each array, as JSON."""
    import zarr

    found: dict[str, dict[str, float]] = {}
    for path in paths:
        rng = np.random.default_rng(SEED)
        times: dict[str, list[float]] = {"random": [], "contiguous": []}
        for _ in range(REPEATS):
            array: Any = zarr.open(path, mode="r")
            cells = array.shape[1]
            some = np.sort(rng.choice(cells, CELLS, replace=False))
            first = int(rng.integers(0, cells - CELLS))
            begin = time.perf_counter()
            array.get_orthogonal_selection((slice(None), some))
            middle = time.perf_counter()
            array[:, first : first + CELLS]
            times["random"].append(middle - begin)
            times["contiguous"].append(time.perf_counter() - middle)
        found[path] = {name: 1000 * statistics.median(t) for name, t in times.items()}
    print(json.dumps(found))


# -- in Terapose's environment ------------------------------------------------------------------


def make_slides(folder: Path, edges: Sequence[int]) -> None:
    """Write `<edge>.ome.tif`, `<edge>-labels.tif`, `<edge>.csv` and `<edge>-shuffled.csv`."""
    import pandas as pd
    import tifffile
    from scipy.ndimage import center_of_mass

    from terapose.apps.simulate.scene import slide_scene

    whole = (slice(0, 1), slice(0, FIELD), slice(0, FIELD))
    pixels, labels = slide_scene((FIELD, FIELD), channels=CHANNELS, seed=SEED).read(whole)
    pixels, field = pixels[:, 0].astype(np.uint16), labels[0]
    ids = np.unique(field[field > 0])
    rng = np.random.default_rng(SEED)
    centers = np.array(center_of_mass(field > 0, field, ids))

    def tiles(planes: Any, edge: int) -> Iterator[Any]:
        for plane in planes:
            for y in range(0, edge, TILE):
                for x in range(0, edge, TILE):
                    here = plane[y % FIELD :, x % FIELD :][:TILE, :TILE]
                    if plane is field:
                        shift = (y // FIELD * (edge // FIELD) + x // FIELD) * int(ids.max())
                        yield np.where(here > 0, here + shift, 0).astype(np.uint32)
                    else:  # some noise of its own, so that nothing compresses as a repetition
                        yield here + rng.integers(0, 8, here.shape, np.uint16)

    for edge in edges:
        options: dict[str, Any] = {"tile": (TILE, TILE), "compression": "zlib"}
        options |= {"photometric": "minisblack"}
        tifffile.imwrite(
            folder / f"{edge}.ome.tif",
            tiles(pixels, edge),
            shape=(CHANNELS, edge, edge),
            dtype=np.uint16,
            metadata={"axes": "CYX"},
            **options,
        )
        tifffile.imwrite(
            folder / f"{edge}-labels.tif",
            tiles([field], edge),
            shape=(edge, edge),
            dtype=np.uint32,
            **options,
        )
        frames = []
        for number in range((edge // FIELD) ** 2):
            y, x = (FIELD * n for n in divmod(number, edge // FIELD))
            columns = {"CellID": ids + number * int(ids.max())}
            columns |= {"X_centroid": centers[:, 1] + x, "Y_centroid": centers[:, 0] + y}
            frames.append(pd.DataFrame(columns))
        frame = pd.concat(frames).sort_values(["Y_centroid", "X_centroid"])
        frame.to_csv(folder / f"{edge}.csv", index=False)
        frame.sample(frac=1, random_state=SEED).to_csv(folder / f"{edge}-shuffled.csv", index=False)


def run(words: Sequence[str | Path], **environment: str) -> dict[str, float]:
    """Run a command; its seconds, processor seconds, and peak memory of its largest process."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCH, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")
    seconds, processor, peak = json.loads(done.stdout)
    return {"seconds": seconds, "processor": processor, "peak": peak * 1024}


_LAUNCH = """
import json, os, sys, time
begin = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ,
                        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, used = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
"""A small process between: a child's peak starts at that of the process it is forked from."""


def cut(folder: Path, tool: str, edge: int, table: str, options: Sequence[str]) -> dict[str, Any]:
    """Cut with one of the tools; the array is `folder / tool.zarr`."""
    files = [folder / f"{edge}.ome.tif", folder / f"{edge}-labels.tif", folder / f"{table}.csv"]
    out = folder / f"{tool}.zarr"
    if tool == "cellcutter":
        words: list[str | Path] = [PLACE / "bin" / "cut_cells", *files, out, "--force", *options]
        used = run(words, LOGLEVEL="ERROR")
    else:
        words = [sys.executable, ROOT / "bin" / "terapose.py", "cut", *files, out, "-f", *options]
        used = run(words)
    return {**used, "bytes": sum(p.stat().st_size for p in out.iterdir() if p.is_file())}


def differences(folder: Path) -> int:
    """Cells in which the two arrays differ."""
    import zarr

    pair = [zarr.open_array(folder / f"{t}.zarr", mode="r") for t in ("cellcutter", "terapose")]
    if pair[0].shape != pair[1].shape or pair[0].dtype != pair[1].dtype:
        sys.exit(f"{pair[0].shape} {pair[0].dtype} is not {pair[1].shape} {pair[1].dtype}")
    step, wrong = pair[0].chunks[1], 0
    for first in range(0, pair[0].shape[1], step):
        a, b = (np.asarray(array[:, first : first + step]) for array in pair)
        wrong += int((a != b).any((0, 2, 3)).sum())
    return wrong


def compare_cutting(folder: Path, edges: Sequence[int]) -> list[dict[str, Any]]:
    """Cut with both tools, in every way; prints a row each."""
    rows = []
    print("| slide | table | options | tool | seconds | processor | peak | on disk |")
    print("| ---: | --- | --- | --- | ---: | ---: | ---: | ---: |")
    bounded = ["--cache-size", "64"]
    for edge in edges:
        cases: list[tuple[str, list[str]]] = [
            (str(edge), ["-p", "1"]),
            (f"{edge}-shuffled", ["-p", "1"]),
            (str(edge), ["-p", "1", *bounded]),
            (f"{edge}-shuffled", ["-p", "1", *bounded]),
            (str(edge), ["-p", "1", "--mask-cells"]),
        ]
        for table, options in cases:
            for tool in ("cellcutter", "terapose"):
                if tool == "cellcutter" and "shuffled" in table and bounded[0] in options:
                    continue  # decodes the slide again for every chunk
                used = cut(folder, tool, edge, table, options)
                row = {"edge": edge, "table": table, "options": options, "tool": tool, **used}
                rows.append(row)
                order = "shuffled" if "shuffled" in table else "in order"
                print(
                    f"| {edge} | {order} | {' '.join(options)} | {tool} | {used['seconds']:.1f} | "
                    f"{used['processor']:.1f} | {used['peak'] / 2**20:.0f} MiB | "
                    f"{used['bytes'] / 2**20:.0f} MiB |",
                    flush=True,
                )
            if rows[-2]["tool"] == "terapose":
                continue
            wrong = differences(folder)
            if wrong and "--mask-cells" not in options:
                sys.exit(f"{wrong} cells differ")
            if wrong:
                print(f"(cellcutter gave {wrong} cells the mask of another)")
            rows[-1]["differ"] = wrong
    return rows


def compare_reading(folder: Path, edge: int) -> dict[str, dict[str, Any]]:
    """Read from arrays of both tools; prints a row each."""
    arrays = {"cellcutter": folder / "cellcutter.zarr"}
    cut(folder, "cellcutter", edge, str(edge), [])
    for number, (name, options) in enumerate(LAYOUTS.items()):
        cut(folder, f"layout{number}", edge, str(edge), options)
        arrays[f"terapose, {name}"] = folder / f"layout{number}.zarr"
    found: dict[str, dict[str, Any]] = {name: {} for name in arrays}
    for reader, python in (("theirs", PLACE / "bin" / "python"), ("ours", Path(sys.executable))):
        known = [p for n, p in arrays.items() if reader == "ours" or "Zarr 3" not in n]
        done = subprocess.run(
            [python, __file__, "--read", *known], check=True, capture_output=True, text=True
        )
        times = json.loads(done.stdout)
        for name, path in arrays.items():
            found[name][reader] = times.get(str(path))
    print("| array | files | size | zarr 2.14: random, contiguous | zarr 3: random, contiguous |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, path in arrays.items():
        sizes = [p.stat().st_size for p in path.rglob("*") if p.is_file()]
        found[name] |= {"files": len(sizes), "bytes": sum(sizes)}
        shown = [
            f"{t['random']:.1f}, {t['contiguous']:.1f} ms" if t else "-"
            for t in (found[name]["theirs"], found[name]["ours"])
        ]
        size = f"{sum(sizes) / 2**20:.0f} MiB"
        print(f"| {name} | {len(sizes)} | {size} | {shown[0]} | {shown[1]} |", flush=True)
    return found


def main() -> None:
    """Compare, and fail where the arrays differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edges", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    parser.add_argument("--read", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(given.read)
        return
    from importlib.metadata import version

    from benchmarks.environments import bring_up

    if any(edge % FIELD for edge in given.edges):
        parser.error(f"edges are multiples of {FIELD}")
    bring_up(PLACE, "cellcutter.txt")
    with tempfile.TemporaryDirectory(prefix="cut-") as name:
        folder = Path(name)
        make_slides(folder, given.edges)
        rows = compare_cutting(folder, given.edges)
        reading = compare_reading(folder, given.edges[-1])
    used = f"{platform.machine()}, {os.cpu_count()} processors, zarr {version('zarr')}"
    print(used)
    if given.json:
        record = {"machine": used, "cutting": rows, "reading": reading}
        given.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
