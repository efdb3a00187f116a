"""Networks of Cellpose 1 to 3 beside Terapose's: `make compare-cellpose3`.

1. `.cellpose3` is made: cellpose 3.1.1.3 and, because only that has every variant of the network,
   the source of cellpose 2.2.3; pinned by hash in requirements/.
2. There (`--worker`), each network of `CASES` is filled with seeded numbers, written with its own
   `CPnet.save_model`, read back with `load_model` and run by cellpose 3's `run_net`.
3. Here, the same file and image go through `terapose.networks.loading.load` and `tiles.run_planes`.
4. The table has the largest difference and the time of each; one above 1e-5 is a failure. `itself`
   is how far cellpose 3 is from itself without oneDNN's layout of memory: what rounding does. The
   image is larger than a tile; smaller ones Terapose pads to a tile as Cellpose 4 does, Cellpose 3
   pads them less.
5. Files of `terapose train` are given to cellpose 3's `CellposeModel` and `CPnet`.

`--record` writes the results of the small networks, which the tests hold Terapose against: the
weights are made again there from their names and shapes (`numbers`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cellpose3"
SHIPPED = ROOT / "assets" / "nuclei-small.pth"
LIMIT = 1e-5
STYLE_WIDTH = 256  # what run_net makes room for


@dataclass(frozen=True)
class Case:
    """A weight file.

    Attributes
    ----------
    name
        Of the file.
    widths
        Channels of the input, then of each level: nbase.
    residual, style, concatenation
        The switches of Cellpose 1 and 2.
    diameter
        In the file; None for files of Cellpose 1, which hold none.
    prefix
        Before each name, as training on several GPUs leaves it.
    old
        Whether the file is as torch wrote it before 1.6.
    existing
        A file to take as it is.
    """

    name: str
    widths: tuple[int, ...] = (2, 32, 64, 128, 256)
    residual: bool = True
    style: bool = True
    concatenation: bool = False
    diameter: float | None = 30.0
    prefix: str = ""
    old: bool = False
    existing: Path | None = None

    @property
    def standard(self) -> bool:
        """Whether cellpose 3 has this network itself."""
        return self.residual and not self.concatenation


def _variant(residual: bool, style: bool, concatenation: bool, **options: Any) -> Case:
    """A file under the name that Cellpose 1 and 2 gave it."""
    r, s, c = ("on" if switch else "off" for switch in (residual, style, concatenation))
    name = f"cellpose_residual_{r}_style_{s}_concatenation_{c}_lab_2021"
    return Case(name, residual=residual, style=style, concatenation=concatenation, **options)


def _variants(**options: Any) -> tuple[Case, ...]:
    off = (False, True)
    return tuple(_variant(r, s, c, **options) for r in off for s in off for c in off)


CASES = (
    Case("cyto3"),
    Case("nucleitorch_0", diameter=None, old=True),
    Case("lab-17px", diameter=17.0),
    Case("lab-one-channel", widths=(1, 32, 64, 128, 256)),
    Case("lab-narrow", widths=(2, 16, 24, 256)),
    Case("lab-narrow-style", widths=(2, 16, 32, 64, 96)),
    Case("lab-several-gpus", prefix="module."),
    Case(SHIPPED.name, (1, 16, 32, 64, 96), diameter=17.0, existing=SHIPPED),
    *_variants(),
)
SMALL = (Case("one-channel", (1, 4, 6, 8)), *_variants(widths=(2, 4, 6, 8)))
"""Recorded for the tests."""
SHAPE, SMALL_SHAPE = (200, 260), (12, 12)
TRAINED = {"trained-1.pth": 1, "trained-2.pth": 2}
"""Input channels of files as `terapose train --widths 32,64,128,256` writes them, random."""


def numbers(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Seeded weights of an array, by its name alone, so that every network has its own.

    The scale gives outputs of a few units, as trained networks do.
    """
    u = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(shape))
    if name.endswith("running_var"):
        values = 0.5 + 1.5 * u
    elif len(shape) > 1:
        values = (2 * u - 1) * np.sqrt((8 if name.startswith("output") else 2) / np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 0.5 + u
    else:
        values = 0.6 * u - 0.3
    return values.astype(np.float32)


def seeded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary with every number replaced; diameters and counts stay."""
    return {
        name: torch.from_numpy(numbers(name, value.shape))
        if value.ndim and not name.startswith("diam_")
        else value
        for name, value in state.items()
    }


def picture(channels: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A normalised image with structure, (1, Y, X, C)."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [np.sin(y / (7 + c)) * np.cos(x / (5 + c)) for c in range(channels)]
    return (0.4 + 0.4 * np.stack(waves, -1) + 0.3 * rng.random((*shape, channels)))[None].astype(
        np.float32
    )


# -- in cellpose 3's environment ----------------------------------------------------------------


def _network_of_2() -> Any:
    """Module of cellpose 2's network; what it imports is cellpose 3's."""
    path = PLACE / "cellpose2" / "cellpose" / "resnet_torch.py"
    spec = importlib.util.spec_from_file_location("cellpose.resnet_of_cellpose2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runnable(torch.nn.Module):
    """A CPnet with what run_net asks for: a device, and a style of 256 channels."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.nout = net.nout
        self.mkldnn = net.mkldnn
        self.device = torch.device("cpu")

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Output and style."""
        output, style = self.net(tiles)[:2]
        return output, torch.nn.functional.pad(style, (0, STYLE_WIDTH - style.shape[1]))


def _written(case: Case, path: Path) -> Any:
    """Write a file with cellpose's own classes; returns its network, read from the file."""
    from cellpose.core import check_mkl
    from cellpose.resnet_torch import CPnet

    if case.standard:
        # oneDNN's layout, as CellposeModel chooses it on a CPU
        net = CPnet(list(case.widths), 3, 3, mkldnn=check_mkl(), diam_mean=case.diameter or 30.0)
    else:
        # which cellpose 2 cannot run in that layout
        switches = (case.residual, case.style, case.concatenation)
        net = _network_of_2().CPnet(list(case.widths), 3, 3, *switches)
    if case.existing is None:
        net.load_state_dict(seeded(net.state_dict()))
        net.save_model(path)
    else:
        shutil.copyfile(case.existing, path)
    net.load_model(path, device=torch.device("cpu"))
    net.style_on = case.style
    state = {
        case.prefix + name: value
        for name, value in net.state_dict().items()
        if case.diameter is not None or not name.startswith("diam_")
    }
    if case.old or list(state) != list(net.state_dict()):
        torch.save(state, path, _use_new_zipfile_serialization=not case.old)
    return net


def _said(attempt: Callable[[], Any]) -> str:
    """Whether something works in cellpose 3; else what it says."""
    try:
        attempt()
    except (RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1].strip()[:60]}"
    return "works"


