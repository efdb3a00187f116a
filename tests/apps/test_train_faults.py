"""What a training refuses or warns of: that it has diverged, data, outputs and checkpoints."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
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
from terapose.apps.train.saving import checkpoint_of, save_weights
from terapose.apps.train.settings import Settings
from terapose.cli.train import command
from terapose.core.errors import InputError
from terapose.networks.files import identify

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Settings(epochs=3, steps=1, batch=1, edge=32, widths=(1, 4, 8), diameter=10.0)
SHORT = ("--epochs", "3", "--steps", "1", "--batch", "1", "--crop", "32")
OPTIONS = (*SHORT, "--channels", "1", "--widths", "4,8")


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


# -- outputs ----------------------------------------------------------------------------------


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond some bytes, as if the disk was full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(tmp_path: Path) -> None:
    """The error that the command line puts in a sentence, with the file; nothing is left over."""
    output = tmp_path / "net.pth"
    trainer = Trainer(SMALL)
    with full_disk(), pytest.raises(OSError, match=r"File too large: .*net\.pth") as error:
        save_weights(trainer.kept(), output)
    assert error.value.errno == errno.EFBIG
    with full_disk(), pytest.raises(OSError, match=r"File too large: .*net\.checkpoint"):
        trainer.save(checkpoint_of(output))
    assert not list(tmp_path.iterdir())
    save_weights(trainer.kept(), output)
    assert identify(output).channels == 1


def test_a_full_disk_under_cellpose4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_seg(network: Any, *, save_path: str, **_: Any) -> None:
        torch.save(Trainer(SMALL).kept(), f"{save_path}/trained")

    monkeypatch.setattr("cellpose.train.train_seg", train_seg)
    with full_disk(), pytest.raises(InputError, match=r"the weights cannot be written; got .*disk"):
        finetune(nn.Identity(), [item(0)], [], tmp_path / "net", Recipe(), report=print)
    assert not list(tmp_path.iterdir())
