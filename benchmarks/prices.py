"""What images of three sizes take and cost, projected, into docs/cloud.md.

A slide, a light-sheet volume and a volume of 1 TB, as Zarr arrays without data: nothing is computed
but the plan. Each is planned for processors alone and with a GPU for the network, and priced with
the examples that come with Terapose, for 100 tasks at a time (`terapose plan --price default`).

    python -m benchmarks.prices --output docs/cloud.md
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr
from benchmarks.pages import into

from terapose import __version__
from terapose.cli.price import EXAMPLES, WORKERS
from terapose.core.amounts import in_bytes
from terapose.core.params import check
from terapose.io.shipped import shipped_file
from terapose.networks.ensemble import identify_all, resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.planning import make_plan
from terapose.pipeline.price import Bill, bill_of, read_prices

BEGIN, END = "<!-- prices: begin -->", "<!-- prices: end -->"


@dataclass(frozen=True)
class Case:
    """An image of uint16, and how it is segmented."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    params: dict[str, Any] = field(default_factory=dict)


_SHEET = {"diameter": 12, "voxel_size": (2, 0.5, 0.5)}
CASES = (
    Case("slide, 40,000 x 40,000", (40_000, 40_000), (1024, 1024), {"diameter": 17}),
    Case("light sheet, 640 x 2048 x 2048", (640, 2048, 2048), (64, 256, 256), _SHEET),
    Case("1 TB, 2000 x 16,000 x 15,625", (2000, 16_000, 15_625), (64, 256, 256), _SHEET),
)


def bill(case: Case, folder: Path, *, use_gpu: bool) -> Bill:
    """What an image takes and costs."""
    path = folder / "image.zarr"
    if not path.exists():
        names = "zyx"[-len(case.shape) :]
        zarr.create_array(
            str(path),
            shape=case.shape,
            chunks=case.chunks,
            dtype="uint16",
            dimension_names=list(names),
        )
    # as the profiles of services set it
    params = check({**case.params, "use_gpu": use_gpu, "task_minutes": 2})
    plan = make_plan(open_checked(str(path), params), identify_all(resolve_all("auto")), params)
    prices = read_prices(shipped_file(EXAMPLES))
    # as if the image were in the bucket, too
    chunk = (1, *case.chunks)[-3:]
    return bill_of(plan, params, prices, workers=WORKERS, image_chunk=chunk)


def row(case: Case, found: Bill, *, use_gpu: bool) -> str:
    """A line of the table."""
    amounts = found.amounts
    puts, gets = (amounts[f"{name}_per_1000"] / 1000 for name in ("put", "get"))
    cells = (
        case.name,
        "H100" if use_gpu else "none",
        f"{sum(use.tasks for use in found.uses):,}",
        _rounded(amounts["cpu_hour"]),
        _rounded(amounts["gpu_hour"]) if use_gpu else "-",
        in_bytes(found.store),
        f"{_rounded(puts)}, {_rounded(gets)}",
        f"{_rounded(found.hours)} h",
        _rounded(found.cost(amounts)),
    )
    return f"| {' | '.join(cells)} |"


def _rounded(number: float) -> str:
    """Two digits: more would say more than is known."""
    return f"{float(f'{number:.2g}'):,.10g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Price all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, help="The page that has the table.")
    given = parser.parse_args(arguments)
    lines = [
        "| image | GPU | tasks | core hours | GPU hours | store at its peak "
        "| million requests: write, read | time | USD |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    unknown: set[str] = set()
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="prices-") as folder:
            for use_gpu in (False, True):
                found = bill(case, Path(folder), use_gpu=use_gpu)
                lines.append(row(case, found, use_gpu=use_gpu))
                unknown |= {*found.unmeasured}
    about = f"Terapose {__version__}, Python {platform.python_version()}, zarr {zarr.__version__}."
    text = "\n".join([*lines, "", f"{about} In no figure: {', '.join(sorted(unknown))}."])
    print(text)
    if given.output is not None:
        into(given.output, text, BEGIN, END)


if __name__ == "__main__":
    main()
