"""Scores on real volumes, written as a page and as JSON: `make real-data DATA=../shared/data`.

1. Every volume is segmented with `terapose.api.runner.segment_file`, as `terapose segment` does, by
   the shipped network. Given is the diameter, one for a whole data set: the size that its
   description states, not one fitted to its images. ``--flow-scaling cellpose`` shows what
   Cellpose's own steps along Z give.
2. Each volume has a process of its own, so that its seconds and its peak memory are its own;
   several run side by side. Nothing is random, the same labels come out each time.
3. The labels are scored with `terapose.apps.evaluate` against the reference of the same name.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.files import write_text

TRAINING, HELD_OUT = "training", "held out"
SCALING = check({}).flow_scaling
MANY = 8
"""Rows from which those of single volumes are folded away."""


@dataclass(frozen=True)
class DataSet:
    """A folder of volumes with references, and how it is segmented.

    Attributes
    ----------
    name
        Of the folder: TIFF twins in ``images/`` and ``labels/``, or HDF5 files with the datasets
        ``raw`` and ``label``.
    title, source, note
        For the page.
    diameter
        Of a typical object in pixels of Y and X, as the data's description has it.
    anisotropy
        Z step over pixel size, where the files do not tell the voxel size.
    trained_on
        Beginnings of the names of volumes that the shipped network was trained on.
    sparse
        Whether only some objects are annotated: what is found besides them is not wrong.
    """

    name: str
    title: str
    source: str
    diameter: float
    note: str
    anisotropy: float | None = None
    trained_on: tuple[str, ...] = ()
    sparse: bool = False


DATA_SETS = (
    DataSet(
        name="nuclei3d_embryo",
        title="Mouse embryo nuclei",
        source="BBBC050, CC BY 3.0",
        diameter=14,
        trained_on=tuple(f"Emb{number:02d}_" for number in range(1, 9)),
        note="Eleven embryos at three times each. The network was trained on planes of embryos 1 "
        "to 8; embryos 9 to 11 are held out, and only their rows show how well it generalises.",
    ),
    DataSet(
        name="nuclei3d_plant",
        title="Arabidopsis ovule nuclei",
        source="GoNuclear 1135, MIT",
        diameter=36,
        trained_on=("1135_",),
        note="The network was trained on the first 50 of the 100 planes along Z; the "
        "network's model card reports the other half.",
    ),
    DataSet(
        name="nuclei3d_organoids",
        title="Tumour organoid nuclei",
        source="Cellos, MIT",
        diameter=18,
        anisotropy=6,
        sparse=True,
        note="The network was not trained on data of this type. Only some nuclei are "
        "annotated, so further detections are not errors and there is no average precision. The "
        "files contain no voxel size; assuming round nuclei of about 3 planes by 18 pixels gives "
        "an anisotropy of 6.",
    ),
    DataSet(
        name="cells3d_ovule",
        title="Arabidopsis ovule cells",
        source="PlantSeg test sample, MIT",
        diameter=23,
        note="This is a membrane stain, and the shipped network is for nuclei: the score shows "
        "what happens with an image it was not made for.",
    ),
)


@dataclass(frozen=True)
class Volume:
    """One volume of a data set: addresses of the image and of the reference labels."""

    data_set: DataSet
    name: str
    image: str
    labels: str

    @property
    def use(self) -> str:
        """Whether the shipped network was trained on it."""
        return TRAINING if self.name.startswith(self.data_set.trained_on) else HELD_OUT


@dataclass(frozen=True)
class Row:
    """What one volume gave; scores without a meaning are None.

    Shape is (Z, Y, X), reference and predicted are numbers of instances, recall and the mean IoU
    those of matches at an IoU of 0.5; seconds are those of the segmentation, reading and writing
    included, and the memory is the largest resident size of its process in bytes.
    """

    data_set: str
    volume: str
    use: str
    shape: tuple[int, ...]
    reference: int
    predicted: int
    ap50: float | None
    ap75: float | None
    recall: float | None
    mean_iou: float | None
    seconds: float
    peak_memory: int


def find_volumes(data: Path, names: Sequence[str], *, quick: bool = False) -> list[Volume]:
    """List the volumes of the named data sets; quick: only one of each embryo.

    Raises
    ------
    InputError
        If the folder of a data set holds no volume.
    """
    volumes = []
    for data_set in (one for one in DATA_SETS if one.name in names):
        folder = data / data_set.name
        twins, others = sorted(folder.glob("images/*.tif")), sorted(folder.glob("*.h5"))
        found = [Volume(data_set, p.stem, str(p), f"{folder}/labels/{p.name}") for p in twins]
        found += [Volume(data_set, p.stem, f"{p}/raw", f"{p}/label") for p in others]
        if not found:
            raise InputError(
                "there are no volumes",
                where=folder,
                allowed="TIFF twins in images/ and labels/, or HDF5 files with raw and label",
                remedy="name the folder of the data sets with --data (make real-data DATA=...)",
            )
        if quick and data_set.trained_on:
            found = _one_each(found)
        volumes += found
    return volumes


def _one_each(volumes: Sequence[Volume]) -> list[Volume]:
    """Of every embryo its middle volume in time: the first has the fewest and largest nuclei."""
    groups = [list(group) for _, group in groupby(volumes, lambda volume: volume.name[:5])]
    return [group[len(group) // 2] for group in groups]


def score(volume: Volume, output: Path, scaling: str = SCALING) -> tuple[Row, dict[str, Any]]:
    """Segment a volume in this process into a folder, and score the result.

    Parameters
    ----------
    volume, output
        What is segmented, and the folder for its results.
    scaling
        The parameter ``flow_scaling``.

    Returns
    -------
    row : Row
        The scores and the cost.
    model : dict
        The network, as in ``provenance.json``.
    """
    from terapose.api.runner import segment_file
    from terapose.apps.evaluate.scores import compare
    from terapose.io.images.array_like import open_labels
    from terapose.pipeline.peak import peak_memory

    data_set = volume.data_set
    given = {"diameter": data_set.diameter, "anisotropy": data_set.anisotropy}
    params = check({**given, "flow_scaling": scaling})
    begin = time.perf_counter()
    record = segment_file(volume.image, output, params)
    seconds, memory = time.perf_counter() - begin, peak_memory()
    reference, labels = open_labels(volume.labels), open_labels(output / "labels.zarr")
    scores = compare(reference, labels, thresholds=(0.5, 0.75)).as_dict()
    ap50, ap75 = (None, None) if data_set.sparse else scores["average_precision"]
    row = Row(
        data_set=data_set.name,
        volume=volume.name,
        use=volume.use,
        shape=reference.shape,
        reference=scores["reference"],
        predicted=scores["predicted"],
        ap50=ap50,
        ap75=ap75,
        recall=scores["recall"][0],
        mean_iou=scores["mean_iou"],
        seconds=seconds,
        peak_memory=memory,
    )
    return row, record["model"]


def _alone(volume: Volume, scaling: str, threads: int) -> tuple[Row, dict[str, Any]]:
    """Score in a process that has just started; libraries read these when they are imported."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)))
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        return score(volume, Path(folder) / volume.name, scaling)


