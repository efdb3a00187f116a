"""What a training refuses or warns of: that it has diverged, data, outputs and checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tests.discs import item, write_cells
from torch import nn

from terapose.apps.train.batches import Steps, draw
from terapose.apps.train.cellpose4 import Recipe, finetune
from terapose.apps.train.loop import Trainer, fit
from terapose.apps.train.settings import Settings
from terapose.cli.train import command
from terapose.core.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Settings(epochs=3, steps=1, batch=1, edge=32, widths=(1, 4, 8), diameter=10.0)
OPTIONS = ("--epochs", "3", "--steps", "1", "--batch", "1", "--crop", "32", "--channels", "1")
OPTIONS = (*OPTIONS, "--widths", "4,8")


def train(cells: Path, output: Path, *more: str) -> Result:
    given = [str(cells), "--output", str(output), *OPTIONS, *more]
    return CliRunner().invoke(command, given, catch_exceptions=False)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return write_cells(tmp_path / "cells", 3)


# -- diverged ---------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--holdout-every", "2")], ids=["all", "held out"])
@pytest.mark.parametrize("rate", ["1e6", "1e30"])
def test_divergence_in_the_last_step(
    cells: Path, tmp_path: Path, more: tuple[str, ...], rate: str
) -> None:
    """The losses of the steps are finite: each is of the weights before it."""
    for epochs in ("1", "3"):
        with pytest.raises(InputError, match=r"the training has diverged; got .*lower --rate"):
            train(cells, tmp_path / "net.pth", "--rate", rate, "--epochs", epochs, *more)
        assert not list(tmp_path.glob("net*"))


def test_a_loss_on_held_out_images_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "validate", lambda *_: float("nan"))
    output = tmp_path / "net.pth"
    for trainer, sentence in (
        (Trainer(replace(SMALL, patience=1)), "epoch 1: the training has diverged; got loss nan"),
        (Trainer(SMALL, Trainer(SMALL).network), "init: the network gives values that are not"),
    ):
        with pytest.raises(InputError, match=sentence):
            fit(trainer, [item(0)], [item(1)], output, report=print)
        assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(SMALL)
    usual = trainer._step

    def spoil(*batch: Any, **how: Any) -> torch.Tensor:
        loss = usual(*batch, **how)
        trainer.network.state_dict()["output.2.bias"][0] = torch.inf
        return loss

    monkeypatch.setattr(trainer, "_step", spoil)
    with pytest.raises(InputError, match="step 1: the training has diverged; got weights that"):
        trainer.run_epoch(draw(Steps([item(0)], SMALL), trainer.steps))
    assert trainer.epoch == 0


@pytest.mark.parametrize("spoilt", ["weights", "held out"])
def test_divergence_of_cellpose4_in_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    def train_seg(network: Any, *, save_path: str, **_: Any) -> tuple[str, Any, Any]:
        if spoilt == "weights":
            nn.init.constant_(network.weight, torch.nan)
        tested = np.array([0.0, np.nan if spoilt == "held out" else 0.0])
        return f"{save_path}/trained", np.ones(2), tested

    monkeypatch.setattr("cellpose.train.train_seg", train_seg)
    with pytest.raises(InputError, match="the training has diverged"):
        finetune(nn.Linear(1, 1), [item(0)], [], tmp_path / "net", Recipe(epochs=2), report=print)
    assert not list(tmp_path.iterdir())
