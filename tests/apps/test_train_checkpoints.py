"""Checkpoints that torch reads and no training has left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.discs import item

from terapose.apps.train.batches import Steps, draw
from terapose.apps.train.loop import Trainer, fit, prepare
from terapose.apps.train.saving import checkpoint_of
from terapose.apps.train.settings import Settings
from terapose.apps.train.small import restore_small, save_small
from terapose.core.errors import InputError
from terapose.networks.unet import UNet

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Settings(epochs=3, steps=1, batch=1, edge=32, widths=(1, 4, 8), diameter=10.0, average=0.9)
BIAS = "output.2.bias"

State = dict[str, Any]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint after the first of three epochs."""
    output = tmp_path_factory.mktemp("left") / "net.pth"

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Trainer(SMALL), [item(0)], [item(1)], output, report=stop, scored=1)
    return checkpoint_of(output).read_bytes()


@pytest.fixture
def path(left: bytes, tmp_path: Path) -> Path:
    """It, in a place where it may be changed."""
    path = tmp_path / "net.checkpoint"
    path.write_bytes(left)
    return path


def resumed(path: Path) -> Trainer:
    trainer = Trainer(SMALL)
    prepare(trainer, path.with_suffix(".pth"), resume=True, overwrite=False)
    return trainer


def momentum(state: State) -> State:
    first: State = state["optimiser"]["state"][0]
    return first


@pytest.mark.parametrize(
    "content",
    [
        *(torch.zeros(3), [1], 3, {}, {"settings": "[]"}, {"settings": "null"}),
        *({"settings": "{"}, {"settings": 3}, {"settings": []}),
    ],
)
def test_files_of_other_kinds(path: Path, content: Any) -> None:
    torch.save(content, path)
    with pytest.raises(InputError, match=r"net\.checkpoint: not a checkpoint of terapose train"):
        resumed(path)
    with pytest.raises(InputError, match="not a small checkpoint"):
        restore_small(Trainer(SMALL), path)


def test_parts_that_are_lacking(path: Path) -> None:
    whole = torch.load(path, weights_only=True)
    assert resumed(path).epoch == 1
    for name in ("epoch", "history", "network", "averaged", "optimiser"):
        torch.save({key: value for key, value in whole.items() if key != name}, path)
        with pytest.raises(InputError, match=f"not a checkpoint .*can be used: {name}; give"):
            resumed(path)
    # younger than the first checkpoints
    torch.save({k: v for k, v in whole.items() if k not in ("best", "data", "command")}, path)
    assert resumed(path).data == ""


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("epoch", lambda state: state.update(epoch="1")),
        ("epoch", lambda state: state.update(epoch=99)),
        ("epoch", lambda state: state.update(epoch=-1)),
        ("epoch", lambda state: state.update(epoch=True)),
        ("history", lambda state: state.update(epoch=3)),
        ("history", lambda state: state.update(history=[])),
        ("history", lambda state: state.update(history=[1])),
        ("history", lambda state: state["history"][0].update(epoch=7)),
        ("history", lambda state: state["history"][0].update(loss="low")),
        ("history", lambda state: state["history"][0].update(held_out_loss=float("nan"))),
        ("history", lambda state: state["history"][0].pop("held_out_loss")),
        ("network", lambda state: state["network"].pop(BIAS)),
        ("network", lambda state: state["network"].update(more=torch.zeros(1))),
        ("network", lambda state: state["network"].update({BIAS: torch.zeros(4)})),
        ("network", lambda state: state["network"].update({BIAS: [0.0, 0.0, 0.0]})),
        ("network", lambda state: state["network"][BIAS].fill_(torch.nan)),
        ("averaged", lambda state: state.update(averaged=None)),
        ("best", lambda state: state.update(best={})),
        ("optimiser", lambda state: state.update(optimiser=[])),
        ("optimiser", lambda state: state.update(optimiser={})),
        ("optimiser", lambda state: state["optimiser"]["state"].update({999: momentum(state)})),
        ("optimiser", lambda state: momentum(state).pop("exp_avg")),
        ("optimiser", lambda state: momentum(state).update(exp_avg=torch.zeros(2))),
        ("optimiser", lambda state: momentum(state).update(step="1")),
        ("data", lambda state: state.update(data="{")),
        ("data", lambda state: state.update(data="[[1, 2]]")),
        ("data", lambda state: state.update(data=3)),
        ("command", lambda state: state.update(command=3)),
    ],
)
def test_parts_of_wrong_content(path: Path, part: str, change: Callable[[State], object]) -> None:
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=f"not a checkpoint .*can be used: {part}; give"):
        resumed(path)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("epoch", lambda state: state.update(epoch=99)),
        ("history", lambda state: state.update(history=None)),
        ("weights", lambda state: state.update(weights={})),
        ("squares", lambda state: state["squares"].update({0: torch.zeros(2)})),
        ("squares", lambda state: state.pop("squares")),
    ],
)
def test_small_checkpoints_of_wrong_content(
    path: Path, part: str, change: Callable[[State], object]
) -> None:
    trainer = resumed(path)
    path = path.with_suffix(".small")
    save_small(trainer, path)
    restore_small(Trainer(SMALL), path)
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=f"not a small checkpoint.*can be used: {part}; name"):
        restore_small(Trainer(SMALL), path)


def test_other_settings_are_named_first(path: Path) -> None:
    """Weights of another network do not fit, which is no damage."""
    state = torch.load(path, weights_only=True)
    other = replace(SMALL, widths=(1, 4, 12))
    torch.save({**state, "settings": json.dumps(asdict(other))}, path)
    with pytest.raises(InputError, match="the checkpoint was made with other settings"):
        resumed(path)


def test_weights_that_are_never_used_have_no_moments(tmp_path: Path) -> None:
    """As those of the style, of a network without it."""
    path = tmp_path / "net.checkpoint"
    network = UNet((1, 4, 8), style_on=False, diameter=10.0)
    trainer = Trainer(SMALL, network)
    trainer.record({"epoch": 1, "loss": trainer.run_epoch(draw(Steps([item(0)], SMALL), range(1)))})
    moments = trainer.optimiser.state_dict()["state"]
    assert 0 < len(moments) < len(list(network.parameters()))
    trainer.save(path)
    again = Trainer(SMALL, UNet((1, 4, 8), style_on=False, diameter=10.0))
    again.restore(path)
    assert again.optimiser.state_dict()["state"].keys() == moments.keys()
