"""The network's work beside Cellpose's own: same weights, same planes, one run.

Each side runs in a process of its own, one after the other: `terapose` (the ``run_planes`` of its
network stage) and `cellpose.core.run_net`, as Cellpose calls it by default (bfloat16 for Cellpose
4) and in float32. Reported: tiles a second, ratio to Cellpose's default, processor time (which a
busy machine changes little), peak memory, and the largest difference to Cellpose in float32.

``--compile`` adds Terapose with its network compiled by ``torch.compile``; the seconds that this
takes are told apart. ``--profile`` tells in which operators the time of a tile goes.

The weights are random (seeded) where no file is given, of Cellpose 4, or with ``--widths`` of a
U-Net: speed does not depend on them.
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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from terapose.networks.base import Network

SIDES = ("terapose", "terapose compiled", "cellpose", "cellpose float32")


def planes_of(count: int, edge: int) -> NDArray[np.float32]:
    """Normalised planes of simulated nuclei, (P, Y, X)."""
    from cellpose.transforms import normalize99

    from terapose.apps.simulate.scene import slide

    images = [slide((edge, edge), seed=n, channels=1, pixel_size=0.35)[0][0] for n in range(count)]
    return np.stack([normalize99(image.astype(np.float32)) for image in images])


def random_cellpose4(path: Path) -> Path:
    """A checkpoint of the real architecture with random weights (1.2 GB)."""
    import torch
    from cellpose import vit

    torch.manual_seed(0)
    torch.save(vit.CPSAM(dtype=torch.float32).state_dict(), path)
    return path


def random_unet(widths: tuple[int, ...], path: Path) -> Path:
    """A U-Net with these channels, input first, and random weights."""
    import torch

    from terapose.networks.unet import UNet

    torch.manual_seed(0)
    torch.save(UNet(widths).state_dict(), path)
    return path


def run_side(side: str, model: Path, planes: NDArray[np.float32], device: str) -> dict[str, Any]:
    """Run one side in this process; returns seconds, memory and where the output is."""
    import torch

    from terapose.networks.loading import load
    from terapose.networks.tile_grid import tile_grid
    from terapose.networks.tiling import run_planes
    from terapose.pipeline.peak import peak_memory

    ours = side.startswith("terapose")
    precision = "auto" if ours else "float32"
    network = load(model, device=device, precision=precision)
    tiles = len(planes) * len(
        tile_grid((planes.shape[1], planes.shape[2]), network.tile, 0.1).corners
    )
    stack = np.zeros((len(planes), network.channels, *planes.shape[1:]), np.float32)
    stack[:, 0] = planes
    compiling = 0.0
    if side == "terapose compiled":
        compiling = compile_network(network)
    if ours:
        begin, worked = time.perf_counter(), time.process_time()
        found = run_planes(network, stack, tile=network.tile)
    else:
        from cellpose import core

        net: Any = network.module.net
        if network.family == "cellpose4":
            # as Cellpose builds it, without what Terapose changes
            from cellpose import vit

            half = side == "cellpose"
            net = vit.CPSAM(dtype=torch.bfloat16 if half else torch.float32).to(device).eval()
            net.load_model(str(model), device=torch.device(device))
        begin, worked = time.perf_counter(), time.process_time()
        found = np.moveaxis(
            core.run_net(net, np.moveaxis(stack, 1, -1), bsize=network.tile)[0], -1, 1
        )
    seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    np.save(f"{side.replace(' ', '-')}.npy", found)
    memory = peak_memory()
    if device != "cpu":
        memory = torch.cuda.max_memory_allocated()
    return {
        "side": side,
        "tiles": tiles,
        "seconds": seconds,
        "worked": worked,
        "memory": memory,
        "compiling": compiling,
    }


def compile_network(network: Network) -> float:
    """Compile a network for single tiles on one thread, as it is run; returns the seconds."""
    import torch

    network.module.net = torch.compile(network.module.net, dynamic=False)  # type: ignore[assignment]
    blank = np.zeros((1, network.channels, network.tile, network.tile), np.float32)
    begin = time.perf_counter()
    network(blank)
    first = time.perf_counter()
    network(blank)
    return first - begin - (time.perf_counter() - first)


def profile(model: Path, precision: str) -> str:
    """Share of the operators in the time of one tile on one thread, as Markdown."""
    import torch

    from terapose.networks.loading import load

    network = load(model, precision=precision)
    torch.set_num_threads(1)
    tile = torch.rand(1, network.channels, network.tile, network.tile)
    tile = tile.to(network.module.dtype)
    with torch.inference_mode():
        network.module.net(tile)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            network.module.net(tile)
    rows = sorted(found.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    lines = [f"{precision}: {total / 1e6:.3g} s a tile", "", "| operator | calls | share |"]
    lines += ["| --- | ---: | ---: |"]
    for row in rows[:8]:
        lines.append(f"| {row.key} | {row.count} | {row.self_cpu_time_total / total:.1%} |")
    return "\n".join(lines)


def measure(
    model: Path, planes: NDArray[np.float32], device: str, sides: Sequence[str]
) -> list[dict[str, Any]]:
    """Run all sides, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        np.save(Path(folder) / "planes.npy", planes)
        for side in sides:
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
        "| | tiles a second | ratio to Cellpose's default | processor time a tile | peak memory "
        "| largest difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['side']} | {r['tiles'] / r['seconds']:.3g} | {default / r['seconds']:.2f} | "
        f"{r['worked'] / r['tiles']:.3g} s | "
        f"{r['memory'] / 2**30:.2f} GiB | {r['difference']:.2g} |"
        for r in rows
    ]
    lines += [f"\nto compile: {r['compiling']:.1f} s" for r in rows if r["compiling"]]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="weight file; default random Cellpose 4")
    parser.add_argument("--widths", help="of a random U-Net instead, input first: 2,32,64,128,256")
    parser.add_argument("--planes", type=int, default=2)
    parser.add_argument("--edge", type=int, default=240, help="pixels of a plane")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--profile", action="store_true", help="tell where the time goes instead")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.side:
        print(json.dumps(run_side(given.side, given.model, np.load("planes.npy"), given.device)))
        return
    with tempfile.TemporaryDirectory(prefix="speed-model-") as folder:
        model = given.model
        if model is None and given.widths:
            widths = tuple(int(width) for width in given.widths.split(","))
            model = random_unet(widths, Path(folder) / f"random-{'-'.join(map(str, widths))}.pth")
        model = model or random_cellpose4(Path(folder) / "random-cpsam.pth")
        if given.profile:
            print("\n\n".join(profile(model, precision) for precision in ("float32", "bfloat16")))
            return
        sides = [side for side in SIDES if given.compile or side != "terapose compiled"]
        rows = measure(model, planes_of(given.planes, given.edge), given.device, sides)
    threads = os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()} cores")
    print(f"{model.name}, {given.planes} planes of {given.edge}^2, {given.device}, {threads}, ")
    print(f"{platform.machine()}, torch {version('torch')}, cellpose {version('cellpose')}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
