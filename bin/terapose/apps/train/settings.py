"""What shapes a training run, and its learning rate by step."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terapose.apps.train.augment import FAULTS, SCALE_RANGE, TAPERS
from terapose.core.errors import InputError

WIDEST = 65536
"""Channels of a level at most; of this many no machine holds the weights."""


@dataclass(frozen=True)
class Settings:
    """What shapes a training run; a checkpoint is continued only under the same settings.

    Attributes
    ----------
    epochs, steps
        Number of epochs and of batches in each.
    batch, edge
        Crops per batch and edge of a crop in pixels, which every level but the last can halve.
    rate, decay
        Peak learning rate and weight decay of AdamW.
    widths
        Channels of the network's input and levels.
    diameter
        Object diameter in pixels at which the network works.
    seed
        Seed of the weights and of every batch.
    precision
        "float32", or "bfloat16" for faster convolutions on machines that have them; the weights
        are float32 in either.
    patience
        Epochs without a better one after which to stop; 0 goes to the end and keeps the last.
    channels
        Channels of the images that are used; () for all they have.
    init
        SHA-256 of the weight file to start from; "" for random weights.
    flow_weight
        Factor of Cellpose's loss of the flows, beside that of the cell probability.
    average
        Decay per step of the moving average of the weights that is scored and kept, as in 0.999;
        0 keeps the weights themselves.
    scales
        Smallest and largest size of objects in crops, in diameters.
    faults
        Faults of real images that crops may get, of `augment.FAULTS`.
    taper
        What falls off towards outlines in targets, of `augment.TAPERS`.
    cycles
        How often the learning rate rises and falls; each cycle is twice as long as the one before.
    """

    epochs: int = 40
    steps: int = 100
    batch: int = 8
    edge: int = 128
    rate: float = 2e-3
    decay: float = 1e-2
    widths: tuple[int, ...] = (1, 16, 32, 64, 96)
    diameter: float = 17.0
    seed: int = 0
    precision: str = "float32"
    patience: int = 0
    channels: tuple[int, ...] = ()
    init: str = ""
    flow_weight: float = 1.0
    average: float = 0.0
    scales: tuple[float, float] = SCALE_RANGE
    faults: tuple[str, ...] = ("sampling",)
    taper: str = "flows"
    cycles: int = 1

    def __post_init__(self) -> None:
        if min(self.widths) < 1 or max(self.widths) > WIDEST:
            empty = min(self.widths) < 1
            raise InputError(
                f"a level of the network has {'no channel' if empty else 'too many channels'}",
                where="widths",
                got=",".join(map(str, self.widths[1:])),
                allowed=f"numbers from 1 to {WIDEST}",
            )
        for name, given, known in (
            ("faults", self.faults, FAULTS),
            ("taper", (self.taper,), TAPERS),
        ):
            if unknown := [one for one in given if one not in known]:
                raise InputError(
                    "is not known", where=name, got=", ".join(unknown), allowed=", ".join(known)
                )
        multiple = 2 ** (len(self.widths) - 2)
        if self.edge % multiple:
            raise InputError(
                "the crop cannot be halved once per level of the network",
                where="crop",
                got=self.edge,
                allowed=f"multiples of {multiple}",
            )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step counted from the start of training.

        In each cycle it rises over the first 2 % of the steps and falls along a half cosine.
        """
        total = self.epochs * self.steps
        parts = (1 << self.cycles) - 1
        starts = [total * ((1 << cycle) - 1) // parts for cycle in range(self.cycles + 1)]
        cycle = bisect.bisect(starts, step, hi=self.cycles) - 1
        place, length = step - starts[cycle], starts[cycle + 1] - starts[cycle]
        warm = max(1, length // 50)
        if place < warm:
            return self.rate * (place + 1) / warm
        fallen = (place - warm) / (length - warm)
        return self.rate * 0.5 * (1 + math.cos(math.pi * fallen))

    def check_same(self, theirs: Mapping[str, Any], *, where: Path) -> None:
        """Refuse to go on from a checkpoint of other settings.

        Parameters
        ----------
        theirs
            Settings of the checkpoint, read from JSON. What it lacks is younger than it is, and
            has its default there.
        where
            The checkpoint.

        Raises
        ------
        InputError
            A setting differs.
        """
        ours, defaults = (json.loads(json.dumps(asdict(s))) for s in (self, Settings()))
        known = {**defaults, **theirs}
        differing = [key for key in ours if ours[key] != known[key]]
        if differing:
            raise InputError(
                "the checkpoint was made with other settings",
                where=where,
                got=", ".join(f"{key} {ours[key]}" for key in differing),
                allowed=", ".join(f"{key} {known[key]}" for key in differing),
            )
