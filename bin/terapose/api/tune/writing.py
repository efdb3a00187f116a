"""What `terapose tune` writes: numbers, a sheet to compare by eye, and parameters to run with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from terapose.api.tune.folder import FORMAT, NUMBERS, PAGE, PARAMETERS, PICTURE
from terapose.api.tune.sheet import sheet
from terapose.apps.tune.changes import THRESHOLDS
from terapose.apps.tune.picture import draw
from terapose.apps.tune.search import Outcome, Trial
from terapose.core.geometry import Box
from terapose.core.masking import masked
from terapose.core.param_types import in_utf8
from terapose.core.params import Parameters
from terapose.core.region import box_text
from terapose.core.version import __version__
from terapose.io import files
from terapose.io.images.model import Image


@dataclass(frozen=True)
class Facts:
    """What was tried on.

    Attributes
    ----------
    address
        Of the image.
    mode
        Of the image.
    opened
        The image.
    start
        Values to begin with.
    boxes
        The regions, within the image as it was opened.
    reference
        Address of the reference; empty without one.
    """

    address: str
    mode: str
    opened: Image
    start: Mapping[str, float]
    boxes: Sequence[Box]
    reference: str

    def region(self, number: int) -> str:
        """A region as the parameter has it."""
        return box_text(self.boxes[number].moved(self.opened.region.start))


def write(
    output: Path,
    facts: Facts,
    outcomes: Sequence[Outcome],
    greys: Sequence[Sequence[NDArray[Any]]],
    best: Parameters,
) -> None:
    """Write all files.

    Parameters
    ----------
    output
        The folder.
    facts
        What was tried on.
    outcomes
        What each sweep has shown.
    greys
        The section of the image for each place that an outcome shows.
    best
        Parameters with the values that were chosen.
    """
    _write_json(output / NUMBERS, numbers(facts, outcomes))
    with files.written(output / PAGE, "sheet") as place:
        place.write_text(in_utf8(sheet(facts, outcomes, greys)), encoding="utf-8")
    draw(outcomes, [some[0] for some in greys], output / PICTURE)
    _write_json(output / PARAMETERS, to_run_with(facts.address, best))


def to_run_with(address: str, best: Parameters) -> dict[str, Any]:
    """Parameters for ``nextflow run . -params-file``: the image, and all that are no defaults.

    An address with credentials is left out: the file may be passed on.
    """
    given = best.model_dump(mode="json", exclude_defaults=True)
    return given if masked(address) != address else {"input": address, **given}


def numbers(facts: Facts, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All numbers, for programs."""
    return {
        "format": FORMAT,
        "terapose": __version__,
        "image": masked(facts.address),
        "mode": facts.mode,
        "reference": masked(facts.reference) or None,
        "iou": list(THRESHOLDS),
        "start": dict(facts.start),
        "regions": [facts.region(n) for n in range(len(facts.boxes))],
        "sweeps": [_sweep(facts, outcome) for outcome in outcomes],
    }


def _sweep(facts: Facts, outcome: Outcome) -> dict[str, Any]:
    """The numbers of a sweep."""
    offset = facts.opened.region.start
    places = [
        {
            "region": facts.region(one.region),
            "place": box_text(one.place.window.moved(facts.boxes[one.region].start).moved(offset)),
            "changed": one.place.share,
        }
        for one in outcome.shown
    ]
    return {
        "parameter": outcome.sweep.name,
        "others": {k: v for k, v in outcome.others.items() if k != outcome.sweep.name},
        "values": [_trial(trial) for trial in outcome.trials],
        "best": outcome.chosen if facts.reference else None,
        "places": places,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    """The numbers of a value."""
    return {
        "value": trial.value,
        "cells": trial.cells,
        "median_size": _plain(trial.median_size),
        "agreement": None if trial.agreement is None else [_plain(v) for v in trial.agreement],
        "average_precision": (
            None if trial.precision is None else [_plain(v) for v in trial.precision]
        ),
    }


def _plain(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else value


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with files.written(path, "numbers") as place:
        text = json.dumps(content, indent=1, allow_nan=False)
        place.write_text(f"{text}\n", encoding="utf-8")
