"""The network's work beside Cellpose's own: same weights, same planes, one run.

Each side runs in a process of its own, one after the other: `terapose` (the ``run_planes`` of its
network stage) and `cellpose.core.run_net`, as Cellpose calls it by default (bfloat16 for Cellpose
4) and in float32. Reported: tiles a second, ratio to Cellpose's default, peak memory, and the
largest difference to Cellpose in float32.

The weights of Cellpose 4 are random (seeded) where no file is given: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDES = ("terapose", "cellpose", "cellpose float32")


def planes_of(count: int, edge: int) -> NDArray[np.float32]:
    """Normalised planes of simulated nuclei, (P, Y, X)."""
    from cellpose.transforms import normalize99

    from terapose.simulate import slide

    images = [slide((edge, edge), seed=n, channels=1, pixel_size=0.35)[0][0] for n in range(count)]
    return np.stack([normalize99(image.astype(np.float32)) for image in images])


def random_cellpose4(path: Path) -> Path:
    """A checkpoint of the real architecture with random weights (1.2 GB)."""
    import torch
    from cellpose import vit

    torch.manual_seed(0)
    torch.save(vit.CPSAM(dtype=torch.float32).state_dict(), path)
    return path


def run_side(side: str, model: Path, planes: NDArray[np.float32], device: str) -> dict[str, Any]:
    """Run one side in this process; returns seconds, memory and where the output is."""
    import torch

    from terapose.job import peak_memory
    from terapose.networks import load
    from terapose.tiles import run_planes, tile_grid

    ours = side == "terapose"
    precision = "auto" if ours else "float32"
    network = load(model, device=device, precision=precision)
    tiles = len(planes) * len(
        tile_grid((planes.shape[1], planes.shape[2]), network.tile, 0.1).corners
    )
    stack = np.zeros((len(planes), network.channels, *planes.shape[1:]), np.float32)
    stack[:, 0] = planes
    if ours:
        begin = time.perf_counter()
        found = run_planes(network, stack, tile=network.tile)
        seconds = time.perf_counter() - begin
    else:
        from cellpose import core

        net: Any = network.module.net
        if network.family == "cellpose4":
            # as Cellpose builds it, without what Terapose changes
            from cellpose import vit

            half = side == "cellpose"
            net = vit.CPSAM(dtype=torch.bfloat16 if half else torch.float32).to(device).eval()
            net.load_model(str(model), device=torch.device(device))
        begin = time.perf_counter()
        found = np.moveaxis(
            core.run_net(net, np.moveaxis(stack, 1, -1), bsize=network.tile)[0], -1, 1
        )
        seconds = time.perf_counter() - begin
    np.save(f"{side.replace(' ', '-')}.npy", found)
    memory = peak_memory()
    if device != "cpu":
        memory = torch.cuda.max_memory_allocated()
    return {"side": side, "tiles": tiles, "seconds": seconds, "memory": memory}


def measure(model: Path, planes: NDArray[np.float32], device: str) -> list[dict[str, Any]]:
    """Run all sides, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        np.save(Path(folder) / "planes.npy", planes)
        for side in SIDES:
            words = [sys.executable, str(Path(__file__).resolve()), "--side", side]
            words += ["--model", str(model.resolve()), "--device", device]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            found = np.load(Path(folder) / f"{side.replace(' ', '-')}.npy")
            rows[-1]["output"] = found
    exact = rows[-1]["output"]
    for row in rows:
        row["difference"] = float(np.abs(row.pop("output") - exact).max())
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    default = next(r for r in rows if r["side"] == "cellpose")["seconds"]
    lines = [
        "| | tiles a second | ratio to Cellpose's default | peak memory | largest difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['side']} | {r['tiles'] / r['seconds']:.3g} | {default / r['seconds']:.2f} | "
        f"{r['memory'] / 2**30:.2f} GiB | {r['difference']:.2g} |"
        for r in rows
    ]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="weight file; default random Cellpose 4")
    parser.add_argument("--planes", type=int, default=2)
    parser.add_argument("--edge", type=int, default=240, help="pixels of a plane")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.side:
        print(json.dumps(run_side(given.side, given.model, np.load("planes.npy"), given.device)))
        return
    with tempfile.TemporaryDirectory(prefix="speed-model-") as folder:
        model = given.model or random_cellpose4(Path(folder) / "random-cpsam.pth")
        rows = measure(model, planes_of(given.planes, given.edge), given.device)
    threads = os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()} cores")
    print(f"{model.name}, {given.planes} planes of {given.edge}^2, {given.device}, {threads}, ")
    print(f"{platform.machine()}, torch {version('torch')}, cellpose {version('cellpose')}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
