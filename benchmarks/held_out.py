"""Scores of a network on the held-out 2D images: `python -m benchmarks.held_out --data DATA`.

1. The images are every fifth of the data set, in the order of their names, without those that are
   also in BBBC039 (`benchmarks.nuclei_data`); ``--part validation`` takes those to choose by.
2. Each is segmented by Cellpose's rules for masks, with a diameter of its own (the median of its
   annotated nuclei), with one for all, and with the one that is found in it, as by ``terapose
   segment`` without ``diameter``.
3. Average precision (`terapose.apps.evaluate`) is pooled over the objects of all images, and its
   95 % interval is that of 2,000 seeded samples of as many images, with replacement.
4. The size of a match is the area that was found over the area that was annotated.
5. ``--picture`` draws the images with the lowest precision at 0.5, with what was annotated and what
   was found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.nuclei_data import DIAMETER, THRESHOLDS, divide, planar_pairs
from numpy.typing import NDArray

from terapose.apps.evaluate.agreement import volume_ratios
from terapose.apps.evaluate.counts import overlap_of
from terapose.apps.evaluate.intervals import bootstrap
from terapose.apps.evaluate.numbers import quartiles
from terapose.apps.evaluate.scores import Scores, scored
from terapose.apps.train.data import Item, items_of
from terapose.apps.train.score import segment
from terapose.core.params import check
from terapose.networks.ensemble import identify_all
from terapose.networks.loading import load
from terapose.networks.weights import resolve
from terapose.pipeline.checked import open_checked
from terapose.pipeline.sized import find_diameter

WORST = 10
PARTS = ("held out", "validation")
WAYS = ("own", "fixed", "found")
Diameter = Callable[[Item], float]
Column = NDArray[np.float64]
Spread = tuple[float, float, float]
"""A score, and the ends of its interval."""


@dataclass(frozen=True)
class Scored:
    """An image, the labels that were found in it, and how they fit.

    Attributes
    ----------
    item, found
        The image with its annotation, and what was found, shape (Y, X).
    scores
        Of the image, at `THRESHOLDS`.
    areas
        Area found over area annotated, of each match at an intersection over union of 0.5.
    """

    item: Item
    found: NDArray[np.integer[Any]]
    scores: Scores
    areas: NDArray[np.float64]


def read_items(data: Path, part: str) -> list[Item]:
    """The 2D images of a part, whole, with their annotations."""
    folder = data / "nuclei2d_dsb2018"
    offered, held = planar_pairs(folder)
    pairs = held if part == "held out" else divide(offered, 8)[1]
    return [item for pair in pairs for item in items_of(pair, 0)]


def finder(data: Path, model: Path) -> Diameter:
    """What finds the diameter in an image's file."""
    params, info = check({}), identify_all([model])

    def find(item: Item) -> float:
        image = open_checked(str(data / "nuclei2d_dsb2018" / "images" / item.name), params)
        found = find_diameter(image, [model], info, params)
        print(f"{item.name}: {item.diameter:.1f} {found.text}", file=sys.stderr, flush=True)
        return found.pixels

    return find


def segmented(
    network: torch.nn.Module, items: Sequence[Item], diameter: Diameter
) -> Iterator[Scored]:
    """Segment and score images."""
    for item in items:
        yield scored_image(item, segment(network, item.image, diameter(item)))


def scored_image(item: Item, found: NDArray[np.integer[Any]]) -> Scored:
    """Score the labels that were found in an image."""
    overlap = overlap_of(item.labels, found)
    return Scored(item, found, scored(overlap, THRESHOLDS), volume_ratios(overlap)[1])


def precision(true: Column, reference: Column, predicted: Column) -> Column:
    """Average precision by sums of matches, of annotated and of found objects."""
    return true / (reference + predicted - true)


def gain(*columns: Column) -> Column:
    """Average precision by the first three sums minus that by the last three."""
    return precision(*columns[:3]) - precision(*columns[3:])


def pooled(results: Sequence[Scored]) -> list[Spread]:
    """Average precision over all objects at each threshold, with the interval."""
    return [_spread(columns, precision) for columns in columns_of(results)]


def gained(results: Sequence[Scored], base: Sequence[Scored]) -> list[Spread]:
    """How much better results are than others of the same images; the same images are drawn."""
    pairs = zip(columns_of(results), columns_of(base), strict=True)
    return [_spread((*one, *other), gain) for one, other in pairs]


def columns_of(results: Sequence[Scored]) -> list[tuple[Column, ...]]:
    """Matches, annotated and found objects of each image, by threshold."""
    scores = [result.scores for result in results]
    rows = [
        [(s.true_positives[n], s.reference, s.predicted) for s in scores]
        for n in range(len(THRESHOLDS))
    ]
    return [tuple(np.array(row, np.float64).T) for row in rows]


def _spread(columns: Sequence[Column], score: Callable[..., Column]) -> Spread:
    return float(score(*(column.sum() for column in columns))), *bootstrap(columns, score)


def row(name: str, results: Sequence[Scored]) -> str:
    """A line of the table: scores with their intervals, and sizes of matches."""
    areas = quartiles(np.concatenate([result.areas for result in results]))
    cells = [f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in pooled(results)]
    return f"| {name} | {' | '.join(cells)} | {' / '.join(f'{a:.2f}' for a in areas)} |"


def draw_worst(results: Sequence[Scored], path: Path) -> list[str]:
    """Draw the worst images, annotated yellow and found blue; returns their names and scores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    worst = sorted(results, key=lambda result: result.scores.average_precision[0])[:WORST]
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (axes, result) in enumerate(
        zip(figure.subplots(2, WORST // 2).flat, worst, strict=True), start=1
    ):
        axes.imshow(np.clip(result.item.image[0], 0, 1), cmap="gray")
        for labels, colour in ((result.item.labels, "#ffd000"), (result.found, "#30a0ff")):
            for label in np.unique(labels[labels > 0]):
                axes.contour(labels == label, [0.5], colors=colour, linewidths=0.7)
        axes.set_title(f"{number}: {result.scores.average_precision[0]:.2f}", fontsize=10)
        axes.axis("off")
    figure.savefig(path, format="png", dpi=80)
    return [f"{r.item.name} {r.scores.average_precision[0]:.3f}" for r in worst]


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--part", choices=PARTS, default=PARTS[0])
    parser.add_argument("--diameters", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--picture", type=Path, help="PNG of the worst images")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    model = resolve(given.model)
    network = load(model, precision="float32").module.net
    items = read_items(given.data, given.part)
    ways: dict[str, tuple[str, Diameter]] = {
        "own": ("each with its own diameter", lambda item: item.diameter),
        "fixed": (f"{DIAMETER:g} pixels for all", lambda item: DIAMETER),
        "found": ("found in each image", finder(given.data, model)),
    }
    print(f"{given.model}, {len(items)} images, {given.part}\n")
    print("| diameter | 0.5 | 0.75 | 0.9 | area of matches, quartiles |\n" + "| --- " * 5 + "|")
    for number, (name, diameter) in enumerate(ways[way] for way in given.diameters):
        results = list(segmented(network, items, diameter))
        print(row(name, results), flush=True)
        if given.picture and not number:
            print("\n".join(draw_worst(results, given.picture)))


if __name__ == "__main__":
    main()
