"""Fine-tuning of Cellpose 4 by its own training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cellpose import models, vit
from click.testing import CliRunner
from tests.discs import equal, item, weights, write_cells
from torch import Tensor, nn

from terapose.apps.train.cellpose4 import Recipe, arguments, finetune
from terapose.apps.train.data import Item
from terapose.cli.train import command
from terapose.core.errors import InputError
from terapose.networks.files import identify
from terapose.networks.loading import load
from terapose.networks.unet import UNet

pytestmark = pytest.mark.usefixtures("one_thread")


class Tiny(vit.BaseModel):  # type: ignore[misc]
    """Three convolutions under the interface that Cellpose's training asks of a network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = "sam_vitl"
        self.W2 = nn.Parameter(torch.eye(2), requires_grad=False)  # what a file is known by
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 3, 5, padding=2),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(x), torch.zeros(len(x), 256)


RECIPE = Recipe(epochs=11, steps=2, batch=2, rate=5e-3, decay=0.0)


def test_cellposes_own_training(tmp_path: Path) -> None:
    defaults = dict(models.normalize_default)
    lines: list[str] = []
    net, output = Tiny(), tmp_path / "tuned"
    before = {name: value.clone() for name, value in net.state_dict().items()}
    data = [item(0), replace_source(item(1), 1)]
    history = finetune(net, data, [item(2)], output, RECIPE, report=lines.append)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]
    again = Tiny()
    again.load_model(output, device=torch.device("cpu"))
    assert equal(again.state_dict(), net.state_dict()) and not equal(before, net.state_dict())
    assert [line["epoch"] for line in history] == list(range(12))
    assert history[-1]["loss"] < history[1]["loss"]
    # the package measures the held-out loss in its epochs 0, 5 and 10
    assert [line["epoch"] for line in history if "held_out_loss" in line] == [1, 6, 11]
    assert "ap50" in history[0] and "ap50" in history[-1]
    assert any("learning_rate=0.005" in line for line in lines)
    assert models.normalize_default == defaults
    assert float(net.diam_labels) == pytest.approx(np.mean([i.diameter for i in data]), rel=0.02)


def replace_source(of: Item, source: int) -> Item:
    return Item(of.name, source, of.image, of.labels, of.target, of.diameter)


def test_arguments_for_cellposes_training() -> None:
    """What Cellpose would make of the labels itself, three channels, sources drawn alike."""
    from cellpose.dynamics import labels_to_flows

    data = [item(0), item(1), replace_source(item(2), 1)]
    made = arguments(data, [], RECIPE)
    assert made["test_data"] is None and made["nimg_per_epoch"] == 4
    np.testing.assert_allclose(made["train_probs"], [0.25, 0.25, 0.5])
    theirs = labels_to_flows([i.labels.astype(np.float32) for i in data])
    for mine, other in zip(made["train_labels"], theirs, strict=True):
        pairs = np.unique(np.stack([mine[0].ravel(), other[0].ravel()]), axis=1)
        assert pairs.shape[1] == 10  # nine objects and the background, numbered anew
        np.testing.assert_array_equal(mine[1], other[1])
        np.testing.assert_allclose(mine[2:], other[2:], atol=1e-4)
    for image, of in zip(made["train_data"], data, strict=True):
        assert image.shape == (3, 64, 64) and not image[1:].any()
        np.testing.assert_array_equal(image[0], of.image[0])


def test_divergence_of_cellposes_training(tmp_path: Path) -> None:
    broken = item(0)
    broken.image[:] = np.nan
    with pytest.raises(InputError, match="the training has diverged"):
        finetune(Tiny(), [broken], [], tmp_path / "out", RECIPE, report=print)
    assert not list(tmp_path.iterdir())


@pytest.mark.large
@pytest.mark.slow
@pytest.mark.skipif("TERAPOSE_LARGE" not in os.environ, reason="trains and writes 1.2 GB")
def test_command_fine_tunes_cellpose4(tmp_path: Path) -> None:
    torch.manual_seed(0)
    init, output = tmp_path / "cpsam", tmp_path / "tuned"
    torch.save(vit.CPSAM(dtype=torch.float32).state_dict(), init)
    cells = write_cells(tmp_path / "cells", 2)
    given = [str(cells), "--init", str(init), "--output", str(output), "--epochs", "2"]
    given += ["--steps", "1", "--rate", "1e-4", "--holdout-every", "2"]
    with pytest.raises(InputError, match="got --diameter, --patience"):
        CliRunner().invoke(
            command, [*given, "--diameter", "20", "--patience", "2"], catch_exceptions=False
        )
    with pytest.raises(InputError, match="first epoch at a rate of zero; got 1"):
        CliRunner().invoke(command, [*given, "--epochs", "1"], catch_exceptions=False)
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    info = identify(output)
    assert (info.family, info.channels) == ("cellpose4", 3)
    before, after = weights(init), weights(output)
    assert before.keys() == after.keys()
    assert not torch.equal(before["out.weight"], after["out.weight"])
    net = load(output).module.net
    assert not isinstance(net, UNet) and equal(net.state_dict(), after)
    assert "A network of Cellpose 4" in output.with_suffix(".md").read_text()
