"""What lower precision costs: `make precision DATA=../shared/data`.

Each image is segmented by the shipped network as it is by default (flows stored as float32, network
in float32), and then with ``flow_precision: float16``, with ``precision: bfloat16``, and with both.
Reported for each choice: voxels whose cell is another one (after matching each cell with the one it
overlaps most), AP of its cells against the default's, AP of both against the reference, and bytes
of the store. Images are simulated (seeded), and real ones where a folder of data sets is given.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from terapose.api.runner import segment_file
from terapose.apps.evaluate.scores import average_precision
from terapose.apps.simulate.scene import slide, volume
from terapose.core.params import check
from terapose.io.labels.ome_zarr import open_level

CHOICES: dict[str, dict[str, str]] = {
    "float32 (default)": {},
    "flow_precision float16": {"flow_precision": "float16"},
    "precision bfloat16": {"precision": "bfloat16"},
    "both": {"flow_precision": "float16", "precision": "bfloat16"},
}
PAGE = Path("docs/precision.md")
TEXT = (
    "The default is exact: flows are stored as float32 and the network runs in float32 on a "
    "CPU, as [Exactness](exactness.md) promises. Two parameters trade some of this exactness "
    "for speed or disk space. With neither does the result depend on how the work is divided.",
    "- `flow_precision: float16` stores the sums of the network's passes, and the flows "
    "computed from them, as float16: half the disk space. Each pass rounds the sum once.\n"
    "- `precision: bfloat16` runs the network in bfloat16, as Cellpose 4 does by default. It is "
    "intended for GPUs, where it is fast. On a CPU the speed depends on the processor (see "
    "[benchmarks](benchmarks.md)): U-Nets are about as fast; Cellpose 4 networks are more than "
    "twice as fast with bfloat16 instructions, and many times slower without.",
    "The table shows their cost with the shipped network.",
)


@dataclass(frozen=True)
class Case:
    """An image with reference labels, and how it is segmented."""

    kind: str
    image: NDArray[Any]
    reference: NDArray[Any]
    params: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one choice made of one image."""

    labels: NDArray[Any]
    store: int


def simulated() -> Iterator[Case]:
    """Two anisotropic volumes and two planes."""
    for seed in range(2):
        image, labels = volume((24, 110, 110), seed=seed, voxel_size=(1.5, 0.75, 0.75))
        params = {"anisotropy": 2, "diameter": 14}
        yield Case("simulated volumes", image, labels, params)
    for seed in range(2):
        planes, labels = slide((400, 400), seed=seed, channels=1)
        yield Case("simulated planes", planes[0], labels, {"mode": "2d", "diameter": 18})


def real(data: Path, count: int) -> Iterator[Case]:
    """The first held-out embryos, and 2D images of nuclei."""
    params = {"anisotropy": 2.1875, "diameter": 14}
    folder = data / "nuclei3d_embryo"
    for path in sorted((folder / "images").glob("Emb09_*"))[: max(1, count // 6)]:
        labels = tifffile.imread(folder / "labels" / path.name)
        yield Case("embryo 9", tifffile.imread(path), labels, params)
    folder = data / "nuclei2d_dsb2018"
    # a fifth, as the network's training held out, and small ones: bfloat16 takes its time here
    for path in sorted((folder / "images").iterdir())[::5][:count]:
        image, labels = (
            np.squeeze(tifffile.imread(p)) for p in (path, folder / "labels" / path.name)
        )
        if image.ndim == 2 and image.size <= 2**18 and image.max() > image.min():
            yield Case("2D nuclei", image, labels, {"mode": "2d"})


def run(case: Case, choice: dict[str, str]) -> Outcome:
    """Segment an image once."""
    with tempfile.TemporaryDirectory(prefix="precision-") as name:
        folder = Path(name)
        zarr.create_array(str(folder / "image.zarr"), data=case.image)
        params = check({**case.params, **choice, "keep_intermediates": "all"})
        segment_file(str(folder / "image.zarr"), folder / "out", params)
        flows = (folder / "out" / ".terapose").glob("*/*/c/**/*")
        stored = sum(p.stat().st_size for p in flows if p.is_file() and "follow" not in str(p))
        labels = np.asarray(open_level(str(folder / "out" / "labels.zarr"), 0)[:])
        return Outcome(labels, stored)


def moved(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Voxels that belong to another cell, by the cells' voxels in the first image."""
    pairs, count = np.unique(
        np.stack([one.ravel(), other.ravel()]).astype(np.int64), axis=1, return_counts=True
    )
    # the partner of a cell is the one it shares most with; background has background
    best: dict[int, int] = {0: 0}
    for n in np.argsort(-count, kind="stable"):
        best.setdefault(int(pairs[0, n]), int(pairs[1, n]))
    same = sum(int(c) for a, b, c in zip(*pairs, count, strict=True) if best[int(a)] == b)
    return (one.size - same) / max(1, int((one > 0).sum()))


def table(rows: list[tuple[str, str, dict[str, float]]]) -> str:
    """Means of each kind of image and choice, as Markdown."""
    names = list(rows[0][2])
    lines = [["images", "choice", *names], ["---", "---", *["---:"] * len(names)]]
    for kind, choice in dict.fromkeys((k, c) for k, c, _ in rows):
        group = [r for k, c, r in rows if (k, c) == (kind, choice)]
        means = [statistics.fmean(r[name] for r in group) for name in names]
        lines.append([f"{kind} ({len(group)})", choice, *(f"{m:.4g}" for m in means)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(cases: Iterator[Case]) -> list[tuple[str, str, dict[str, float]]]:
    """Run every choice on every image."""
    rows = []
    for case in cases:
        default = run(case, {})
        for name, choice in CHOICES.items():
            found = run(case, choice) if choice else default
            between = average_precision(default.labels, found.labels, (0.5, 0.9))
            against = average_precision(case.reference.astype(np.int64), found.labels, (0.5, 0.75))
            values = {
                "voxels of cells changed": moved(default.labels, found.labels),
                "AP 0.5 against default": between.average_precision[0],
                "AP 0.9 against default": between.average_precision[1],
                "AP 0.5 against reference": against.average_precision[0],
                "AP 0.75 against reference": against.average_precision[1],
                "bytes per voxel, all sums kept": found.store / default.labels.size,
            }
            if all(np.isfinite(v) for v in values.values()):
                rows.append((case.kind, name, values))
            print(case.kind, case.image.shape, name, values, flush=True)
    return rows


def page(rows: list[tuple[str, str, dict[str, float]]], command: str) -> str:
    """The page with its table."""
    made = f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}"
    return (
        "\n\n".join(
            [
                "# Lower precision",
                *TEXT,
                f"This page was written by `{command}`: {made}. Each row is a mean over images; AP "
                "is that of the cells at an IoU of 0.5, 0.75 or 0.9; changed voxels are a fraction "
                "of the voxels in cells. Bytes per voxel are those of the flows in a store that "
                "keeps everything, divided by the voxels of the image (the network's grid of a "
                "volume has more voxels).",
                table(rows),
            ]
        )
        + "\n"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of real data sets")
    parser.add_argument("--count", type=int, default=12, help="real 2D images")
    parser.add_argument("--output", type=Path, default=PAGE)
    given = parser.parse_args(words)

    def cases() -> Iterator[Case]:
        yield from simulated()
        if given.data is not None:
            yield from real(given.data, given.count)

    rows = measure(cases())
    given.output.write_text(page(rows, "python benchmarks/precision.py --data DATA"))


if __name__ == "__main__":
    main()
