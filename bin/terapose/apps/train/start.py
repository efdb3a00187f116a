"""What a training starts from: random weights, a U-Net file, or a network of Cellpose 4.

Options that were not given have defaults that depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from terapose.apps.train.cellpose4 import CHANNELS, Recipe, finetune
from terapose.apps.train.curve import curve_of, draw_curve
from terapose.apps.train.data import Item
from terapose.apps.train.dataset import Dataset
from terapose.apps.train.loop import Trainer, fit, prepare
from terapose.apps.train.saving import check_free
from terapose.apps.train.score import SCORED, sample
from terapose.apps.train.settings import Settings
from terapose.core.errors import InputError
from terapose.networks.files import ModelInfo, identify, style_off
from terapose.networks.loading import load
from terapose.networks.unet import UNet

Report = Callable[[str], None]
Show = Callable[[int, int], None]

WIDTHS = (16, 32, 64, 96)
DIAMETER = 17.0
RATE, TUNING_RATE, CELLPOSE4_RATE = 2e-3, 2e-4, 1e-5


class Trained(NamedTuple):
    """What came of a training.

    Attributes
    ----------
    history
        Losses and scores of each epoch.
    kept
        The epoch whose weights were kept.
    held_out, scored
        Numbers of held-out items, and of those that were scored.
    command
        The command line with which the training began.
    """

    history: list[dict[str, float]]
    kept: int
    held_out: int
    scored: int
    command: str


@dataclass(frozen=True)
class UNetStart:
    """A U-Net about to be trained; ``licence`` is that of the file it starts from, if known."""

    trainer: Trainer
    licence: str | None = None

    @property
    def settings(self) -> Settings:
        """What shapes the training."""
        return self.trainer.settings

    @property
    def limit(self) -> int:
        """Input channels of the network."""
        return self.settings.widths[0]

    def prepare(self, output: Path, *, resume: bool, overwrite: bool) -> None:
        """See :func:`terapose.apps.train.loop.prepare`."""
        prepare(self.trainer, output, resume=resume, overwrite=overwrite)

    def train(
        self, dataset: Dataset, output: Path, *, command: str, report: Report, show: Show
    ) -> Trained:
        """Train to the end, with ``command``, which counts only if nothing is resumed."""
        trainer, trained, held_out = self.trainer, dataset.training, dataset.held_out
        trainer.command = trainer.command or command
        fit(trainer, trained, held_out, output, report=report, show=show)
        return _trained(trainer.history, trainer.kept_epoch, held_out, trainer.command)


@dataclass(frozen=True)
class Cellpose4Start:
    """A network of Cellpose 4 about to be fine-tuned; ``licence`` is its own, if known."""

    network: nn.Module
    settings: Recipe
    licence: str | None = None
    limit: int = CHANNELS

    def prepare(self, output: Path, *, resume: bool, overwrite: bool) -> None:
        """See :func:`terapose.apps.train.saving.check_free`; there is nothing to resume."""
        check_free(output, overwrite=overwrite)

    def train(
        self, dataset: Dataset, output: Path, *, command: str, report: Report, show: Show
    ) -> Trained:
        """Train to the end, with ``command``; the last epoch is kept."""
        trained, held_out = dataset.training, dataset.held_out
        history = finetune(self.network, trained, held_out, output, self.settings, report=report)
        draw_curve(history, curve_of(output))
        return _trained(history, self.settings.epochs, held_out, command)


def _trained(
    history: list[dict[str, float]], kept: int, held_out: Sequence[Item], command: str
) -> Trained:
    return Trained(history, kept, len(held_out), len(sample(held_out, SCORED)), command)


def begin(
    options: Mapping[str, Any], *, init: Path | None, output: Path
) -> UNetStart | Cellpose4Start:
    """Read the file to start from, and fill in what was not given.

    Parameters
    ----------
    options
        Of the command line, None where not given: channels, epochs, steps, batch, crop, rate,
        diameter, widths, seed, precision, patience, resume, use_gpu.
    init
        Weight file to fine-tune; None to start from random weights.
    output
        The weights to be written.

    Raises
    ------
    InputError
        The file cannot be read or fine-tuned, or an option does not go with it.
    """
    _check_channels(options["channels"])
    device = "cuda" if options["use_gpu"] else "cpu"
    if options["use_gpu"] and not torch.cuda.is_available():
        raise InputError(
            "this machine has no GPU that torch can use", where="use-gpu", remedy="leave it out"
        )
    if init is None:
        return _from_scratch(options, device)
    info = identify(init)
    if len(options["channels"]) > info.channels:
        raise InputError(
            "more channels than the network takes",
            where="channels",
            got=",".join(map(str, options["channels"])),
            allowed=f"up to {info.channels}",
        )
    if info.family == "cellpose4":
        return _from_cellpose4(options, info, device)
    if info.family == "unet":
        return _from_unet(options, info, output, device)
    raise InputError(
        "networks of this family cannot be trained",
        where=init,
        got=info.family,
        allowed="unet, cellpose4",
        remedy="leave out --init to train a new U-Net",
    )


def _check_channels(channels: Sequence[int]) -> None:
    if channels and (min(channels) < 1 or len(set(channels)) < len(channels)):
        raise InputError(
            "channels that cannot be used",
            where="channels",
            got=",".join(map(str, channels)),
            allowed="numbers from 1, each once",
            remedy="give --channels as in 1,2 (cell, nucleus)",
        )


def _from_scratch(options: Mapping[str, Any], device: str) -> UNetStart:
    count = len(options["channels"]) or 1
    if count > 2:
        raise InputError(
            "a U-Net takes up to two channels, cell and nucleus",
            where="channels",
            got=",".join(map(str, options["channels"])),
        )
    widths = (count, *(options["widths"] or WIDTHS))
    settings = _settings(options, widths, options["diameter"] or DIAMETER, RATE)
    return UNetStart(Trainer(settings, device=device))


def _from_unet(options: Mapping[str, Any], info: ModelInfo, output: Path, device: str) -> UNetStart:
    _refuse(options, ("widths",), "the file decides the architecture")
    network = load(info.path, device=device, precision="float32").module.net
    assert isinstance(network, UNet)
    if not network.style_on:
        _check_name(info.path, output)
    diameter = options["diameter"] or info.diam_mean
    settings = _settings(options, network.widths, diameter, TUNING_RATE, info.digest)
    return UNetStart(Trainer(settings, network, device), info.licence)


def _check_name(init: Path, output: Path) -> None:
    """That a network ignores the style is known by its file's name alone."""
    found = style_off(init)
    if found and found not in output.name:
        raise InputError(
            "the network ignores the style, which only its file name shows",
            where=output,
            allowed=f"a name with {found}",
        )