def _run(
    volumes: Sequence[Volume], scaling: str, workers: int, threads: int
) -> tuple[list[Row], dict[str, Any]]:
    """Score volumes, each in a process of its own, ``workers`` of them at once."""
    context = multiprocessing.get_context("spawn")

    def one(volume: Volume) -> tuple[Row, dict[str, Any]]:
        try:
            with ProcessPoolExecutor(1, mp_context=context) as process:
                result = process.submit(_alone, volume, scaling, threads).result()
        except BrokenProcessPool as error:
            raise InputError(
                "the process was killed",
                where=volume.image,
                got="most likely too little memory",
                remedy="give fewer --workers",
            ) from error
        print("{0.data_set}/{0.volume}: {0.seconds:.0f} s".format(result[0]), flush=True)
        return result

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(one, volume) for volume in volumes]
        try:
            results = [future.result() for future in futures]
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
        f"volumes at once: {workers}, threads of each: {threads}",
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


def page(rows: Sequence[Row], facts: dict[str, str], command: str, scaling: str = SCALING) -> str:
    """The results as Markdown, with what they were made with and the command that makes them."""
    changed = f" and `flow_scaling: {scaling}`" * (scaling != SCALING)
    parts = [
        "# Results on real images",
        f"Generated by `{command}`; every number below was measured by it.",
        "\n".join(f"- {name}: {fact}" for name, fact in facts.items()),
        f"Each volume is segmented as by `terapose segment`, with the network above{changed}; "
        "one diameter is used for each data set. It is stated with the data, not fitted to the "
        "images. Average precision (AP) is TP / (TP + FP + FN) at an "
        "intersection over union (IoU) of 0.5 and 0.75; recall is the fraction of reference "
        "objects matched at 0.5, matched IoU the mean IoU of these matches. Means are over "
        "volumes, counts and seconds are sums, memory is the largest.",
    ]
    for data_set in DATA_SETS:
        own = [row for row in rows if row.data_set == data_set.name]
        if own:
            parts += _section(data_set, own)
    return "\n\n".join(parts) + "\n"


