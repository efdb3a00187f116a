"""Steps of finished runs, from their records and from Nextflow's traces.

A record (``provenance.json``) has what tasks have measured themselves: seconds, processor seconds
and memory of the work alone. The trace of the workflow (``pipeline_info/trace.txt``) has what a
task takes from outside, with the start of Python and of a container. Both are put side by side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from terapose.apps.profile import trace
from terapose.apps.profile.steps import Group, Power, Step, groups
from terapose.core.version import __version__
from terapose.pipeline.graph import SCATTERED
from terapose.results.records import complete_record
from terapose.results.report.writing import samples_in

TRACE = Path("pipeline_info") / "trace.txt"
FORMAT = "terapose profile 1"


def steps_in(places: Sequence[Path]) -> list[Step]:
    """Steps of results.

    Parameters
    ----------
    places
        Folders of results, or of several samples.

    Raises
    ------
    InputError
        If there are none, or a record or a trace is not as it was written.
    """
    steps: list[Step] = []
    folders = dict.fromkeys(one for place in places for one in samples_in(place) or [place])
    names = _names(list(folders))
    for folder in folders:
        record = complete_record(folder)
        steps += _with_trace(_own(names[folder], record), folder)
    return steps


def _names(folders: list[Path]) -> dict[Path, str]:
    """Names of results: those of the folders, or whole paths where these are not enough."""
    short = {folder: folder.resolve().name for folder in folders}
    unique = len(set(short.values())) == len(folders)
    return short if unique else {folder: str(folder) for folder in folders}


def _own(result: str, record: Mapping[str, Any]) -> list[Step]:
    """The steps of a record."""
    # labels that were given were found by no network
    mode, network = record["mode"], Path(record.get("model", {"name": ""})["name"]).name
    return [
        Step(
            result,
            name,
            mode,
            network,
            tuple(record["image"]["shape"]),
            int(stage.get("tasks", 1)),
            stage.get("seconds"),
            stage.get("processor_seconds"),
            stage.get("peak_memory"),
        )
        for name, stage in record["stages"].items()
    ]


def _with_trace(steps: list[Step], folder: Path) -> list[Step]:
    """Steps with what the trace of the workflow says of this sample, if there is one."""
    where = folder.resolve().parent / TRACE
    if not where.is_file():
        return steps
    sample = folder.resolve().name
    with where.open(encoding="utf-8", errors="replace", newline="") as lines:
        tasks = trace.parse(lines, where, [sample], SCATTERED)[sample]
    if not tasks:
        return steps
    first = steps[0]
    known = {step.name: step for step in steps}
    for name, found in tasks.items():
        step = known.get(name)
        if step is None:
            step = Step(first.result, name, first.mode, first.network, first.shape, found.number)
        measured = {"task_seconds": found.seconds, "task_memory": found.memory or None}
        known[name] = Step(**{**vars(step), **measured})
    return list(known.values())


def as_json(steps: Sequence[Step], found: Sequence[Group]) -> str:
    """All steps and fits as a JSON document."""
    content = {
        "format": FORMAT,
        "terapose": __version__,
        "steps": [{**vars(step), "voxels": step.voxels} for step in steps],
        "growth": [
            {
                "mode": group.mode,
                "network": group.network,
                "step": one.step.name,
                "largest": one.step.result,
                "share": one.share,
                "seconds": _power(one.seconds),
                "memory": _power(one.memory),
            }
            for group in found
            for one in group.growth
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _power(power: Power | None) -> dict[str, float] | None:
    return None if power is None else power._asdict()


def profile(places: Sequence[Path]) -> tuple[list[Step], list[Group]]:
    """Steps of results, and how they grow; see `steps_in`."""
    steps = steps_in(places)
    return steps, groups(steps)
