"""What other instruction sets change: `python benchmarks/machines.py`.

Libraries choose their loops by the processor. Variables of the environment make them believe that
it is an older one, so one machine shows what a cluster of several kinds would do. Simulated images
(seeded) are segmented by the shipped network as the processor is, and once for each choice of
`CHOICES`, each time in new processes and a new store. Reported are the largest difference of the
network's sums, how many end points of points differ, how many voxels of labels, how many cells
there are, and whether the table has the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from terapose.apps.simulate.scene import slide, volume
from terapose.core.geometry import Box, zyx
from terapose.io.labels.ome_zarr import open_level
from terapose.io.store.store import Store

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
CHOICES: dict[str, dict[str, str]] = {
    "once more, nothing changed": {},
    "torch: `ATEN_CPU_CAPABILITY=avx2`": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch: `ATEN_CPU_CAPABILITY=default`": {"ATEN_CPU_CAPABILITY": "default"},
    "torch: `ONEDNN_MAX_CPU_ISA=AVX2`": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "torch: `ONEDNN_MAX_CPU_ISA=SSE41`": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "torch: both AVX2, as on a processor without AVX-512": AVX2,
    "NumPy: `NPY_DISABLE_CPU_FEATURES=X86_V4 AVX512_ICL`": {
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"
    },
    "NumPy: `NPY_DISABLE_CPU_FEATURES=X86_V3 X86_V4 AVX512_ICL`": {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"
    },
    "NumPy: `OPENBLAS_CORETYPE=Haswell`": {"OPENBLAS_CORETYPE": "Haswell"},
    "NumPy: `OPENBLAS_CORETYPE=Nehalem`": {"OPENBLAS_CORETYPE": "Nehalem"},
    "numba: `NUMBA_CPU_NAME=generic`": {"NUMBA_CPU_NAME": "generic"},
    "OpenCV: `OPENCV_CPU_DISABLE=AVX2,AVX512_SKX`": {"OPENCV_CPU_DISABLE": "AVX2,AVX512_SKX"},
}
"""Variables of the environment by what they are for."""


@dataclass(frozen=True)
class Case:
    """An image, and how it is segmented."""

    name: str
    image: NDArray[Any]
    options: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a run left: sums of flows, end points, labels, the number of cells, and the table."""

    sums: NDArray[np.float32]
    ends: NDArray[np.int16]
    labels: NDArray[Any]
    cells: int
    table: bytes


def cases() -> list[Case]:
    """A volume with coarse Z, one whose intensities need logarithms, and a plane."""
    image, _ = volume((24, 110, 110), seed=0, voxel_size=(1.5, 0.75, 0.75))
    plane, _ = slide((400, 400), seed=0, channels=2)
    return [
        Case("volume, 24 x 110 x 110 voxels", image, ("--diameter", "14", "--anisotropy", "2")),
        Case("plane, 400 x 400 pixels", plane[0], ("--mode", "2d", "--diameter", "18")),
        Case(
            "the plane, two channels merged (gmm)",
            plane,
            (
                *("--mode", "2d", "--diameter", "18", "--axes", "CYX"),
                *("--channels", "1,2", "--channel-merge", "gmm"),
            ),
        ),
    ]


def run(case: Case, folder: Path, environment: dict[str, str]) -> Outcome:
    """Segment an image in a process of its own."""
    out = folder / "out"
    script = Path(__file__).parents[1] / "bin" / "terapose.py"
    # a cache of its own; numba keeps the code of each processor apart
    cache = folder.parent / "numba"
    words = ["segment", str(folder.parent / "image.zarr"), str(out), *case.options]
    subprocess.run(
        [sys.executable, str(script), *words, "--keep-intermediates", "all"],
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        stdout=subprocess.DEVNULL,
    )
    record = json.loads((out / "provenance.json").read_text())
    place = next(p for p in (out / ".terapose").iterdir())
    store = Store(str(place), record["plan_digest"])
    passes = [name for name in record["stages"] if name.startswith("gradients-")]
    return Outcome(
        _read(store, passes[-1]),
        _read(store, f"follow-{record['stages']['follow']['key']}/ends"),
        np.asarray(open_level(str(out / "labels.zarr"), 0)[:]),
        record["cells"],
        (out / "cells.csv").read_bytes(),
    )


def _read(store: Store, name: str) -> NDArray[Any]:
    shape = json.loads((Path(store.address) / name / "zarr.json").read_text())["shape"]
    return store.read(name, Box.whole(zyx(shape[-3:])))


def row(name: str, usual: Outcome, other: Outcome) -> list[str]:
    """What differs, as the cells of a table."""
    moved = int((usual.ends != other.ends).any(axis=0).sum())
    changed = int((usual.labels != other.labels).sum())
    return [
        name,
        f"{np.abs(usual.sums - other.sums).max():.1e}" if (usual.sums != other.sums).any() else "0",
        f"{moved:,}",
        f"{changed:,} of {int((usual.labels > 0).sum()):,}",
        f"{usual.cells}, {other.cells}",
        "same" if usual.table == other.table else "differs",
    ]


def measure(case: Case, choices: Sequence[str]) -> list[list[str]]:
    """Run an image with some of the choices."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="machines-") as name:
        folder = Path(name)
        axes = list("czyx"[-case.image.ndim :]) if case.image.ndim != 3 else None
        zarr.create_array(str(folder / "image.zarr"), data=case.image, dimension_names=axes)
        usual = run(case, folder / "usual", {})
        for n, choice in enumerate(choices):
            found = run(case, folder / str(n), CHOICES[choice])
            rows.append(row(choice, usual, found))
            print(case.name, rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the images")
    parser.add_argument("--choices", type=int, nargs="*", help="numbers of the choices")
    given = parser.parse_args()
    names = list(CHOICES)
    choices = names if given.choices is None else [names[n] for n in given.choices]
    libraries = ("torch", "numpy", "numba", "scipy")
    print(platform.machine(), *(f"{name} {version(name)}" for name in libraries))
    head = ["", "sums of flows", "end points", "label voxels", "cells", "table"]
    for n, case in enumerate(cases()):
        if given.only is None or n in given.only:
            lines = [head, ["---"] * len(head), *measure(case, choices)]
            print(f"\n{case.name}\n")
            print("\n".join("| " + " | ".join(line) + " |" for line in lines))


if __name__ == "__main__":
    main()
