"""Fine-tuning, early stopping, the picture of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tests.discs import State, equal, item, weights, write_cells
from tests.unets import random_unet, save

from terapose.apps.train.augment import crop
from terapose.apps.train.batches import batch_of
from terapose.apps.train.curve import curve_of, draw_curve
from terapose.apps.train.data import Item
from terapose.apps.train.loop import Trainer, fit, prepare
from terapose.apps.train.saving import check_output
from terapose.apps.train.score import segment
from terapose.apps.train.settings import Settings
from terapose.apps.train.start import begin
from terapose.cli.train import command
from terapose.core.errors import InputError
from terapose.networks.files import identify
from terapose.networks.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Settings(epochs=5, steps=3, batch=2, edge=32, widths=(1, 4, 6, 8), diameter=12.0)
OPTIONS = {
    "channels": (),
    "epochs": 3,
    "steps": 2,
    "batch": None,
    "crop": None,
    "rate": None,
    "diameter": None,
    "widths": None,
    "seed": 0,
    "precision": None,
    "patience": 0,
    "resume": False,
    "use_gpu": False,
}


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds bright discs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = Settings(
        epochs=1, steps=100, batch=4, edge=48, widths=(1, 8, 12, 16), diameter=12.0, rate=5e-3
    )
    output = tmp_path_factory.mktemp("bright") / "bright.pth"
    fit(Trainer(settings), [item(n) for n in range(6)], [], output, report=print)
    torch.set_num_threads(before)
    return output


def start(init: Path, **options: object) -> Trainer:
    """A trainer of a U-Net file, as the command makes it."""
    begun = begin({**OPTIONS, **options}, init=init, output=init.with_name("out.pth"))
    assert hasattr(begun, "trainer")
    return begun.trainer


# -- fine-tuning ------------------------------------------------------------------------------


def test_fine_tuning_improves_the_score(bright: Path, tmp_path: Path) -> None:
    """Dark discs are strange to a network of bright ones, until it has seen some."""
    trainer = start(bright, epochs=2, steps=45, batch=4, crop=48, rate=3e-3)
    dark = [item(n, dark=True) for n in range(6)]
    fit(trainer, dark, [item(n, dark=True) for n in (50, 51)], tmp_path / "o.pth", report=print)
    first, last = trainer.history[0], trainer.history[-1]
    assert first["epoch"] == 0 and "loss" not in first and last["epoch"] == 2
    assert first["ap50"] < 0.3 and last["ap50"] > 0.6
    assert last["held_out_loss"] < first["held_out_loss"]


def test_architecture_and_names_are_kept(tmp_path: Path) -> None:
    """Of a file as `cyto` is: two channels, other widths, from training on several GPUs."""
    for options in ({}, {"residual": False, "concatenation": True}):
        net = random_unet((2, 8, 12, 16), diameter=19.5, **options)
        before = {f"module.{name}": value for name, value in net.state_dict().items()}
        init = save(before, tmp_path / "lab")
        trainer = start(init, epochs=1, steps=1, batch=2)
        assert trainer.settings.widths == (2, 8, 12, 16)
        assert (trainer.settings.diameter, trainer.settings.rate) == (19.5, 2e-4)
        assert trainer.settings.init == identify(init).digest
        data = [item(0), item(1)]
        output = tmp_path / "tuned.pth"
        fit(trainer, data, [], output, report=print)
        after = weights(output)
        assert {f"module.{k}": v.shape for k, v in after.items()} == {
            k: v.shape for k, v in before.items()
        }
        assert all(v.dtype == before[f"module.{k}"].dtype for k, v in after.items())
        changed = [k for k in after if not torch.equal(after[k], before[f"module.{k}"])]
        assert "output.2.weight" in changed and "diam_mean" not in changed
        assert float(after["diam_labels"]) == pytest.approx(
            (data[0].diameter + data[1].diameter) / 2
        )
        again = load(output)
        assert (again.channels, again.diam_mean) == (2, 19.5)


def test_diameter_can_be_given(tmp_path: Path) -> None:
    init = save(random_unet(diameter=19.5).state_dict(), tmp_path / "lab")
    trainer = start(init, diameter=25.0, epochs=1, steps=1, batch=1)
    assert (trainer.settings.edge, trainer.settings.diameter) == (192, 25.0)
    fit(trainer, [item(0)], [], tmp_path / "out.pth", report=print)
    assert identify(tmp_path / "out.pth").diam_mean == 25.0


def test_what_does_not_go_with_a_file(tmp_path: Path) -> None:
    init = save(random_unet().state_dict(), tmp_path / "lab")
    with pytest.raises(InputError, match=r"cannot be combined with --init.*got --widths"):
        start(init, widths=(4, 8))
    with pytest.raises(InputError, match=r"more channels than the network takes; got 1,2,3"):
        start(init, channels=(1, 2, 3))
    with pytest.raises(InputError, match="a U-Net takes up to two channels"):
        begin({**OPTIONS, "channels": (1, 2, 3)}, init=None, output=init)
    deaf = random_unet(style_on=False).state_dict()
    name = "cellpose_residual_on_style_off_concatenation_off_lab"
    init = save(deaf, tmp_path / name)
    with pytest.raises(InputError, match=f"ignores the style.*a name with {name[:-4]}"):
        start(init)
    begun = begin(OPTIONS, init=init, output=tmp_path / f"{name}_tuned")
    assert not begun.trainer.network.style_on  # type: ignore[union-attr]


def test_a_family_without_a_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = save(random_unet().state_dict(), tmp_path / "other.pth")
    other = replace(identify(init), family="transformer")
    monkeypatch.setattr("terapose.apps.train.start.identify", lambda path: other)
    with pytest.raises(InputError, match="family cannot be trained; got transformer") as error:
        begin(OPTIONS, init=init, output=tmp_path / "tuned.pth")
    assert "other.pth" in str(error.value) and "allowed: unet, cellpose4" in str(error.value)


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    init = save(random_unet().state_dict(), tmp_path / "lab")
    with pytest.raises(InputError, match="are written beside the weights"):
        check_output(tmp_path / "net.png", None)
    with pytest.raises(InputError, match="the file to start from cannot be the output"):
        check_output(tmp_path / "lab", init)
    with pytest.raises(InputError, match=r"nowhere: there is no such folder; make it, or choose"):
        check_output(tmp_path / "nowhere" / "net.pth", init)
    # what is beside it has a longer name
    for name in (f"{300 * 'x'}.pth", f"{250 * 'x'}.pth"):
        with pytest.raises(InputError, match=r"x\.pth: the file cannot be written; got"):
            check_output(tmp_path / name, init)
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


# -- channels ---------------------------------------------------------------------------------


def test_lacking_channels_are_zero() -> None:
    settings = replace(SMALL, widths=(2, 4, 6, 8))
    one = item(0)
    images, _ = batch_of([one], settings, (0, 0))
    assert images.shape == (2, 2, 32, 32) and images[:, 0].any() and not images[:, 1].any()
    padded = np.concatenate([one.image, 0 * one.image])
    two = Item(one.name, 0, padded, one.labels, one.target, one.diameter)
    both, _ = batch_of([two], settings, (0, 0))
    assert torch.equal(both, images)
    net = random_unet((2, 8, 12, 16))
    np.testing.assert_array_equal(segment(net, one.image, 12.0), segment(net, two.image, 12.0))


def test_channels_are_turned_together() -> None:
    one = item(0)
    two = Item("", 0, np.concatenate([one.image, one.image]), one.labels, one.target, 12.0)
    for seed in range(4):
        (cell, nucleus), _ = crop(two, np.random.default_rng(seed), edge=48, diameter=12.0)
        assert not np.array_equal(cell, nucleus)  # brightness and noise are their own
        assert np.corrcoef(cell.ravel(), nucleus.ravel())[0, 1] > 0.8


# -- early stopping ---------------------------------------------------------------------------


def test_the_best_epoch_is_kept(bright: Path, tmp_path: Path) -> None:
    """A rate that destroys what the file has learnt: epoch 0 is the best."""
    output = tmp_path / "kept.pth"
    trainer = start(bright, epochs=9, steps=4, crop=48, rate=0.3, patience=2)
    lines: list[str] = []
    fit(trainer, [item(0)], [item(50), item(51)], output, report=lines.append)
    assert trainer.history[0]["ap50"] > 0.6
    assert (trainer.kept_epoch, trainer.epoch, len(lines)) == (0, 2, 3)
    kept, init = weights(output), weights(bright)
    kept.pop("diam_labels"), init.pop("diam_labels")
    assert equal(kept, init)
    assert not output.with_suffix(".checkpoint").exists()


def run_with_patience(
    bright: Path, output: Path, *, stop: int | None = None, resume: bool = False
) -> tuple[Trainer, dict[int, State]]:
    """Train for dark discs, from epoch 4 on for the opposite; returns the weights at each epoch."""
    options = {"epochs": 12, "steps": 8, "batch": 2, "crop": 32, "rate": 6e-3, "patience": 2}
    trainer = start(bright, **options, resume=resume)
    prepare(trainer, output, resume=resume, overwrite=False)
    dark = [item(n, dark=True) for n in range(3)]
    seen: dict[int, State] = {}

    def spoil() -> None:
        for one in dark:
            one.target[:2] *= -1
            one.target[2] = 1 - one.target[2]

    def report(line: str) -> None:
        if trainer.epoch == stop:
            raise KeyboardInterrupt
        state = trainer.network.state_dict()
        seen[trainer.epoch] = {name: value.clone() for name, value in state.items()}
        if trainer.epoch == 4:
            spoil()

    if trainer.epoch >= 4:
        spoil()
    fit(trainer, dark, [item(50, dark=True)], output, report=report)
    return trainer, seen


def test_patience_and_resume(bright: Path, tmp_path: Path) -> None:
    """The output is the best epoch's weights, however often the training was interrupted."""
    whole, seen = run_with_patience(bright, tmp_path / "whole.pth")
    scores = [(line["ap50"], -line["held_out_loss"]) for line in whole.history]
    assert whole.kept_epoch == scores.index(max(scores))
    assert 0 < whole.kept_epoch == whole.epoch - 2 < 10  # in the middle, and it did stop early
    assert equal(weights(tmp_path / "whole.pth"), seen[whole.kept_epoch])
    broken = tmp_path / "broken.pth"
    for stop in (whole.kept_epoch, whole.epoch):
        with pytest.raises(KeyboardInterrupt):
            run_with_patience(bright, broken, stop=stop, resume=stop == whole.epoch)
    again, _ = run_with_patience(bright, broken, resume=True)
    assert (again.kept_epoch, again.epoch) == (whole.kept_epoch, whole.epoch)
    assert equal(weights(broken), weights(tmp_path / "whole.pth"))
    assert equal(again.network.state_dict(), whole.network.state_dict())