def _loads(path: Path, any_file: Path) -> dict[str, str]:
    """What cellpose 3 makes of a file of `terapose train`, at its own diameter and at another."""
    from cellpose.models import CellposeModel
    from cellpose.resnet_torch import CPnet

    state = torch.load(path, weights_only=True)
    first = "downsample.down.res_down_{}.conv.conv_0.2.weight"
    widths: list[int] = [state[first.format(0)].shape[1]]
    while (key := first.format(len(widths) - 1)) in state:
        widths.append(state[key].shape[0])
    own = float(state["diam_mean"])
    image = picture(widths[0], (96, 96))[0]

    def directly() -> Any:
        return CellposeModel(pretrained_model=str(path), nchan=widths[0])

    def replaced(wrap: Callable[[Any], Any]) -> Any:
        model, net = CellposeModel(pretrained_model=str(any_file)), CPnet(widths, 3, 3)
        net.load_model(path)
        model.net, model.nchan, model.diam_mean = wrap(net), widths[0], own
        return model

    ways: dict[str, Callable[[], Any]] = {
        f"CellposeModel(pretrained_model=..., nchan={widths[0]})": directly,
        f"model.net = CPnet({widths}, 3, 3)": lambda: replaced(lambda net: net),
        "the same, style padded to 256": lambda: replaced(Runnable),
    }
    return {
        f"{way}, {diameter:g} px": _said(lambda: make().eval(image, diameter=diameter))  # noqa: B023
        for way, make in ways.items()
        for diameter in (own, own + 3)
    }


def _best(repeats: int, call: Callable[[], NDArray[np.float32]]) -> tuple[Any, float]:
    """What a call returns, and its shortest time (s) after a first one that is not counted."""
    result = call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - begin)
    return result, min(times)


