"""The training loop of the U-Net family.

1. Each step has its own batch (:mod:`terapose.apps.train.batches`), so a run is repeatable, and a
   resumed one continues bit for bit.
2. AdamW; the learning rate rises and falls as :mod:`terapose.apps.train.settings` has it. With
   ``average`` a moving average of the weights is what is scored and kept.
3. After each epoch: loss on fixed crops of what was held out, average precision on some whole held
   out images, one line of progress, and a checkpoint written in one piece. Fine-tuning scores the
   file it starts from in the same way, as epoch 0. What an earlier training left under the same
   names is replaced after the first epoch.
4. With patience, training ends once that many epochs have not been better than the best one, whose
   weights are kept. Better is a higher average precision at an IoU of 0.5, and among equals (as
   long as nothing is found at all) a lower held-out loss.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from terapose.apps.train import checkpoints
from terapose.apps.train.batches import Batch, Steps, batch_of, draw
from terapose.apps.train.curve import curve_of, draw_curve
from terapose.apps.train.data import Item
from terapose.apps.train.diverged import check_held_out, check_losses, check_weights
from terapose.apps.train.resumed import check_same_data, recorded
from terapose.apps.train.saving import (
    check_free,
    checkpoint_of,
    read,
    remove_beside,
    save_weights,
    write,
)
from terapose.apps.train.score import SCORED, average_precision, sample
from terapose.apps.train.settings import Settings
from terapose.apps.train.step import Step, load_state, optimiser_of, sizes_of
from terapose.core.errors import InputError
from terapose.networks.unet import UNet

log = logging.getLogger(__name__)

_CHECKPOINT = {
    "what": "a checkpoint of terapose train",
    "remedy": "give --resume the .checkpoint file that an interrupted training run left",
}


class Trainer:
    """A network with its optimiser, at some epoch.

    Parameters
    ----------
    settings
        See :class:`Settings`.
    network
        What to fine-tune; without it a network with random weights is made.
    device
        Where to train: "cpu" or "cuda".
    """

    def __init__(
        self, settings: Settings, network: UNet | None = None, device: str = "cpu"
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.data = ""  # with which it began, and the command that began it: "" if not known
        self.command = ""
        self.best: dict[str, Tensor] | None = None
        self.tuned = network is not None
        chosen = network or UNet(settings.widths, diameter=settings.diameter)
        chosen.diam_mean.data.fill_(settings.diameter)
        self.network = chosen.to(device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network) if settings.average else None
        self.optimiser = optimiser_of(self.network, settings.rate, settings.decay)
        self._step = Step(
            self.network,
            self.averaged,
            self.optimiser,
            flow_weight=settings.flow_weight,
            low=settings.precision == "bfloat16",
            steps=settings.epochs * settings.steps,
        )

    @property
    def scored(self) -> UNet:
        """The network that is scored and kept: the average where there is one."""
        return self.averaged or self.network

    @property
    def best_epoch(self) -> int | None:
        """The epoch that scored best, the earliest among equals; None where none was scored."""
        scored = [line for line in self.history if "ap50" in line]
        if not scored:
            return None
        return int(max(scored, key=lambda line: (line["ap50"], -line["held_out_loss"]))["epoch"])

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept."""
        best = self.best_epoch
        return best if self.settings.patience and best is not None else self.epoch

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done, or patience has run out."""
        waited = self.epoch - self.kept_epoch
        return self.epoch >= self.settings.epochs or 0 < self.settings.patience <= waited

    def record(self, line: dict[str, float]) -> None:
        """Add an epoch's line to the history, and keep the weights if it is the best."""
        self.history.append(line)
        if self.settings.patience and self.best_epoch == self.epoch:
            state = self.scored.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}

    def kept(self) -> dict[str, Tensor]:
        """The weights to keep: with patience the best epoch's, else the last one's."""
        return self.best or self.scored.state_dict()

    @property
    def steps(self) -> range:
        """Numbers of the steps that are left."""
        done, total = (n * self.settings.steps for n in (self.epoch, self.settings.epochs))
        return range(done, total)

    def run_epoch(
        self, drawn: Iterable[Batch], show: Callable[[int, int], None] = lambda done, total: None
    ) -> float:
        """Train for one epoch; returns the mean loss.

        Parameters
        ----------
        drawn
            Batches of the next steps, of which an epoch's are taken.
        show
            Called after each step with the steps done and the steps in all.

        Raises
        ------
        InputError
            The loss or the weights are no longer finite.
        """
        self.network.train()
        losses = []
        steps = self.steps[: self.settings.steps]
        for step, (images, targets) in zip(steps, drawn, strict=False):
            rate, share = self.settings.rate_at(step), self._share(step)
            loss = self._step(images, targets, rate=rate, share=share)
            # read at the end: a GPU would be waited for at every step
            losses.append(loss)
            show(step + 1, self.settings.epochs * self.settings.steps)
        values = torch.stack(losses).double().cpu().numpy()
        check_losses(values, steps)
        # each of these losses is of the weights before its step: the last step shows in none
        check_weights([self.network, self.scored], steps[-1])
        check_losses(np.array([self._loss_of(images, targets)]), steps[-1:])
        self.epoch += 1
        return float(values.mean())

    def validate(self, items: Sequence[Item], batches: int = 8) -> float:
        """Loss on crops that are the same after each epoch."""
        losses = []
        for index in range(batches):
            # The third number keeps these crops apart from every training batch.
            images, targets = batch_of(items, self.settings, (self.settings.seed, index, 1))
            losses.append(self._loss_of(images, targets))
        return float(np.mean(losses))

    def _loss_of(self, images: Tensor, targets: Tensor) -> float:
        """Loss of the network that is scored, as it is now."""
        with torch.inference_mode():
            return self._step.loss(images, targets, self.scored.eval()).item()

    def _share(self, step: int) -> float:
        """Share of the weights in their average; early on more, so that it forgets the start."""
        return 1.0 - min(self.settings.average, (1.0 + step) / (10.0 + step))

    def save(self, path: Path) -> None:
        """Write a checkpoint that :meth:`restore` continues from."""
        state = {
            "settings": json.dumps(asdict(self.settings)),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "data": self.data,
            "command": self.command,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimiser": self.optimiser.state_dict(),
        }
        write(state, path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint; its settings must be this trainer's."""
        if not path.exists():
            raise InputError(
                "there is no checkpoint to continue from",
                where=path,
                remedy="leave out --resume; a training run that has ended leaves none",
            )
        state, theirs = read(path, **_CHECKPOINT)
        self.settings.check_same(theirs, where=path)
        own = self.network.state_dict()
        parts = {
            **checkpoints.progress(state, self.settings.epochs),
            "network": checkpoints.weights(own),
            "averaged": checkpoints.weights(own, optional=self.averaged is None),
            "best": checkpoints.weights(own, optional=True),
            "optimiser": checkpoints.moments(sizes_of(self.optimiser)),
            **checkpoints.records(),
        }
        checkpoints.check_parts(state, parts, where=path, **_CHECKPOINT)
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        load_state(self.optimiser, state["optimiser"]["state"])
        self.epoch, self.history, self.best = state["epoch"], state["history"], state.get("best")
        self.data, self.command = state.get("data", ""), state.get("command", "")


def prepare(trainer: Trainer, output: Path, *, resume: bool, overwrite: bool) -> None:
    """Continue from the checkpoint of ``output`` if asked to, else make sure nothing is lost.

    With ``overwrite`` the output of an earlier training may be there; :func:`fit` replaces it.

    Raises
    ------
    InputError
        There is no checkpoint to resume from, or there is an output that would be replaced.
    """
    if resume:
        trainer.restore(checkpoint_of(output))
    else:
        check_free(output, overwrite=overwrite)


def fit(
    trainer: Trainer,
    training: Sequence[Item],
    held_out: Sequence[Item],
    output: Path,
    *,
    report: Callable[[str], None],
    show: Callable[[int, int], None] = lambda done, total: None,
    scored: int = SCORED,
) -> None:
    """Train to the end; a checkpoint is beside ``output`` until then.

    Parameters
    ----------
    trainer
        Fresh, or restored from a checkpoint.
    training, held_out
        Items to learn from and to validate on; without the latter no scores are made.
    output
        The weights to keep, written after each epoch, with a picture of the scores beside them.
    report
        Called with one plain line per epoch.
    show
        Called after each step with the steps done and the steps in all.
    scored
        Number of whole held-out images to score after each epoch.

    Raises
    ------
    InputError
        Patience is asked for and nothing is held out, the trainer was restored from a checkpoint of
        other data, or the training diverges.
    """
    _begin(trainer, training, held_out, output)
    if trainer.tuned and held_out and not trainer.history:
        _finish_epoch(trainer, {"epoch": 0}, held_out, scored, report)
    drawn = draw(Steps(training, trainer.settings), trainer.steps)
    while not trainer.finished:
        start = time.perf_counter()
        loss = trainer.run_epoch(drawn, show)
        line = {"epoch": trainer.epoch, "loss": loss}
        _finish_epoch(trainer, line, held_out, scored, report, start)
        save_weights(trainer.kept(), output)
        if trainer.epoch == 1:
            remove_beside(output)
        draw_curve(trainer.history, curve_of(output), kept=trainer.kept_epoch)
        trainer.save(checkpoint_of(output))
    save_weights(trainer.kept(), output)
    checkpoint_of(output).unlink(missing_ok=True)


def _begin(
    trainer: Trainer, training: Sequence[Item], held_out: Sequence[Item], output: Path
) -> None:
    """Check that the data will do, and note in the trainer what they are."""
    if trainer.settings.patience and not held_out:
        raise InputError(
            "no images are held out, so the best epoch cannot be determined",
            where="patience",
            remedy="give --holdout or --holdout-every",
        )
    sizes = [item.diameter for item in training if item.diameter]
    mean = float(np.mean(sizes)) if sizes else trainer.settings.diameter
    for network in (trainer.network, trainer.scored):
        network.diam_labels.data.fill_(mean)
    data = recorded(training, held_out)
    if trainer.data:
        check_same_data(data, trainer.data, where=checkpoint_of(output))
    elif trainer.history:
        log.warning(
            "%s: an earlier version made it, which did not record the data; give the same images, "
            "labels and held-out files as before",
            checkpoint_of(output),
        )
    trainer.data = data


def _finish_epoch(
    trainer: Trainer,
    line: dict[str, float],
    held_out: Sequence[Item],
    scored: int,
    report: Callable[[str], None],
    start: float | None = None,
) -> None:
    """Add scores and seconds to an epoch's line, record and report it."""
    start = time.perf_counter() if start is None else start
    if held_out:
        line["held_out_loss"] = trainer.validate(held_out)
        check_held_out(line["held_out_loss"], trainer.epoch)
        chosen = sample(held_out, scored)
        line["ap50"], line["ap75"] = average_precision(trainer.scored, chosen)
    line["seconds"] = time.perf_counter() - start
    trainer.record(line)
    report("  ".join(f"{key} {value:.4g}" for key, value in line.items()))