def test_patience_needs_something_held_out(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no images are held out, so the best epoch cannot be determined"
    ):
        fit(Trainer(replace(SMALL, patience=1)), [item(0)], [], tmp_path / "o.pth", report=print)


def test_equal_scores_are_told_apart_by_the_loss() -> None:
    trainer = Trainer(replace(SMALL, patience=2))
    for epoch, (score, loss) in enumerate([(0.0, 3.0), (0.0, 2.0), (0.5, 9.0), (0.5, 9.0)], 1):
        trainer.epoch = epoch
        trainer.record({"epoch": epoch, "ap50": score, "held_out_loss": loss})
        assert trainer.kept_epoch == min(epoch, 3)
    assert not trainer.finished
    trainer.epoch = 5
    assert trainer.finished


# -- picture ----------------------------------------------------------------------------------


def test_curve(tmp_path: Path) -> None:
    """Four lines where all was measured; two fewer where nothing was held out."""
    full = [
        {"epoch": e, "loss": 1 / e, "held_out_loss": 1.2 / e, "ap50": 0.2 * e, "ap75": 0.1 * e}
        for e in (1, 2, 3)
    ]
    plain = [{"epoch": line["epoch"], "loss": line["loss"]} for line in full]
    shades = []
    for name, history in (("full", full), ("plain", plain)):
        path = curve_of(tmp_path / f"{name}.pth")
        draw_curve(history, path)
        picture = cv2.imread(str(path))
        assert picture is not None and picture.shape[1] > 2 * picture.shape[0]
        halves = np.array_split(picture.reshape(*picture.shape).astype(int), 2, axis=1)
        # Saturated pixels are those of lines: text and grid are grey.
        shades.append([int((np.ptp(half, axis=2) > 100).sum()) for half in halves])
    (losses, scores), (loss, none) = shades
    assert losses > 1.3 * loss > 0 and scores > 0 and none == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full.png", "plain.png"]


