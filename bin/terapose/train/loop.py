"""The training loop of the U-Net family.

1. Each step draws its batch from a generator seeded by (seed, step): which data folder (all alike
   often), which item, which crop. So a run is repeatable, and a resumed one continues bit for bit.
2. AdamW; the learning rate rises over the first 2 % of the steps and falls along a half cosine.
3. After each epoch: loss on fixed crops of what was held out, average precision on some whole held
   out images, one line of progress, and a checkpoint written in one piece.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from terapose.errors import InputError
from terapose.networks.unet import UNet
from terapose.train.augment import crop
from terapose.train.data import Item
from terapose.train.score import average_precision


@dataclass(frozen=True)
class Settings:
    """What shapes a training run; a checkpoint is continued only under the same settings.

    Attributes
    ----------
    epochs, steps
        Number of epochs and of batches in each.
    batch, edge
        Crops per batch and edge of a crop in pixels, a multiple of 8.
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

    def __post_init__(self) -> None:
        multiple = 2 ** (len(self.widths) - 2)
        if self.edge % multiple:
            raise InputError(
                "the crop cannot be halved once per level of the network",
                where="crop",
                got=self.edge,
                allowed=f"multiples of {multiple}",
            )


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared error on 5 x flow plus cross entropy on the object mask.

    Source: ``cellpose.train._loss_fn_seg``.
    """
    flows = functional.mse_loss(output[:, :2], 5.0 * target[:, :2])
    mask = functional.binary_cross_entropy_with_logits(output[:, 2], target[:, 2])
    return 0.5 * flows + mask


def batch_of(
    items: Sequence[Item], settings: Settings, stream: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The batch of crops that belongs to a seed sequence: images (N, 1, Y, X), targets."""
    rng = np.random.default_rng(list(stream))
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.source, []).append(item)
    sources = sorted(groups)
    images, targets = [], []
    for _ in range(settings.batch):
        group = groups[sources[int(rng.integers(len(sources)))]]
        item = group[int(rng.integers(len(group)))]
        image, target = crop(item, rng, edge=settings.edge, diameter=settings.diameter)
        images.append(image)
        targets.append(target)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))


