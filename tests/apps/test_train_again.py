"""Training in a place where there was one: resumed with its data, or in place of it; its card."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner
from tests.discs import item, write_cells
from tests.unets import random_unet, sam_outline, save
from torch import nn

from terapose.apps.train import start
from terapose.apps.train.card import _about
from terapose.apps.train.cellpose4 import Recipe, finetune
from terapose.apps.train.loop import Trainer
from terapose.apps.train.resumed import check_same_data, recorded
from terapose.apps.train.settings import Settings
from terapose.apps.train.start import Trained, begin
from terapose.cli.train import command
from terapose.core.errors import InputError
from terapose.networks.files import identify

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("--epochs", "3", "--steps", "1", "--batch", "1", "--crop", "32", "--channels", "1")
NEW = ("--widths", "4,8")


def train(cells: Path, output: Path, *more: str) -> str:
    given = ["train", str(cells), "--output", str(output), *SMALL, *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["terapose", *given])
        done = CliRunner().invoke(command, given[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def interrupted(cells: Path, output: Path, *more: str) -> None:
    """A training that is stopped after its first epoch."""
    usual = Trainer.save

    def stop(trainer: Trainer, path: Path) -> None:
        usual(trainer, path)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", stop)
        with pytest.raises((KeyboardInterrupt, AssertionError)):
            train(cells, output, *more)
    assert output.with_suffix(".checkpoint").exists()


def change(path: Path) -> None:
    values = tifffile.imread(path)
    values[0, 0] += 1
    tifffile.imwrite(path, values)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return write_cells(tmp_path / "cells", 3)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


# -- resumed ----------------------------------------------------------------------------------


def test_only_the_same_data_are_resumed(cells: Path, output: Path) -> None:
    given = (*NEW, "--holdout", "2.tif")
    interrupted(cells, output, *given)
    moved = r"got 1\.tif \(folder 1\), 2\.tif \(folder 1\) moved between training and held out; all"
    with pytest.raises(InputError, match=rf"net\.checkpoint: .*made with other data; {moved}"):
        train(cells, output, *NEW, "--holdout", "1.tif", "--resume")
    kept = {path.name: path.read_bytes() for path in cells.iterdir()}
    for name, sentence in (("0.tif", "0.tif"), ("1_masks.tif", "1.tif")):
        change(cells / name)
        with pytest.raises(InputError, match=rf"got {sentence} \(folder 1\) changed"):
            train(cells, output, *given, "--resume")
        (cells / name).write_bytes(kept[name])
    for end in (".tif", "_masks.tif"):
        (cells / f"0{end}").rename(cells / f"7{end}")
    with pytest.raises(InputError, match=r"got 7.tif \(folder 1\) added; 0.tif \(folder 1\) rem"):
        train(cells, output, *given, "--resume")
    for end in (".tif", "_masks.tif"):
        (cells / f"7{end}").rename(cells / f"0{end}")
    assert "epoch 3" in train(cells, output, *given, "--resume")
    card = output.with_suffix(".md").read_text()
    assert "--holdout 2.tif`" in card and "--resume" not in card


def test_the_card_has_the_command_that_began(cells: Path, output: Path) -> None:
    interrupted(cells, output, *NEW, "--threads", "1")
    train(cells, output, *NEW, "--resume")
    assert "--widths 4,8 --threads 1`" in output.with_suffix(".md").read_text()


def test_checkpoints_without_a_record_of_data_go_on(
    cells: Path, output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(cells, output, *NEW)
    path = output.with_suffix(".checkpoint")
    state = torch.load(path, weights_only=True)
    del state["data"], state["command"]
    torch.save(state, path)
    with caplog.at_level(logging.WARNING):
        train(cells, output, *NEW, "--resume")
    assert "an earlier version made it, which did not record the data" in caplog.text
    assert "--widths 4,8`" in output.with_suffix(".md").read_text()


def test_many_differences_are_counted() -> None:
    one, all_of_them = [item(0)], [item(seed) for seed in range(9)]
    with pytest.raises(
        InputError, match=r"got 1.tif \(folder 1\), 2.tif .*, 3.tif .* and 5 more added; allowed"
    ):
        check_same_data(recorded(all_of_them, []), recorded(one, []), where=Path("a.checkpoint"))


# -- in place of another ----------------------------------------------------------------------


def test_a_failed_start_leaves_the_old_training(cells: Path, output: Path) -> None:
    train(cells, output, *NEW)
    output.with_suffix(".checkpoint").write_text("of another training")
    old = {path.name: path.read_bytes() for path in output.parent.glob("net.*")}
    assert len(old) == 4
    broken = shutil.copytree(cells, cells.with_name("broken"))
    (broken / "0.tif").write_text("no image")
    with pytest.raises(InputError, match="not an image that can be read"):
        train(broken, output, *NEW, "--overwrite")
    with pytest.raises(InputError, match="diverged"):
        train(cells, output, *NEW, "--overwrite", "--rate", "1e30", "--steps", "4")
    assert {path.name: path.read_bytes() for path in output.parent.glob("net.*")} == old
    interrupted(cells, output, *NEW, "--overwrite", "--seed", "1")
    assert not output.with_suffix(".md").exists()  # that of other weights
    new = {path.name: path.read_bytes() for path in output.parent.glob("net.*")}
    assert all(new[name] != old[name] for name in ("net.pth", "net.png", "net.checkpoint"))
    train(cells, output, *NEW, "--overwrite")
    assert not output.with_suffix(".checkpoint").exists() and output.with_suffix(".md").exists()


def test_a_new_network_of_cellpose4_replaces_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = [np.nan]

    def train_seg(network: Any, *, save_path: str, **_: Any) -> tuple[str, Any, Any]:
        (tmp_path / save_path / "trained").write_bytes(b"new")
        return f"{save_path}/trained", np.array(losses), np.zeros(1)

    monkeypatch.setattr("cellpose.train.train_seg", train_seg)
    names = ("net", "net.md", "net.png", "net.checkpoint")
    for name in names:
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(InputError, match="diverged"):
        finetune(nn.Identity(), [item(0)], [], tmp_path / "net", Recipe(), report=print)
    assert {(tmp_path / name).read_bytes() for name in names} == {b"old"}
    losses[:] = [1.0]
    finetune(nn.Identity(), [item(0)], [], tmp_path / "net", Recipe(), report=print)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net").read_bytes() == b"new"


# -- the card ---------------------------------------------------------------------------------


def about(settings: Settings | Recipe, kept: int, scores: Sequence[float]) -> str:
    history = [{"epoch": float(n), "ap50": score} for n, score in enumerate(scores)]
    return _about(settings, Trained(history, kept, 40, 16 if scores else 0, "terapose train"))


def test_the_card_says_how_scores_were_made() -> None:
    chosen, kept = Settings(patience=2), Settings()
    text = about(kept, 1, [0.1, 0.2])
    assert "on 16 of 40 held-out images (of volumes: planes), each of them whole and scaled" in text
    assert "median diameter of the cells in its labels" in text and "chosen" not in text
    # the best epoch is often the last, and was chosen all the same
    for best in (0, 1):
        assert "the epoch was chosen by the first of them" in about(chosen, best, [0.1, 0.2])
    assert "whole and as it is." in about(Recipe(), 1, [0.1, 0.2])
    assert "Nothing was held out" in about(chosen, 1, [])


def test_fine_tuned_weights_have_the_licence_of_what_they_were(cells: Path, output: Path) -> None:
    init = save(random_unet((1, 4, 8)).state_dict(), output.with_name("lab.pth"))
    assert "license: unstated" in card(cells, output, "--init", str(init))
    init.with_suffix(".md").write_text("---\nlicense: CC-BY-SA-4.0\n---\n")
    assert "license: CC-BY-SA-4.0" in card(cells, output, "--init", str(init))
    assert identify(output).licence == "CC-BY-SA-4.0"
    assert "license: MIT" in card(cells, output, "--init", str(init), "--licence", "MIT")


def card(cells: Path, output: Path, *more: str) -> str:
    train(cells, output, "--overwrite", "--epochs", "1", *more)
    return output.with_suffix(".md").read_text()


def test_cellpose4_has_its_own_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(sam_outline(1024, 3), tmp_path / "sam")
    loaded = SimpleNamespace(module=SimpleNamespace(net=nn.Identity()))
    monkeypatch.setattr(start, "load", lambda *_, **__: loaded)
    names = ("channels", "batch", "crop", "rate", "diameter", "widths", "precision", "patience")
    options: dict[str, Any] = dict.fromkeys(names, ())
    options |= {"epochs": 2, "steps": 1, "seed": 0, "resume": False, "use_gpu": False}
    begun = begin(options, init=tmp_path / "sam", output=tmp_path / "out")
    assert begun.licence == "CC-BY-NC-4.0"
