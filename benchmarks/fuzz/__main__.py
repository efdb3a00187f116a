"""Run ranges of seeds, and say which of them ended in another way than they may."""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import importlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from benchmarks.fuzz import children, corpus, mutations, targets

KINDS = tuple(corpus.WRITERS)


def warm(kinds: Iterable[str]) -> None:
    """Import what the commands import for these kinds, so that children need not.

    A child costs more, the more there is: what only images need is left out without them.
    """
    os.environ.setdefault("COLUMNS", "10000")
    names = ["tifffile", *(f"terapose.{name}" for name in _LIGHT_MODULES)]
    if not _LIGHT.issuperset(kinds):
        names += [*_LIBRARIES, *(f"terapose.{name}" for name in _MODULES)]
    for name in names:
        importlib.import_module(name)
    if not _LIGHT.issuperset(kinds):
        import numba
        import torch

        torch.set_num_threads(1)
        # the first function that is compiled loads all that Numba knows of arrays
        numba.njit(lambda values: values.sum())(np.arange(3))
    # or each child would copy all of this where it looks for garbage
    gc.collect()
    gc.freeze()


_LIGHT = frozenset({"params", "samplesheet", "markers", "provenance"})
_LIGHT_MODULES = ("cli.check", "stages.check", "stages.plan", "io.listing", "networks.ensemble")
_LIBRARIES = (
    "imagecodecs",
    "imagecodecs._zlib",
    "imagecodecs._imcd",
    "multiprocessing.synchronize",
    "pandas.core.arrays.arrow.extension_types",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "rich.progress",
    "rich.table",
    "tifffile.zarr",
    "zarr",
)
_MODULES = (
    "cli.check",
    "cli.cut",
    "cli.evaluate",
    "cli.scoring",
    "cli.score_tables",
    "cli.measure",
    "cli.pack",
    "cli.plan",
    "cli.progress",
    "results.thumbnails.cut",
    "api.measuring",
    "apps.evaluate.asked",
    "apps.evaluate.pairs",
    "apps.evaluate.summary",
    "apps.pack",
    "networks.loading",
    "stages.check",
    "apps.train.dataset",
    "apps.train.simulated",
)


def make_corpus(folder: Path) -> None:
    """Write the good inputs in a child: threads of libraries would not outlive a fork."""
    done = children.run(lambda: corpus.make(folder), folder.parent, limited=False)
    if done.kind != "done":
        raise RuntimeError(done.said)


class Case:
    """One input, damaged as its kind and seed say, and the command that reads it.

    Parameters
    ----------
    kind, seed
        What decides everything.
    good
        Folder of the good inputs.
    folder
        To be made, for the input.
    """

    def __init__(self, kind: str, seed: int, good: Path, folder: Path) -> None:
        rng = random.Random(f"{kind} {seed}")
        inputs = [next(p.iterdir()) for p in sorted((good / kind).iterdir())]
        source = rng.choice(inputs)
        folder.mkdir()
        name = targets.NAMES.get(kind, source.name)
        mutations.copy(source, folder / name)
        self.folder = folder
        self.done = mutations.mutate(folder / name, rng, inputs)
        self.command, self.work = targets.work_of(kind, folder / name, good / "common", rng)


def cases(
    kinds: list[str], seeds: range, good: Path, folder: Path
) -> Iterator[tuple[str, int, Case, children.Outcome, float]]:
    """Run all cases one after the other; each is removed when the next one is asked for."""
    for seed in seeds:
        for kind in kinds:
            case = Case(kind, seed, good, folder / f"{kind}-{seed}")
            started = time.monotonic()
            outcome = children.run(case.work, case.folder)
            yield kind, seed, case, outcome, time.monotonic() - started
            shutil.rmtree(case.folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", help="first:last+1 (default 0:1000)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="default all")
    parser.add_argument("--keep", type=Path, help="leave the inputs of faults here")
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition(":")
    seeds = range(int(first), int(last or int(first) + 1))
    kinds = given.kind or list(KINDS)
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in kinds}
    faults: collections.Counter[str] = collections.Counter()
    warm(kinds)
    with tempfile.TemporaryDirectory(prefix="terapose-fuzz-") as place:
        good, folder = Path(place, "good"), Path(place, "cases")
        folder.mkdir()
        make_corpus(good)
        # stopped by a person, it says how far it came
        with contextlib.suppress(KeyboardInterrupt):
            for kind, seed, case, outcome, seconds in cases(kinds, seeds, good, folder):
                counts[kind][outcome.kind] += 1
                counts[kind]["slowest"] = max(counts[kind]["slowest"], round(seconds))
                if len(seeds) == 1 and len(kinds) == 1:
                    print(f"{case.done}\n{case.command}\n{outcome.said}")
                if outcome.is_fault:
                    faults[f"{outcome.kind} {outcome.key}"] += 1
                    if faults[f"{outcome.kind} {outcome.key}"] <= 3:
                        told = f"{case.done}; {case.command}"
                        print(f"{kind} {seed}: {outcome.kind}: {outcome.key}; {told}", flush=True)
                    if given.keep:
                        # pipes cannot be copied
                        with contextlib.suppress(shutil.Error):
                            shutil.copytree(
                                case.folder, given.keep / f"{kind}-{seed}", symlinks=True
                            )
    print(report(counts))
    for fault, count in faults.most_common():
        print(f"{count:>6}  {fault}")
    return int(bool(faults))


_COLUMNS = ("done", "refused", "traceback", "untold", "crash", "hang", "memory", "slowest")


def report(counts: dict[str, collections.Counter[str]]) -> str:
    """A table of how many inputs of each kind ended in which way."""
    lines = ["| kind | inputs | " + " | ".join(_COLUMNS) + " |", "| --- |" + " ---: |" * 9]
    for kind, row in counts.items():
        total = sum(row.values()) - row["slowest"]
        numbers = " | ".join(str(row[column]) for column in _COLUMNS)
        lines.append(f"| {kind} | {total:,} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
