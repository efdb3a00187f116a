"""What a GPU gives and whether it is right, in one run: `python -m benchmarks.gpu --output FOLDER`.

1. Equality: outputs of the networks against the CPU's, and whether a tile's output depends on what
   is run with it.
2. Speed: tiles a second of `run_on_device`, which tests of its bits precede, beside `run_planes`,
   which cuts and adds tiles on the CPU, and `cellpose.core.run_net`, which Cellpose's `eval` runs
   (U-Net; architecture of Cellpose 4).
3. Use of the card: floating-point operations against what a large product of matrices reaches in
   the same precision, share of the time in which kernels run, memory, and what is done with little
   of it.

Weights of Cellpose 4 are random (seeded): neither speed nor equality depends on them. Ends within
10 minutes on a bare machine. A table is printed and written as `gpu.md`.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.speed import planes_of, random_cellpose4
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from terapose.networks.base import Network
from terapose.networks.loading import load
from terapose.networks.on_device import fit, run_on_device
from terapose.networks.tile_grid import tile_grid
from terapose.networks.tiling import run_planes
from terapose.networks.weights import resolve

Rows = list[tuple[str, str]]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of some work on the GPU, after one round that is not counted."""
    work()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    found = work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin, found


def peak_rate(dtype: torch.dtype) -> float:
    """Operations a second of a large product of matrices."""
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    rounds = 10
    seconds, _ = timed(lambda: [left @ right for _ in range(rounds)])
    return rounds * 2 * 8192**3 / seconds


def operations(network: Network) -> float:
    """Floating-point operations of one tile."""
    shape = (1, network.channels, network.tile, network.tile)
    tile = torch.zeros(shape, device="cuda", dtype=network.module.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.module.net(tile)
    return float(counter.get_total_flops())


def busy(work: Callable[[], Any]) -> float:
    """Share of the time of some work in which a kernel or a copy runs on the GPU."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    spans = sorted((e.time_range.start, e.time_range.end) for e in seen.events() or [])
    total, until = 0.0, -np.inf
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total * 1e-6 / seconds


def batches(network: Network, tiles: NDArray[np.float32]) -> Rows:
    """Whether a tile's output depends on how many are run, and on its place among them."""
    alone = np.concatenate([network(tiles[n : n + 1]) for n in range(len(tiles))])
    together, turned = network(tiles), network(np.roll(tiles, 5, axis=0))
    size = float(np.abs(together - alone).max())
    place = int((np.roll(turned, -5, axis=0) != together).sum())
    again = int((network(tiles) != together).sum())
    name = f"{network.family} {network.precision}"
    return [
        (f"{name}: largest difference of 1 tile and {len(tiles)}", f"{size:.2g}"),
        (f"{name}: values that differ at another place in the batch", f"{place}"),
        (f"{name}: values that differ when run again", f"{again}"),
    ]


def against_cpu(network: Network, model: Path, tiles: NDArray[np.float32]) -> Rows:
    """Differences to the CPU in the same precision and in float32."""
    name = f"{network.family} {network.precision}"
    found = network(tiles)
    rows = []
    for precision in sorted({network.precision, "float32"}):
        expected = load(model, device="cpu", precision=precision)(tiles)
        worst = float(np.abs(found - expected).max())
        mean = float(np.abs(found - expected).mean())
        title = f"{name}: difference to the CPU in {precision}, largest and mean"
        rows.append((title, f"{worst:.2g}, {mean:.2g}"))
    return rows


def speed(network: Network, model: Path, planes: NDArray[np.float32]) -> Rows:
    """Tiles a second beside Cellpose's, and the use of the card."""
    from cellpose import core, vit

    name = f"{network.family} {network.precision}"
    size = (planes.shape[1], planes.shape[2])
    count = len(planes) * len(tile_grid(size, network.tile, 0.1).corners)
    stack = np.zeros((len(planes), network.channels, *size), np.float32)
    stack[:, 0] = planes
    best = network.best_batch()
    ours = partial(run_on_device, network, stack)
    seconds, found = timed(ours)
    on_cpu = partial(run_planes, network, stack, tile=network.tile, batch_size=best)
    slower, same = timed(on_cpu)
    rows = [
        (f"{name}: tiles a second", f"{count / seconds:.1f}"),
        (f"{name}: the same, cut and added on the CPU", f"{count / slower:.1f}"),
        (f"{name}: values that differ between the two", f"{int((same != found).sum())}"),
    ]
    net: Any = network.module.net
    if network.family == "cellpose4":
        net = vit.CPSAM(dtype=network.module.dtype).to("cuda").eval()
        net.load_model(str(model), device=torch.device("cuda"))
    last = np.moveaxis(stack, 1, -1)
    for size_of_batch in (8, best):
        theirs = partial(core.run_net, net, last, bsize=network.tile, batch_size=size_of_batch)
        other, expected = timed(theirs)
        rate = f"{count / other:.1f}, {other / seconds:.2f}"
        title = f"{name}: Cellpose's tiles a second in batches of {size_of_batch}, our ratio to it"
        rows.append((title, rate))
    worst = float(np.abs(np.moveaxis(expected[0], -1, 1) - found).max())
    tiles = np.random.default_rng(1).random((best, network.channels, network.tile, network.tile))
    torch.cuda.reset_peak_memory_stats()
    resident = torch.from_numpy(tiles).to("cuda", network.module.dtype)
    pure, _ = timed(lambda: network.module(resident))
    peak = torch.cuda.max_memory_allocated() / 2**30
    share = operations(network) / peak_rate(network.module.dtype)
    rows += [
        (f"{name}: largest difference to Cellpose on the GPU", f"{worst:.2g}"),
        (f"{name}: tiles a second of the network alone", f"{best / pure:.1f}"),
        (f"{name}: memory of the card", f"{peak:.1f} GiB"),
        (f"{name}: share of the card's rate, network alone", f"{share * best / pure:.3f}"),
        (f"{name}: share of the card's rate, whole stage", f"{share * count / seconds:.3f}"),
        (f"{name}: share of the time in which the card works", f"{busy(ours):.2f}"),
    ]
    return rows


def scarce(network: Network, model: Path, planes: NDArray[np.float32]) -> Rows:
    """What is done with 1 GiB of free memory, and whether its bits are those of that batch."""
    name = f"{network.family} {network.precision}"
    size = (planes.shape[1], planes.shape[2])
    stack = np.zeros((1, network.channels, *size), np.float32)
    stack[0, 0] = planes[0]
    other = load(model, device="cuda", precision=network.precision)
    # with ample memory, before: cuDNN keeps to the ways that it has chosen once
    expected = {}
    for halvings in range(other.module.most.bit_length()):
        other.module.resize(other.module.most >> halvings)
        expected[other.module.batch] = run_on_device(other, stack)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - 2**30, dtype=torch.uint8, device="cuda")
    fit(other, size)
    found = run_on_device(other, stack)
    del taken
    at_once = other.module.batch
    return [
        (f"{name}: tiles at once with 1 GiB of free memory", f"{at_once} of {other.module.most}"),
        (
            f"{name}: values that differ from those with more memory and as many",
            f"{int((expected[at_once] != found).sum())}",
        ),
    ]