def work(folder: Path, repeats: int) -> None:
    """Write every file, run it with cellpose 3, and leave what came out beside it."""
    from cellpose.core import run_net

    seconds, itself = {}, {}
    for place, cases, shape in ((folder / "small", SMALL, SMALL_SHAPE), (folder, CASES, SHAPE)):
        place.mkdir(exist_ok=True)
        for case in cases:
            cpnet, image = _written(case, place / case.name), picture(case.widths[0], shape)
            layout, cpnet.mkldnn = cpnet.mkldnn, False
            plain = _output(run_net, Runnable(cpnet), image)
            cpnet.mkldnn = layout
            net = Runnable(cpnet)
            output, seconds[case.name] = _best(repeats, partial(_output, run_net, net, image))
            np.save(place / f"{case.name}.npy", output)
            itself[case.name] = float(np.abs(plain - output).max())
    files = (SHIPPED, *(folder / name for name in TRAINED))
    loads = {path.name: _loads(path, folder / CASES[0].name) for path in files}
    (folder / "report.json").write_text(
        json.dumps({"seconds": seconds, "itself": itself, "loads": loads})
    )


def _output(run_net: Any, net: Runnable, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cellpose's result for the only plane, (Y, X, 3)."""
    output: NDArray[np.float32] = run_net(net, image, bsize=224)[0][0]
    return output


# -- in Terapose's environment ------------------------------------------------------------------


def ours(path: Path, image: NDArray[np.float32], repeats: int) -> tuple[Any, float]:
    """Terapose's result for a file and an image (1, Y, X, C): (Y, X, 3), and its time (s)."""
    from terapose.networks.loading import load
    from terapose.networks.tiling import run_planes

    network = load(path)
    planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    output, seconds = _best(repeats, lambda: run_planes(network, planes, tile=network.tile))
    return output[0].transpose(1, 2, 0), seconds


def _theirs(folder: Path, repeats: int) -> dict[str, Any]:
    """Run the worker in cellpose 3's environment; returns its report."""
    words: list[str | Path] = [
        PLACE / "bin" / "python",
        __file__,
        "--worker",
        folder,
        "--repeats",
        str(repeats),
    ]
    # nothing of cellpose's is looked for outside the folder, so nothing is fetched
    subprocess.run(words, check=True, env={**os.environ, "CELLPOSE_LOCAL_MODELS_PATH": str(folder)})
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def compare(folder: Path, repeats: int) -> float:
    """Print the table; returns the largest difference."""
    from terapose.networks.unet import UNet

    for name, channels in TRAINED.items():
        state = UNet((channels, 32, 64, 128, 256), diameter=17.0).state_dict()
        torch.save(seeded(state), folder / name)
    report = _theirs(folder, repeats)
    print(f"{'file':58} largest difference   itself cellpose 3 terapose ratio")
    worst = 0.0
    for case in CASES:
        expected = np.load(folder / f"{case.name}.npy")
        image = picture(case.widths[0], SHAPE)
        found, seconds = ours(folder / case.name, image, repeats)
        difference = float(np.abs(found - expected).max())
        before, itself = report["seconds"][case.name], report["itself"][case.name]
        worst = max(worst, difference)
        print(
            f"{case.name:58} {np.abs(expected).max():7.2f} {difference:10.1e} {itself:8.1e} "
            f"{before:8.2f} s {seconds:6.2f} s {before / seconds:5.2f}",
            flush=True,
        )
    for name, ways in report["loads"].items():
        for way, said in ways.items():
            print(f"{name}: {way}: {said}")
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"image {SHAPE}, shortest of {repeats}"
    )
    if set(report["loads"]["trained-2.pth"].values()) != {"works"}:
        sys.exit("cellpose 3 does not run a file of its own widths and two inputs")
    return worst


def record(folder: Path, path: Path) -> None:
    """Write the results of the small networks, every third pixel, as JSON."""
    results = {
        case.name: np.load(folder / "small" / f"{case.name}.npy")[::3, ::3].tolist()
        for case in SMALL
    }
    lines = ",\n".join(f'"{name}": {json.dumps(rows)}' for name, rows in results.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def main(words: Sequence[str] | None = None) -> None:
    """Compare, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", type=Path, help="write what the tests compare with")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.worker is not None:
        work(given.worker, given.repeats)
        return
    from benchmarks.environments import bring_up

    bring_up(PLACE, "cellpose3.txt", cellpose2="cellpose2.txt")
    with tempfile.TemporaryDirectory(prefix="cellpose3-") as name:
        worst = compare(Path(name), given.repeats)
        if given.record is not None:
            record(Path(name), given.record)
    if worst > LIMIT:
        sys.exit(f"the largest difference is {worst:.1e}, above {LIMIT:.0e}")


if __name__ == "__main__":
    main()
