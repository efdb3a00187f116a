"""A checkpoint small enough to keep: what a training can go on from on another machine.

It holds the weights that are scored (the average where there is one) in float16 and the mean
squares of their gradients in bfloat16: 4 bytes a weight in place of 12 to 16. A training that goes
on from it is not the same bit for bit: the optimiser's momentum starts from zero, and the weights
from the average.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from terapose.apps.train import checkpoints
from terapose.apps.train.loop import Trainer
from terapose.apps.train.saving import read, write
from terapose.apps.train.step import load_state, sizes_of
from terapose.networks.weights import beside

_SMALL = {"what": "a small checkpoint", "remedy": "name the .small file that a training left"}


def small_of(output: Path) -> Path:
    """Path of the small checkpoint of a training that writes ``output``."""
    return beside(output, ".small")


def save_small(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint of about 4 bytes a weight, in one piece."""
    learnt = {name for name, weight in trainer.scored.named_parameters() if weight.dim() > 1}
    weights = {
        # Matrices alone are halved: statistics of batches may be beyond what float16 holds.
        name: value.to(torch.float16) if name in learnt else value.clone()
        for name, value in trainer.scored.state_dict().items()
    }
    states = trainer.optimiser.state_dict()["state"]
    content = {
        "settings": json.dumps(asdict(trainer.settings)),
        "epoch": trainer.epoch,
        "history": trainer.history,
        "weights": {name: value.cpu().contiguous() for name, value in weights.items()},
        "squares": {
            number: state["exp_avg_sq"].to(torch.bfloat16).cpu().contiguous()
            for number, state in states.items()
        },
    }
    write(content, path)


def restore_small(trainer: Trainer, path: Path) -> None:
    """Go on from a small checkpoint; its settings must be this trainer's.

    Raises
    ------
    InputError
        The file is no small checkpoint, or was made with other settings.
    """
    content, theirs = read(path, **_SMALL)
    trainer.settings.check_same(theirs, where=path)
    parts = {
        **checkpoints.progress(content, trainer.settings.epochs, bare=True),
        "weights": checkpoints.weights(trainer.network.state_dict()),
        "squares": checkpoints.squares(sizes_of(trainer.optimiser)),
    }
    checkpoints.check_parts(content, parts, where=path, **_SMALL)
    for network in (trainer.network, trainer.scored):
        network.load_state_dict(content["weights"])
    trainer.epoch, trainer.history = content["epoch"], content["history"]
    steps = float(trainer.epoch * trainer.settings.steps)
    state = {
        number: {
            "step": torch.tensor(steps),
            "exp_avg": torch.zeros(square.shape),
            "exp_avg_sq": square.float(),
        }
        for number, square in content["squares"].items()
    }
    load_state(trainer.optimiser, state)
