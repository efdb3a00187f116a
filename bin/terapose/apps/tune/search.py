"""One sweep after the other: label images of each value, and what they say.

For each value there are the number of cells and their median size, how far the cells agree with
those of the value before, and, with a reference, the average precision. All are of all regions
together. The best value has the highest mean of the average precisions at `THRESHOLDS`; but if it
is no more than `MARGIN` above that of the start, the start is kept: a few cells decide about that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.tune.changes import Place, changed, compact, most_changed, pooled
from terapose.apps.tune.sweeps import Sweep

Labels = NDArray[np.int64]
Segment = Callable[[Mapping[str, float], int], NDArray[Any]]
"""Segments a region, by its number, with values by parameter: (Z, Y, X) labels."""


MARGIN = 0.005
"""Gain in the mean average precision below which a parameter keeps its value."""


@dataclass(frozen=True)
class Trial:
    """One value of a parameter, over all regions.

    Attributes
    ----------
    value
        The value.
    cells
        Number of cells.
    median_size
        In voxels; NaN without cells.
    agreement
        Average precision at `THRESHOLDS` against the cells of the value before; None for
        the first value.
    precision
        The same against the reference; None without one.
    """

    value: float
    cells: int
    median_size: float
    agreement: tuple[float, ...] | None
    precision: tuple[float, ...] | None

    @property
    def score(self) -> float:
        """By which the best is chosen; below 0 where there is nothing to score."""
        if self.precision is None or any(map(math.isnan, self.precision)):
            return -1.0
        return sum(self.precision) / len(self.precision)


@dataclass(frozen=True)
class Shown:
    """The place of a region at which most changes.

    Attributes
    ----------
    region
        Number of the region, from 0.
    place
        Where in the region.
    labels
        (down, right) section for each value.
    changes
        Voxels of cells without a counterpart at the value of the start, for each value.
    reference
        The section of the reference, if there is one.
    """

    region: int
    place: Place
    labels: list[Labels]
    changes: list[NDArray[np.bool_]]
    reference: Labels | None


@dataclass(frozen=True)
class Outcome:
    """What a sweep has shown.

    Attributes
    ----------
    sweep
        The parameter and its values.
    others
        Values of all parameters that the sweep started from.
    trials
        One for each value.
    chosen
        The value that later sweeps have.
    shown
        A place in each region, the one with the most changes first.
    """

    sweep: Sweep
    others: Mapping[str, float]
    trials: list[Trial]
    chosen: float
    shown: list[Shown]


@dataclass
class Search:
    """All sweeps over the same regions.

    Attributes
    ----------
    segment
        Segments a region.
    regions
        How many there are.
    start
        Values to begin with.
    references
        (Z, Y, X) labels of each region; None without a reference.
    report
        Called with the number of label images made, and of all.
    """

    segment: Segment
    regions: int
    start: Mapping[str, float]
    references: Sequence[Labels] | None = None
    report: Callable[[int, int], None] = lambda done, total: None
    _done: int = field(default=0, init=False)

    def run(self, sweeps: Sequence[Sweep]) -> Iterator[Outcome]:
        """Run sweeps; each starts from what the one before it has chosen."""
        values = dict(self.start)
        total = self.regions * sum(len(sweep.values) for sweep in sweeps)
        for sweep in sweeps:
            outcome = self._one(sweep, dict(values), total)
            values[sweep.name] = outcome.chosen
            yield outcome

    def _one(self, sweep: Sweep, values: Mapping[str, float], total: int) -> Outcome:
        found: list[list[Labels]] = []
        for value in sweep.values:
            of_value = []
            for region in range(self.regions):
                of_value.append(compact(self.segment({**values, sweep.name: value}, region)))
                self._done += 1
                self.report(self._done, total)
            found.append(of_value)
        trials = [
            _trial(value, found[n], found[n - 1] if n else None, self.references)
            for n, value in enumerate(sweep.values)
        ]
        before = values[sweep.name]
        chosen = before
        if self.references is not None:
            chosen = _best(trials, before)
        start = found[sweep.values.index(before)]
        shown = [self._shown(n, found, start[n], values["diameter"]) for n in range(self.regions)]
        shown.sort(key=lambda one: (-one.place.share, one.region))
        return Outcome(sweep, values, trials, chosen, shown)

    def _shown(
        self, region: int, found: list[list[Labels]], start: Labels, diameter: float
    ) -> Shown:
        """The place of a region at which most changes."""
        images = [of_value[region] for of_value in found]
        place = most_changed(images, diameter)
        inside = place.window.slices
        reference = None if self.references is None else self.references[region]
        return Shown(
            region,
            place,
            [labels[inside][0].copy() for labels in images],
            [changed(start, labels)[inside][0].copy() for labels in images],
            None if reference is None else reference[inside][0].copy(),
        )


def _best(trials: Sequence[Trial], before: float) -> float:
    """The value with the best score; that from before unless another is clearly better."""
    best = max(trials, key=lambda one: one.score)
    (start,) = (one for one in trials if one.value == before)
    return best.value if best.score > start.score + MARGIN else before


def _trial(
    value: float,
    found: Sequence[Labels],
    before: Sequence[Labels] | None,
    references: Sequence[Labels] | None,
) -> Trial:
    """What the label images of one value say."""
    sizes = np.concatenate([np.bincount(labels.ravel())[1:] for labels in found])
    return Trial(
        value,
        len(sizes),
        float(np.median(sizes)) if len(sizes) else math.nan,
        None if before is None else pooled(list(zip(before, found, strict=True))),
        None if references is None else pooled(list(zip(references, found, strict=True))),
    )