class Trainer:
    """A network with its optimiser, at some epoch.

    Parameters
    ----------
    settings
        See :class:`Settings`.
    """

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        network = UNet(settings.widths, diameter=settings.diameter)
        self.network = network.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            [weight for weight in self.network.parameters() if weight.requires_grad],
            lr=settings.rate,
            weight_decay=settings.decay,
        )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step counted from the start of training."""
        total = self.settings.epochs * self.settings.steps
        warm = max(1, total // 50)
        if step < warm:
            return self.settings.rate * (step + 1) / warm
        return self.settings.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    def run_epoch(self, items: Sequence[Item], show: Callable[[int, int], None]) -> float:
        """Train for one epoch; returns the mean loss."""
        self.network.train()
        losses = []
        for index in range(self.settings.steps):
            step = self.epoch * self.settings.steps + index
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate_at(step)
            images, targets = batch_of(items, self.settings, (self.settings.seed, step))
            loss = self._loss(images, targets)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise InputError(
                    "the training has diverged",
                    where=f"step {step + 1}",
                    got=f"loss {losses[-1]}",
                    remedy="start again with a lower --rate",
                )
            show(step + 1, self.settings.epochs * self.settings.steps)
        self.epoch += 1
        return float(np.mean(losses))

    def validate(self, items: Sequence[Item], batches: int = 8) -> float:
        """Loss on crops that are the same after each epoch."""
        self.network.eval()
        losses = []
        with torch.inference_mode():
            for index in range(batches):
                # The third number keeps these crops apart from every training batch.
                images, targets = batch_of(items, self.settings, (self.settings.seed, index, 1))
                losses.append(self._loss(images, targets).item())
        return float(np.mean(losses))

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        low = self.settings.precision == "bfloat16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            output, _ = self.network(images)
        return loss_of(output.float(), targets)

    def save(self, path: Path) -> None:
        """Write a checkpoint that :meth:`restore` continues from."""
        state = {
            "settings": json.dumps(asdict(self.settings)),
            "epoch": self.epoch,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        _write(state, path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint; its settings must be this trainer's."""
        try:
            state = torch.load(path, weights_only=True)
            theirs = json.loads(state["settings"])
        except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise InputError(
                "not a checkpoint of terapose train",
                where=path,
                remedy="give --resume the .checkpoint file that an interrupted training left",
            ) from error
        ours = json.loads(json.dumps(asdict(self.settings)))
        differing = [key for key in ours if ours[key] != theirs.get(key)]
        if differing:
            raise InputError(
                "the checkpoint was made with other settings",
                where=path,
                got=", ".join(f"{key} {ours[key]}" for key in differing),
                allowed=", ".join(f"{key} {theirs.get(key)}" for key in differing),
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.history = state["epoch"], state["history"]


def _write(state: dict[str, Any], path: Path) -> None:
    """torch.save in one piece: a killed run leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def save_weights(network: UNet, path: Path) -> None:
    """Write the weights alone, under Cellpose's names, as a contiguous float32 state dict."""
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    _write(state, path)


def checkpoint_of(output: Path) -> Path:
    """Where the checkpoint of a training that writes ``output`` lies."""
    return output.with_suffix(".checkpoint")


def prepare(trainer: Trainer, output: Path, *, resume: bool, overwrite: bool) -> None:
    """Continue from the checkpoint of ``output`` if asked to, else make sure nothing is lost.

    With ``overwrite`` an earlier training's output and checkpoint are removed.

    Raises
    ------
    InputError
        There is no checkpoint to resume from, there is an output that would be replaced, or its
        folder cannot be written.
    """
    checkpoint = checkpoint_of(output)
    if resume:
        trainer.restore(checkpoint)
        return
    present = [path for path in (checkpoint, output) if path.exists()]
    if present and not overwrite:
        raise InputError(
            "there is a training already",
            where=present[0],
            remedy="give --resume to continue it, --overwrite, or another --output",
        )
    for path in present:
        path.unlink()
    if not os.access(output.parent, os.W_OK):
        raise InputError("no folder that can be written", where=output.parent.resolve())


def _sample(items: Sequence[Item], count: int) -> list[Item]:
    """About ``count`` items, as many of each source, evenly spaced."""
    sources = sorted({item.source for item in items})
    share = max(1, count // len(sources))
    chosen: list[Item] = []
    for source in sources:
        group = [item for item in items if item.source == source]
        chosen += group[:: max(1, len(group) // share)][:share]
    return chosen


def fit(
    trainer: Trainer,
    training: Sequence[Item],
    held_out: Sequence[Item],
    output: Path,
    *,
    report: Callable[[str], None],
    show: Callable[[int, int], None] = lambda done, total: None,
    scored: int = 16,
) -> None:
    """Train to the last epoch; a checkpoint lies beside ``output`` until then.

    Parameters
    ----------
    trainer
        Fresh, or restored from a checkpoint.
    training, held_out
        Items to learn from and to validate on; without the latter no scores are made.
    output
        The weights, written after each epoch as well as at the end.
    report
        Called with one plain line per epoch.
    show
        Called after each step with the steps done and the steps in all.
    scored
        Number of whole held-out images to score after each epoch.
    """
    while trainer.epoch < trainer.settings.epochs:
        start = time.perf_counter()
        loss = trainer.run_epoch(training, show)
        line = {"epoch": trainer.epoch, "loss": loss}
        if held_out:
            line["held_out_loss"] = trainer.validate(held_out)
            chosen = _sample(held_out, scored)
            line["ap50"], line["ap75"] = average_precision(trainer.network, chosen)
        line["seconds"] = time.perf_counter() - start
        trainer.history.append(line)
        trainer.save(checkpoint_of(output))
        save_weights(trainer.network, output)
        report("  ".join(f"{key} {value:.4g}" for key, value in line.items()))
    checkpoint_of(output).unlink(missing_ok=True)
