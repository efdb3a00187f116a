"""Batches of crops to train on, drawn in the training's own process or ahead of it by others.

Each batch is drawn from a generator seeded by (seed, step): which data folder (all equally often),
which item, which crop. So a training is repeatable, a resumed one goes on bit for bit, and how many
processes draw makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from terapose.apps.train.augment import crop
from terapose.apps.train.data import Item
from terapose.apps.train.settings import Settings

Batch = tuple[Tensor, Tensor]
_AHEAD = 8  # batches that each process may be ahead


def batch_of(items: Sequence[Item], settings: Settings, stream: Sequence[int]) -> Batch:
    """The batch of crops that belongs to a seed sequence: images (N, C, Y, X), targets.

    Channels that an item lacks are zero.
    """
    rng = np.random.default_rng(list(stream))
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.source, []).append(item)
    sources = sorted(groups)
    shape = (settings.batch, settings.widths[0], settings.edge, settings.edge)
    images, targets = np.zeros(shape, np.float32), []
    for index in range(settings.batch):
        group = groups[sources[int(rng.integers(len(sources)))]]
        item = group[int(rng.integers(len(group)))]
        image, target = crop(
            item,
            rng,
            edge=settings.edge,
            diameter=settings.diameter,
            scales=settings.scales,
            faults=settings.faults,
            taper=settings.taper,
        )
        images[index, : len(image)] = image
        targets.append(target)
    return torch.from_numpy(images), torch.from_numpy(np.stack(targets))


class Steps(Dataset[Batch]):
    """The batches of a training by the number of their step."""

    def __init__(self, items: Sequence[Item], settings: Settings) -> None:
        self._items = items
        self._settings = settings

    def __getitem__(self, step: int) -> Batch:
        return batch_of(self._items, self._settings, (self._settings.seed, step))


def draw(source: Dataset[Batch], steps: range, *, workers: int = 0) -> Iterator[Batch]:
    """The batches of some steps of a training, in order.

    Parameters
    ----------
    source
        Batches by the number of their step.
    steps
        Numbers of the steps, counted from the start of the training.
    workers
        Processes that draw ahead; 0 draws each batch when it is asked for. They are forked here: no
        other thread may run that could hold a lock, such as an executor's.
    """
    loader: DataLoader[Batch] = DataLoader(
        source,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        pin_memory=workers > 0 and torch.cuda.is_available(),
    )
    if not workers:
        return iter(loader)
    # OpenCV's threads do not survive a fork, and its calls would wait for them for ever
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return iter(loader)
    finally:
        cv2.setNumThreads(threads)
