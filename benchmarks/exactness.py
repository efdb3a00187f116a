"""Whether the result depends on how the work was cut, and whether it is Cellpose's.

Each case of `benchmarks.cases` is segmented in one piece, in at least two ways of cutting it, and
by Cellpose on the whole image (`benchmarks.oracle`). Counted are

(a) voxels whose labels differ from those of the one piece, number for number, and tables of cells
    that differ from its table by a byte;
(b) voxels whose objects differ from Cellpose's, whatever their numbers are.

The counts go into a page between two markers and, with everything else, into a JSON file beside
it. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, make_cases, make_image, make_networks

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Row:
    """What a case gave.

    Attributes
    ----------
    number, mode, network, shape, diameter, params
        Of the case; the diameter is that of a cell in voxels of Y and X.
    cuts
        Each way of cutting the work, and in how many blocks.
    cells
        Found in one piece.
    voxels
        For each cut, voxels that differ from the one piece.
    tables
        Cuts whose table of cells differs from that of the one piece.
    cellpose
        Voxels that differ from Cellpose; None where it has no result.
    seconds
        Of a processor, for all runs.
    """

    number: int
    mode: str
    network: str
    shape: tuple[int, ...]
    diameter: float
    params: dict[str, Any]
    cuts: tuple[dict[str, Any], ...]
    cells: int
    voxels: tuple[int, ...]
    tables: int
    cellpose: int | None
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return not (any(self.voxels) or self.tables or self.cellpose)


def run_case(case: Case, networks: Mapping[str, Path]) -> Row:
    """Run a case; ``networks`` are the weight files of `benchmarks.cases.make_networks`."""
    import numpy as np
    from benchmarks.oracle import cellpose_labels, differing, is_defined, terapose_results

    from terapose.core.params import check
    from terapose.networks.loading import load

    begin = time.process_time()
    image, model = make_image(case), networks[case.network]
    given = {**case.params, "mode": case.mode, "model": str(model)}
    whole, table = terapose_results(image, check({**given, **case.whole}))
    voxels, tables, cuts = [], 0, []
    for cut in case.cuts:
        labels, own_table = terapose_results(image, check({**given, **cut}))
        # another type of number is another result, even where the numbers are the same
        different = labels != whole if labels.dtype == whole.dtype else np.ones(whole.shape)
        voxels.append(int(np.count_nonzero(different)))
        tables += own_table != table
        sides = zip(case.shape, cut["block_shape"], strict=True)
        cuts.append({**cut, "blocks": math.prod(math.ceil(n / b) for n, b in sides)})
    params, theirs = check(given), None
    if is_defined(params, case.mode):
        theirs = differing(whole, cellpose_labels(image, load(model), params, case.mode))
    return Row(
        number=case.number,
        mode=case.mode,
        network=case.network,
        shape=case.shape,
        diameter=round(case.diameter[2], 1),
        params=case.params,
        cuts=tuple(cuts),
        cells=int(whole.max()),
        voxels=tuple(voxels),
        tables=tables,
        cellpose=theirs,
        seconds=round(time.process_time() - begin, 1),
    )


def run_cases(cases: Sequence[Case], workers: int) -> list[Row]:
    """Run cases in processes of one thread each; the largest images first."""
    os.environ.update(dict.fromkeys(THREADS, "1"), TQDM_DISABLE="1")
    context = multiprocessing.get_context("spawn")
    order = sorted(cases, key=lambda case: -math.prod(case.shape))
    with (
        tempfile.TemporaryDirectory(prefix="exactness-") as folder,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        networks = make_networks(Path(folder))
        rows = []
        for done in as_completed([pool.submit(run_case, case, networks) for case in order]):
            rows.append(done.result())
            print(line(rows[-1]), flush=True)
    return sorted(rows, key=lambda row: row.number)


def line(row: Row) -> str:
    """A row of the table."""
    shown = ("mode", "diameter")
    options = (f"{name} {_short(v, ' ')}" for name, v in row.params.items() if name not in shown)
    cuts = (f"{_short(c['block_shape'])} ({c['blocks']})" for c in row.cuts)
    cells = [
        str(row.number),
        row.mode,
        row.network,
        _short(row.shape),
        f"{row.diameter:g}",
        ", ".join(options),
        "; ".join(cuts),
        str(row.cells),
        " ".join(map(str, row.voxels)) + f" ({row.tables} tables)" * bool(row.tables),
        "-" if row.cellpose is None else str(row.cellpose),
        f"{row.seconds:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _short(value: Any, between: str = "x") -> str:
    return between.join(map(str, value)) if isinstance(value, tuple) else str(value)


COLUMNS = (
    "case",
    "mode",
    "network",
    "image",
    "diameter",
    "options",
    "blocks (how many)",
    "cells",
    "(a) per cut",
    "(b) Cellpose",
    "seconds",
)


def report(rows: Sequence[Row], facts: Mapping[str, str], command: str) -> str:
    """Table, totals, and what they were made with, as Markdown."""
    known = [row for row in rows if row.cellpose is not None]
    cuts = sum(len(row.cuts) for row in rows)
    total = (
        f"{len(rows)} cases with {sum(row.cells for row in rows):,} cells. "
        f"(a) {cuts} cuts against the one piece: {sum(sum(r.voxels) for r in rows):,} voxels and "
        f"{sum(r.tables for r in rows)} tables differ. "
        f"(b) {len(known)} cases against Cellpose: {sum(r.cellpose or 0 for r in known):,} of "
        f"{sum(math.prod(r.shape) for r in known):,} voxels differ."
    )
    parts = [
        f"Made by `{command}` in {facts['Time']}.",
        "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if name != "Time"),
        total,
        "\n".join(
            [
                "| " + " | ".join(COLUMNS) + " |",
                "| --- | --- | --- | --- | ---: | --- | --- | ---: | ---: | ---: | ---: |",
                *map(line, rows),
            ]
        ),
    ]
    return "\n\n".join(parts)


def facts_of(workers: int, seconds: float) -> dict[str, str]:
    """What the numbers were made with."""
    from terapose import __version__
    from terapose.pipeline.code import package_digest

    libraries = ("cellpose", "torch", "numpy", "numba", "opencv-python-headless", "zarr")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, no GPU used; "
        f"{workers} cases at once, one thread each",
        "Versions": f"terapose {__version__} (source {package_digest()[:12]}), Python "
        f"{platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in libraries),
        "Time": f"{seconds / 60:.0f} minutes",
    }


def _processor() -> str:
    """The processor's name; Linux tells it in a file only."""
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for text in lines.read_text().splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(page: Path, text: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Put text between a page's markers."""
    begin, end = markers
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def verdict(rows: Sequence[Row]) -> int:
    """Print which cases differ; returns the exit code."""
    wrong = [row.number for row in rows if not row.exact]
    which = f": {', '.join(map(str, wrong))}" if wrong else ""
    print(f"{len(rows)} cases, {len(wrong)} with differences{which}")
    return 1 if wrong else 0


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/exactness.md"))
    parser.add_argument("--only", type=int, nargs="+", help="numbers of cases; writes nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="cases at once")
    given = parser.parse_args(words)
    cases = [c for c in make_cases() if given.only is None or c.number in given.only]
    begin = time.perf_counter()
    rows = run_cases(cases, given.workers)
    facts = facts_of(given.workers, time.perf_counter() - begin)
    if given.only is None:
        command = "make exactness"
        record = {"command": command, **facts, "cases": [asdict(row) for row in rows]}
        given.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        write(given.output, report(rows, facts, command))
    return verdict(rows)


if __name__ == "__main__":
    sys.exit(main())