def _settings(
    options: Mapping[str, Any],
    widths: tuple[int, ...],
    diameter: float,
    rate: float,
    init: str = "",
) -> Settings:
    return Settings(
        epochs=options["epochs"],
        steps=options["steps"],
        batch=options["batch"] or 8,
        # about seven and a half objects wide, and halved without a rest on every level
        edge=options["crop"] or max(64, 32 * round(7.5 * diameter / 32)),
        rate=options["rate"] or rate,
        widths=tuple(widths),
        diameter=float(diameter),
        seed=options["seed"],
        precision=options["precision"] or "float32",
        patience=options["patience"],
        channels=tuple(options["channels"]),
        init=init,
    )


def _from_cellpose4(options: Mapping[str, Any], info: ModelInfo, device: str) -> Cellpose4Start:
    _refuse(
        options,
        ("widths", "diameter", "crop", "precision", "patience", "resume"),
        "a network of Cellpose 4 is trained by the cellpose package",
    )
    if options["epochs"] < 2:
        raise InputError(
            "the cellpose package trains its first epoch at a rate of zero",
            where="epochs",
            got=options["epochs"],
            allowed="2 or more",
        )
    recipe = Recipe(
        epochs=options["epochs"],
        steps=options["steps"],
        batch=options["batch"] or 1,
        rate=options["rate"] or CELLPOSE4_RATE,
        seed=options["seed"],
        channels=tuple(options["channels"]),
        init=info.digest,
    )
    network = load(info.path, device=device, precision="float32").module.net
    return Cellpose4Start(network, recipe, info.licence)


def _refuse(options: Mapping[str, Any], names: tuple[str, ...], why: str) -> None:
    given = [f"--{name}" for name in names if options[name]]
    if given:
        raise InputError(
            f"options that cannot be combined with --init: {why}",
            where="init",
            got=", ".join(given),
            remedy="leave them out",
        )