def measure_network(
    model: Path, precision: str, planes: NDArray[np.float32], show: Callable[[Rows], None]
) -> None:
    """All that is measured of one network in one precision."""
    network = load(model, device="cuda", precision=precision)
    shape = (12, network.channels, network.tile, network.tile)
    tiles = np.random.default_rng(0).random(shape, np.float32)
    few = tiles if network.family == "unet" else tiles[:2]
    show(against_cpu(network, model, few))
    show(batches(network, tiles))
    show(speed(network, model, planes))
    show(scarce(network, model, planes))


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for gpu.md")
    parser.add_argument("--only", choices=("unet", "cellpose4"), nargs="+")
    given = parser.parse_args(words)
    only = given.only or ("unet", "cellpose4")
    given.output.mkdir(parents=True, exist_ok=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "cellpose", "numba"))
    title = f"{torch.cuda.get_device_name()}, Python {platform.python_version()}, {packages}"
    lines = [f"{title}\n", "| | |", "|---|---|"]
    begin = time.perf_counter()

    def show(rows: Rows) -> None:
        for name, value in rows:
            lines.append(f"| {name} | {value} |")
            print(f"{time.perf_counter() - begin:6.1f} s  {name}: {value}", flush=True)
        (given.output / "gpu.md").write_text("\n".join(lines) + "\n")

    if "unet" in only:
        for precision in ("float32", "bfloat16"):
            measure_network(resolve("nuclei-small"), precision, planes_of(4, 2048), show)
    if "cellpose4" in only:
        model = random_cellpose4(given.output / "cpsam-random")
        for precision in ("bfloat16", "float32"):
            measure_network(model, precision, planes_of(1, 1024), show)
        model.unlink()


if __name__ == "__main__":
    main()
