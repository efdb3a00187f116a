"""Scores on real images, written as a page and as JSON: `make real-data DATA=../shared/data`.

1. Every image that the shipped network was not trained on (`benchmarks.real_sets`) is segmented
   with `terapose.api.runner.segment_file`, as `terapose segment` does, several times: with the
   diameter that is stated with the data, with that of the annotated objects, where it is another
   one, and with the one that the network finds in the image.
   ``--flow-scaling cellpose`` shows what Cellpose's own steps along Z give, ``--augment`` what
   tiles that are flipped give.
2. Each volume has a process of its own, so that its seconds and its peak memory are its own; planes
   are so small that several share one. Several processes run side by side. Nothing is random, the
   same labels come out each time.
3. The labels are scored with `terapose.apps.evaluate` against the reference of the same name.
4. Each data set has a section of the page and rows in the record, which are replaced when it is
   done: a run that is stopped, or of some data sets (``--only``), loses nothing of the others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.real_page import (
    ANNOTATED,
    COMMAND,
    FOUND,
    GIVEN,
    WAYS,
    Row,
    page,
    section_of,
    sections_of,
)
from benchmarks.real_sets import DATA_SETS, DataSet, Sample, find_samples, size_edges

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.core.threads import limit
from terapose.io.files import write_text

TOGETHER = 20
"""Planes that share a process."""


@dataclass(frozen=True)
class Work:
    """What one process does: images, the way they get their diameter, and how they are scored.

    ``changed`` has parameters that are not as by default.
    """

    samples: tuple[Sample, ...]
    way: str
    edges: tuple[float, ...]
    changed: Mapping[str, Any]


def score(sample: Sample, output: Path, work: Work) -> tuple[Row, dict[str, Any]]:
    """Segment an image in this process into a folder, and score the result.

    Parameters
    ----------
    sample, output
        What is segmented, and the folder for its results.
    work
        How.

    Returns
    -------
    row : Row
        The scores and the cost.
    model : dict
        The network, as in ``provenance.json``.
    """
    from terapose.api.runner import segment_file
    from terapose.apps.evaluate.agreement import volume_ratios
    from terapose.apps.evaluate.counts import overlap_of
    from terapose.apps.evaluate.evaluation import Settings, evaluate
    from terapose.apps.evaluate.sizes import Scale
    from terapose.io.images.array_like import open_labels
    from terapose.pipeline.peak import peak_memory

    given = dict(work.changed)
    if work.way == GIVEN:
        given["diameter"] = sample.diameter
    elif work.way == ANNOTATED:
        given["diameter"] = sample.annotated
    if sample.data_set.anisotropy is not None:
        given["anisotropy"] = sample.data_set.anisotropy
    begin = time.perf_counter()
    record = segment_file(sample.image, output, check(given))
    seconds, memory = time.perf_counter() - begin, peak_memory()
    reference = open_labels(sample.labels)[sample.region]
    labels = open_labels(output / "labels.zarr")[sample.region]
    row = Row(
        data_set=sample.data_set,
        image=sample.name,
        way=work.way,
        diameter=record["diameter"]["pixels"],
        origin=record["diameter"]["origin"],
        evaluation=evaluate(reference, labels, Settings(scale=Scale(edges=work.edges))),
        ratios=volume_ratios(overlap_of(reference, labels))[1],
        seconds=seconds,
        peak_memory=memory,
    )
    return row, record["model"]


def _alone(work: Work) -> list[tuple[Row, dict[str, Any]]]:
    """Score in a process that has just started."""
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        return [score(sample, Path(folder) / sample.name, work) for sample in work.samples]


def works(samples: Sequence[Sample], changed: Mapping[str, Any]) -> Iterator[Work]:
    """Divide the images among processes: each volume by itself, planes together."""
    for data_set, own in groupby(samples, lambda one: one.data_set):
        images = list(own)
        edges = size_edges(images)
        measured = data_set.annotated and data_set.diameter is not None
        for way in WAYS if measured else (GIVEN, FOUND):
            step = TOGETHER if data_set.planar else 1
            for first in range(0, len(images), step):
                yield Work(tuple(images[first : first + step]), way, edges, changed)


def _run(tasks: Iterable[Work], workers: int, threads: int) -> tuple[list[Row], dict[str, Any]]:
    """Score images in processes that end after their share, ``workers`` of them at once."""
    # before they start: they import this module, and with it numba and torch, before they call
    # anything, and those look at the variables only then
    limit(threads)
    context = multiprocessing.get_context("spawn")

    def one(work: Work) -> list[tuple[Row, dict[str, Any]]]:
        try:
            with ProcessPoolExecutor(1, mp_context=context) as process:
                results = process.submit(_alone, work).result()
        except BrokenProcessPool as error:
            raise InputError(
                "the process was killed",
                where=work.samples[0].image,
                got="most likely too little memory",
                remedy="give fewer --workers",
            ) from error
        for row, _ in results:
            print(f"{row.data_set.name}/{row.image}, {row.way}: {row.seconds:.0f} s", flush=True)
        return results

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(one, work) for work in tasks]
        try:
            results = [each for future in futures for each in future.result()]
        finally:
            pool.shutdown(cancel_futures=True)
    return [row for row, _ in results], results[0][1]


def _environment(model: dict[str, Any], workers: int, threads: int) -> dict[str, str]:
    """What the numbers were made with."""
    from terapose import __version__
    from terapose.pipeline.code import package_digest

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ("torch", "numpy", "numba", "zarr")
    return {
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, no GPU used; "
        f"processes at once: {workers}, threads of each: {threads}",
        "Versions": f"terapose {__version__} (source {package_digest()[:12]}), "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in libraries),
        "Network": f"{model['name']} (SHA-256 {model['digest'][:12]}), objects scaled to "
        f"{model['diam_mean']:g} pixels",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:(.*)", lines.read_text(), re.M) if lines.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def write(output: Path, data_set: DataSet, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Put the rows of a data set into the page and the record beside it."""
    record = output.with_suffix(".json")
    old = json.loads(record.read_text()) if record.exists() else {"made": {}, "images": []}
    made = {**old["made"], data_set.name: dict(facts)}
    images = [image for image in old["images"] if image["data_set"] != data_set.name]
    images += [row.as_dict() for row in rows]
    order = [one.name for one in DATA_SETS]
    images.sort(key=lambda image: order.index(image["data_set"]))
    lines = ",\n  ".join(map(json.dumps, images))
    head = json.dumps({"command": COMMAND, "made": made}, indent=1).removesuffix("\n}")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(record, f'{head},\n "images": [\n  {lines}\n ]\n}}\n')
    sections = sections_of(output.read_text()) if output.exists() else {}
    write_text(output, page({**sections, data_set.name: section_of(data_set, rows, facts)}))


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, score, write."""
    names = [data_set.name for data_set in DATA_SETS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="some data sets")
    parser.add_argument("--flow-scaling", choices=("anisotropy", "cellpose"))
    parser.add_argument("--augment", action="store_true", default=None)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at once")
    given = parser.parse_args(words)
    if given.workers < 1:
        parser.error("--workers: at least 1")
    options = {"flow_scaling": given.flow_scaling, "augment": given.augment}
    changed = {name: value for name, value in options.items() if value is not None}
    # all of them are looked for before hours of work
    images = {name: find_samples(given.data, [name]) for name in given.only}
    threads = max(1, (os.cpu_count() or 1) // given.workers)
    for name, samples in images.items():
        rows, model = _run(works(samples, changed), given.workers, threads)
        facts = _environment(model, given.workers, threads)
        if changed:
            facts["Parameters"] = ", ".join(f"`{name}: {changed[name]}`" for name in changed)
        write(given.output, samples[0].data_set, rows, facts)
        print(f"{name}: {len(samples)} images: {given.output}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"real_data: {error}", file=sys.stderr)
        sys.exit(2)
