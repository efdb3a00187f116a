"""What the shipped network gains without training: `python -m benchmarks.untrained_ways`.

1. The images are those of the validation part (``benchmarks.held_out``), by which choices are
   made: every eighth of those that are not held out. Each has the median diameter of its annotated
   nuclei.
2. Each is segmented by ``terapose.segment``: as it is shipped, and with one thing changed.
3. Average precision is pooled over all objects; the interval of the difference to the first row is
   that of 2,000 seeded samples of as many images, with replacement.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.held_out import PARTS, Scored, gained, pooled, read_items, scored_image
from benchmarks.nuclei_data import THRESHOLDS

import terapose

WAYS: Mapping[str, Mapping[str, Any]] = {
    "as shipped": {},
    "`augment`: tiles also flipped, and averaged": {"augment": True},
    "tiles that overlap by half": {"tile_overlap": 0.5},
}
"""What is changed in each."""


def row(name: str, results: Sequence[Scored], base: Sequence[Scored]) -> str:
    """A line of the table, from the same images in both ways."""
    cells = [f"{mean:.3f}" for mean, _, _ in pooled(results)]
    if results is not base:
        edges = zip(cells, gained(results, base), strict=True)
        cells = [f"{c} ({g:+.3f}: {a:+.3f} to {b:+.3f})" for c, (g, a, b) in edges]
    return f"| {name} | {' | '.join(cells)} |"


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--part", choices=PARTS, default="validation")
    parser.add_argument("--images", type=int, help="the first ones only")
    given = parser.parse_args(words)
    items = read_items(given.data, given.part)[: given.images]
    print(f"{len(items)} images, {given.part}\n")
    columns = ["way", *map(str, THRESHOLDS)]
    print(f"| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|")
    base: list[Scored] = []
    for name, way in WAYS.items():
        found = (terapose.segment(i.image[0], diameter=i.diameter, **way) for i in items)
        pairs = zip(items, found, strict=True)
        results = [scored_image(item, labels) for item, labels in pairs]
        base = base or results
        print(row(name, results, base), flush=True)


if __name__ == "__main__":
    main()