def _section(data_set: DataSet, rows: Sequence[Row]) -> list[str]:
    given = f"Diameter {data_set.diameter:g} pixels"
    if data_set.anisotropy is not None:
        given += f", anisotropy {data_set.anisotropy:g}"
    groups = [[row for row in rows if row.use == use] for use in (HELD_OUT, TRAINING)]
    means = [_cells(f"mean of {len(g)} volumes", g) for g in groups if len(g) > 1]
    singles = [_cells(row.volume, [row]) for row in rows]
    parts = [
        f"## {data_set.title} (`{data_set.name}`)",
        f"{data_set.source}. {data_set.note} {given}.",
    ]
    if len(rows) < MANY:
        return [*parts, _table([*singles, *means], data_set.sparse)]
    table = _table(singles, data_set.sparse)
    folded = f"<details>\n<summary>Each volume</summary>\n\n{table}\n\n</details>"
    return [*parts, _table(means, data_set.sparse), folded]


def _cells(name: str, rows: Sequence[Row]) -> dict[str, str]:
    """One line of a table, by column: of a volume, or of several taken together."""
    return {
        "volume": name,
        "use": rows[0].use,
        "reference": str(sum(row.reference for row in rows)),
        "predicted": str(sum(row.predicted for row in rows)),
        "AP 0.5": _average(row.ap50 for row in rows),
        "AP 0.75": _average(row.ap75 for row in rows),
        "recall": _average(row.recall for row in rows),
        "matched IoU": _average(row.mean_iou for row in rows),
        "seconds": f"{sum(row.seconds for row in rows):.0f}",
        "peak memory": f"{max(row.peak_memory for row in rows) / 2**30:.1f} GiB",
    }


def _average(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.3f}" if known else "-"


def _table(lines: Sequence[dict[str, str]], sparse: bool) -> str:
    columns = [name for name in lines[0] if not (sparse and name.startswith("AP "))]
    rows = [columns, ["---", "---", *["---:"] * (len(columns) - 2)]]
    rows += [[line[name] for name in columns] for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, score, write."""
    names = [data_set.name for data_set in DATA_SETS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--only", choices=names, help="one data set")
    parser.add_argument("--quick", action="store_true", help="one volume of each embryo")
    parser.add_argument("--held-out", action="store_true", help="only what was not trained on")
    parser.add_argument("--flow-scaling", choices=("anisotropy", "cellpose"), default=SCALING)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="volumes at once")
    given = parser.parse_args(words)
    if given.workers < 1:
        parser.error("--workers: at least 1")
    volumes = find_volumes(given.data, [given.only] if given.only else names, quick=given.quick)
    if given.held_out:
        volumes = [volume for volume in volumes if volume.use == HELD_OUT]
        if not volumes:
            parser.error("--held-out: the network was trained on all of these")
    threads = max(1, (os.cpu_count() or 1) // given.workers)
    rows, model = _run(volumes, given.flow_scaling, given.workers, threads)
    command = "python benchmarks/real_data.py --data DATA"
    command += f" --only {given.only}" * bool(given.only) + " --quick" * given.quick
    command += " --held-out" * given.held_out
    command += f" --flow-scaling {given.flow_scaling}" * (given.flow_scaling != SCALING)
    facts = _environment(model, given.workers, threads)
    record = {"command": command, **facts, "volumes": [asdict(row) for row in rows]}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(given.output.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    write_text(given.output, page(rows, facts, command, given.flow_scaling))
    print(f"{len(rows)} volumes: {given.output}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"real_data: {error}", file=sys.stderr)
        sys.exit(2)
