"""The reports of results: `report.html`, `report.json` and `report_mqc.json` of a sample or a run.

They are made of complete results, which stay as they are. What is read is bounded, whatever the
size of the image: the table of cells as it streams by, a level of the pyramid that is small enough,
and about thirty windows. The same results give the same bytes: no time of day is written, places
are chosen with a fixed seed, and names are sorted.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from terapose.core.errors import InputError
from terapose.core.geometry import zyx
from terapose.core.param_types import in_utf8
from terapose.io import files
from terapose.results.earlier import RECORD
from terapose.results.report.cells import summarise
from terapose.results.report.findings import findings
from terapose.results.report.given import facts_in, record_in
from terapose.results.report.numbers import diameter_used, factor, found_diameter, numbers
from terapose.results.report.own import MULTIQC, NUMBERS, PAGE, refuse_others
from terapose.results.report.places import fullest, places
from terapose.results.report.run_page import multiqc, run_facts, run_page
from terapose.results.report.sample_page import sample_page
from terapose.results.report.source import Source, open_source
from terapose.results.report.views import views


def write_report(results: Path, output: Path, *, name: str = "", address: str = "") -> Path:
    """Write the report of a sample.

    Parameters
    ----------
    results
        Folder of the results.
    output
        Folder for the report.
    name
        Of the sample; that of the folder of results if it is not given.
    address
        Of the image, if it is not that of the record.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputError
        If results or image cannot be read, do not belong together, or something that is no report
        has the name of one.
    """
    record = record_in(results)
    refuse_others(output)
    source = open_source(results, record, address)
    shape, offset = source.shape, zyx(record["output"]["offset"])
    summed = partial(summarise, results, record, shape, offset, planar=record["mode"] == "2d")
    found, nuclei = summed(), summed(name="nuclei")
    typical = None if found is None else found_diameter(found, record)
    diameter = typical or (diameter_used(record) or 1) * factor(record)
    chosen = [] if found is None else places(found, source.block)
    shown = views(source, fullest(found, shape), chosen, diameter)
    saturated = _saturated(source)
    some = findings(record, found, saturated, nuclei)
    # before anything is written: what was read is what was opened
    source.watch.confirm()
    title = in_utf8(name or Path(os.path.abspath(results)).name)
    facts = {
        **numbers(title, record, found, saturated, nuclei),
        "warnings": [dict(one._asdict()) for one in some],
    }
    _write(output, sample_page(facts, some, found, shown), facts, multiqc([facts]))
    return output / PAGE


def write_run_report(reports: Sequence[Path], output: Path, folder: str | None = None) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    reports
        `report.json` of each sample.
    output
        Folder for the report.
    folder
        Of each sample, as seen from there, with ``{}`` for the name of the sample; where its
        `report.json` is if it is not given.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputError
        If one is no report, two are of one sample, or something that is no report has the name of
        one.
    """
    refuse_others(output)
    samples = [facts_in(path) for path in reports]
    names = [facts["sample"] for facts in samples]
    doubled = sorted(name for name, times in Counter(names).items() if times > 1)
    if doubled:
        raise InputError("several reports are of one sample", where=output, got=", ".join(doubled))
    places_of = {
        name: os.path.relpath(path.parent, output) if folder is None else folder.replace("{}", name)
        for name, path in zip(names, reports, strict=True)
    }
    samples.sort(key=lambda facts: str(facts["sample"]))
    _write(output, run_page(samples, places_of), run_facts(samples), multiqc(samples))
    return output / PAGE


def samples_in(results: Path) -> list[Path]:
    """Folders of samples in a folder that is not one itself, in the order of their names."""
    if (results / RECORD).exists() or not results.is_dir():
        return []
    some = (one for one in results.iterdir() if one.is_dir() and not one.name.startswith("."))
    return sorted(one for one in some if any((one / n).is_file() for n in (RECORD, NUMBERS)))


def _write(output: Path, page: str, facts: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    """Write the files, the page last."""
    output.mkdir(parents=True, exist_ok=True)
    for name, content in ((NUMBERS, facts), (MULTIQC, table)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        files.write_text(output / name, text + "\n", "report")
    files.write_text(output / PAGE, page, "report")


def _saturated(source: Source) -> dict[str, Any]:
    """The highest intensity, and the share of the voxels that have it.

    It counts as saturation where it is the highest number of 8, 10, 12, 14 or 16 bits and the like:
    the highest of a detector. Other images have a highest voxel, too.
    """
    seen = source.saturation
    if not seen.read or not np.isfinite(seen.highest):
        return {"highest": None, "share": None, "counts": False}
    whole = seen.highest.is_integer() and seen.highest >= 255
    counts = whole and (int(seen.highest) & (int(seen.highest) + 1)) == 0
    return {"highest": seen.highest, "share": round(seen.share, 6), "counts": counts}
