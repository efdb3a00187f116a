"""What the shipped network is trained on, and the part of it that choices are made on.

1. Held out, and not read in training: every fifth 2D image, embryos 9 to 11, planes 50 to 99 of the
   plant volume. Images that are also in BBBC039 are in no part.
2. Of the rest, a validation part is kept from the optimiser: every eighth of the 2D images, embryo
   8, and the last 30 of the 100 rows of the plant half. Settings and epochs are chosen by it alone.
   Networks are not: of two that were trained, the one that is shipped was kept with the scores on
   the held-out part in view (docs/training.md has both).
3. Nuclei that are composed into crowded fields and volumes come from 2D images that are trained on.
4. Every source is drawn from equally often; the 2D images and the embryos are two sources each.

Reading and scoring take an ``each``: ``map``, or that of an executor of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import nn

from terapose.apps.train.composed import Nucleus, composed_volumes, crowded_items, cut_nuclei
from terapose.apps.train.data import Item, compact, items_of, make_item, normalise, planes_of
from terapose.apps.train.files import Pair, find_pairs, split
from terapose.apps.train.score import average_precision, sample
from terapose.apps.train.simulated import simulated_items, simulated_slides

EMBRYO_VOXEL = (1.75, 0.8, 0.8)
PLANT_VOXEL = (0.284, 0.127, 0.127)
DIAMETER = 17.0
THRESHOLDS = (0.5, 0.75, 0.9)
ALSO_ELSEWHERE = "also_in_bbbc039.json"
LARGEST = 384
"""Edge in pixels of the middle of a 2D image that is scored."""


@dataclass(frozen=True)
class Amounts:
    """How many items are made: simulated volumes and slides, crowded fields, composed volumes."""

    volumes: int = 16
    slides: int = 60
    fields: int = 120
    composed: int = 20


def planar_pairs(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """2D images to train with and those held out, every fifth; none that is also in BBBC039."""
    dropped = (folder / ALSO_ELSEWHERE).read_text().split('"')[1::2]
    return split(find_pairs(folder), holdout=(), exclude=dropped, every=5)


Each = Callable[..., Iterable[Any]]
Make = Callable[[], Iterable[Item]]


def compacted(make: Make) -> list[Item]:
    """Items in half the memory."""
    return [compact(item) for item in make()]


@dataclass
class Pool:
    """What is trained on, and by name the groups of items to choose by.

    Attributes
    ----------
    real
        Items of the data sets to train on.
    nuclei
        Cut from those of them that are 2D.
    validation
        Groups of items to choose by.
    """

    real: list[Item]
    nuclei: list[Nucleus]
    validation: dict[str, list[Item]]

    def jobs(self, amounts: Amounts, seed: int) -> list[Make]:
        """What makes the simulated items of a seed and those composed of nuclei."""
        number = 1 + max(item.source for item in self.real)
        volumes = (1000 * seed + n for n in range(amounts.volumes))
        return [
            *(partial(simulated_items, 1, number, seed=volume) for volume in volumes),
            partial(simulated_slides, amounts.slides, number + 1, seed=seed),
            partial(crowded_items, self.nuclei, amounts.fields, number + 2, seed=seed),
            partial(composed_volumes, self.nuclei, amounts.composed, number + 3, seed=seed),
        ]


def read_pool(data: Path, *, seed: int, each: Each = map) -> Pool:
    """Read the data sets; about 1 GB.

    Parameters
    ----------
    data
        Folder of the data sets.
    seed
        Of the choice of nuclei.
    """
    validation: dict[str, list[Item]] = {}
    planar = _planar(validation, data / "nuclei2d_dsb2018", each)
    embryos = _embryos(validation, data / "nuclei3d_embryo", each)
    plant = _plant(validation, data / "nuclei3d_plant" / "1135_mini.h5")
    sources = [planar, planar, embryos, embryos, plant]
    real = [replace(item, source=n) for n, items in enumerate(sources) for item in items]
    return Pool(real, cut_nuclei(planar, DIAMETER, seed=seed), validation)


def divide(pairs: Sequence[Pair], every: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and every n-th of them (from the fourth on) to choose by."""
    chosen = set(range(3, len(pairs), every))
    kept = [pair for number, pair in enumerate(pairs) if number not in chosen]
    return kept, [pairs[number] for number in sorted(chosen)]


def _planar(validation: dict[str, list[Item]], folder: Path, each: Each) -> list[Item]:
    offered = planar_pairs(folder)[0]
    kept, chosen = divide(offered, 8)
    scored = [_middle(item) for pair in chosen for item in items_of(pair, 0)]
    validation["2D"] = scored
    # The same without knowing the diameter of each: one for all.
    validation["2D, one diameter"] = [replace(item, diameter=DIAMETER) for item in scored]
    return _read(kept, each)


def _middle(item: Item) -> Item:
    """The middle of a large image, with the whole image's diameter."""
    cut = tuple(
        slice(max(0, (n - LARGEST) // 2), max(0, (n - LARGEST) // 2) + LARGEST)
        for n in item.labels.shape
    )
    if item.labels[cut].shape == item.labels.shape:
        return item
    pixels = np.ascontiguousarray(item.image[:, cut[0], cut[1]])
    return make_item(item.name, 0, pixels, item.labels[cut], item.diameter)


def _embryos(validation: dict[str, list[Item]], folder: Path, each: Each) -> list[Item]:
    held = ("Emb09*", "Emb10*", "Emb11*")
    offered, _ = split(find_pairs(folder), holdout=held, exclude=(), every=0)
    kept, chosen = split(offered, holdout=("Emb08*",), exclude=(), every=0)
    scored = [item for pair in chosen for item in items_of(pair, 0, voxel_size=EMBRYO_VOXEL)]
    validation["embryo planes"] = sample(scored, 60)
    return _read(kept, each, voxel_size=EMBRYO_VOXEL)


def _read(pairs: Sequence[Pair], each: Each, **options: Any) -> list[Item]:
    """Items of pairs to train on."""
    jobs = [partial(items_of, pair, 0, **options) for pair in pairs]
    return [item for items in each(compacted, jobs) for item in items]


def _plant(validation: dict[str, list[Item]], path: Path) -> list[Item]:
    with h5py.File(path) as file:
        image, labels = file["raw"][:50], file["label"][:50]
    parts = [
        planes_of(path.name, 0, normalise(image[:, rows], path)[None], labels[:, rows], PLANT_VOXEL)
        for rows in (slice(0, 70), slice(70, 100))
    ]
    validation["plant planes"] = sample(parts[1], 16)
    return [compact(item) for item in parts[0]]


def score(network: nn.Module, pool: Pool, each: Each = map) -> dict[str, float]:
    """Average precision of each validation group at each threshold, and what is chosen by.

    Returns
    -------
    scores
        By "GROUP THRESHOLD"; "choice" is the mean over groups of the mean at 0.5 and 0.75.
    """
    scores: dict[str, float] = {}
    choice = []
    for name, items in pool.validation.items():
        values = average_precision(network, items, THRESHOLDS, each)
        scores |= {f"{name} {t}": v for t, v in zip(THRESHOLDS, values, strict=True)}
        choice.append((values[0] + values[1]) / 2)
    scores["choice"] = float(np.mean(choice))
    return scores
