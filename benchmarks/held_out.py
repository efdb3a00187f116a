"""Scores of a network on the held-out 2D images: `python -m benchmarks.held_out --data DATA`.

1. The images are every fifth of the data set, in the order of their names, without those that are
   also in BBBC039 (`benchmarks.nuclei_data`); ``--part validation`` takes those to choose by.
2. Each is segmented by Cellpose's rules for masks, with a diameter of its own (the median of its
   annotated nuclei), with one for all, and with the one that is found in it, as by ``terapose
   segment`` without ``diameter``.
3. Average precision is pooled over the objects of all images, and its 95 % interval is that of
   2,000 seeded samples of as many images, with replacement.
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

import numpy as np
import torch
from benchmarks.nuclei_data import DIAMETER, THRESHOLDS, divide, planar_pairs
from numpy.typing import NDArray

from terapose.apps.train.data import Item, items_of
from terapose.apps.train.score import segment
from terapose.core.params import check
from terapose.networks.ensemble import identify_all
from terapose.networks.loading import load
from terapose.networks.weights import resolve
from terapose.pipeline.checked import open_checked
from terapose.pipeline.sized import find_diameter

WORST = 10
SAMPLES = 2000
PARTS = ("held out", "validation")
WAYS = ("own", "fixed", "found")
Diameter = Callable[[Item], float]


@dataclass(frozen=True)
class Scored:
    """An image, the labels that were found in it, and how they fit.

    Attributes
    ----------
    item, found
        The image with its annotation, and what was found, shape (Y, X).
    counts
        Objects found, in excess and missed (columns) at each threshold (rows).
    areas
        Area found over area annotated, of each match at the first threshold.
    """

    item: Item
    found: NDArray[np.int32]
    counts: NDArray[np.float64]
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


def scored(network: torch.nn.Module, items: Sequence[Item], diameter: Diameter) -> Iterator[Scored]:
    """Segment and score images."""
    from cellpose.metrics import mask_ious

    for item in items:
        found = segment(network, item.image, diameter(item))
        ious, partners = mask_ious(item.labels, found)
        sizes = np.bincount(item.labels.ravel()), np.bincount(found.ravel())
        matches = [
            (number, partner)
            for number, (iou, partner) in enumerate(zip(ious, partners, strict=True), start=1)
            if iou >= THRESHOLDS[0]
        ]
        areas = np.array([sizes[1][theirs] / sizes[0][ours] for ours, theirs in matches])
        yield Scored(item, found, counted(item, found), areas)


def counted(item: Item, found: NDArray[np.int32]) -> NDArray[np.float64]:
    """Objects found, in excess and missed (columns) at each threshold (rows)."""
    from cellpose.metrics import average_precision

    _, *counts = average_precision([item.labels], [found], threshold=list(THRESHOLDS))
    return np.stack([count[0] for count in counts], axis=1).astype(np.float64)


def resampled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision by threshold of each sample of as many images, with replacement."""
    chosen = np.random.default_rng(0).integers(len(counts), size=(SAMPLES, len(counts)))
    return precision(counts[chosen].sum(1))


def precision(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision by threshold, from counts, shape (..., thresholds, 3)."""
    result: NDArray[np.float64] = counts[..., 0] / np.maximum(1, counts.sum(-1))
    return result


def row(name: str, results: Sequence[Scored]) -> str:
    """A line of the table: scores with their intervals, and sizes of matches."""
    counts = np.stack([result.counts for result in results])
    spread = np.percentile(resampled(counts), (2.5, 97.5), axis=0)
    means = zip(precision(counts.sum(0)), *spread, strict=True)
    areas = np.percentile(np.concatenate([result.areas for result in results]), (25, 50, 75))
    cells = [f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in means]
    return f"| {name} | {' | '.join(cells)} | {' / '.join(f'{a:.2f}' for a in areas)} |"


def draw_worst(results: Sequence[Scored], path: Path) -> list[str]:
    """Draw the worst images, annotated yellow and found blue; returns their names and scores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    worst = sorted(results, key=lambda result: precision(result.counts)[0])[:WORST]
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (axes, result) in enumerate(
        zip(figure.subplots(2, WORST // 2).flat, worst, strict=True), start=1
    ):
        axes.imshow(np.clip(result.item.image[0], 0, 1), cmap="gray")
        for labels, colour in ((result.item.labels, "#ffd000"), (result.found, "#30a0ff")):
            for label in np.unique(labels[labels > 0]):
                axes.contour(labels == label, [0.5], colors=colour, linewidths=0.7)
        axes.set_title(f"{number}: {precision(result.counts)[0]:.2f}", fontsize=10)
        axes.axis("off")
    figure.savefig(path, format="png", dpi=80)
    return [f"{r.item.name} {precision(r.counts)[0]:.3f}" for r in worst]


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
        results = list(scored(network, items, diameter))
        print(row(name, results), flush=True)
        if given.picture and not number:
            print("\n".join(draw_worst(results, given.picture)))


if __name__ == "__main__":
    main()