# -- command ----------------------------------------------------------------------------------


def test_command_fine_tunes(tmp_path: Path) -> None:
    init = save(random_unet(diameter=19.5).state_dict(), tmp_path / "lab")
    cells, output = write_cells(tmp_path / "cells"), tmp_path / "tuned.pth"
    given = [str(cells), "--init", str(init), "--output", str(output), "--channels", "2,1"]
    given += ["--epochs", "2", "--steps", "1", "--batch", "1", "--crop", "32", "--seed", "3"]
    given += ["--holdout-every", "2", "--patience", "1", "--data-licence", "CC0-1.0"]
    done = CliRunner().invoke(command, [*given, "--licence", "MIT"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 items to train on, 2 held out" in done.output and "epoch 0  held_out" in done.output
    card = output.with_suffix(".md").read_text()
    assert "license: MIT" in card and identify(init).digest in card
    assert "| cells | 2 | 2 | 2 | CC0-1.0 |" in card and "(tuned.png)" in card
    assert "The file holds the weights of epoch" in card and "seed 3" in card
    assert "channels (2, 1)" in card and output.with_suffix(".png").exists()
    assert identify(output).channels == 2
    given[given.index("2,1")] = "1"
    with pytest.raises(InputError, match="the file to start from cannot be the output"):
        CliRunner().invoke(command, [*given, "--init", str(output)], catch_exceptions=False)
