"""Fine-tuning of a network of Cellpose 4, by the ``cellpose`` package's own training.

1. Items are read and normalised as for a U-Net; up to three channels, those that are lacking zero.
2. ``cellpose.train.train_seg`` draws, turns and scales the crops and trains with AdamW, in float32.
   Every data folder is drawn equally often; images keep their own scale, that package's default.
3. That package scores no masks and stops at the last epoch: average precision is computed before
   and after.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from terapose.apps.train.data import Item
from terapose.apps.train.diverged import check_held_out, check_weights, diverged
from terapose.apps.train.saving import remove_beside, saved_by_torch
from terapose.apps.train.score import SCORED, average_precision, sample
from terapose.io import files
from terapose.io.homes import some_home

CHANNELS = 3
_NAME = "trained"


@dataclass(frozen=True)
class Recipe:
    """What shapes a fine-tuning of Cellpose 4.

    Attributes
    ----------
    epochs, steps
        Number of epochs and of batches in each.
    batch
        Crops per batch, of the network's own size.
    rate, decay
        Learning rate and weight decay of AdamW; the rate rises from zero, that of the
        first epoch, over ten of them.
    seed
        Of the layers that are skipped at random; the crops of an epoch depend on its number alone.
    channels
        Channels of the images that are used; () for all they have.
    init
        SHA-256 of the weight file to start from.
    """

    epochs: int = 40
    steps: int = 100
    batch: int = 1
    rate: float = 1e-5
    decay: float = 0.1
    seed: int = 0
    channels: tuple[int, ...] = ()
    init: str = ""


def arguments(
    training: Sequence[Item], held_out: Sequence[Item], recipe: Recipe, *, scored: int = SCORED
) -> dict[str, Any]:
    """Arguments of ``cellpose.train.train_seg``, but for the network and where to save.

    Parameters
    ----------
    training, held_out
        Items to learn from and to validate on.
    recipe
        See :class:`Recipe`.
    scored
        Number of held-out images for the validation loss.
    """
    counts = Counter(item.source for item in training)
    weights = np.array([1.0 / counts[item.source] for item in training])
    tested = sample(held_out, scored)
    return {
        "train_data": [_image(item) for item in training],
        "train_labels": [_labels(item) for item in training],
        "train_probs": weights / weights.sum(),
        "test_data": [_image(item) for item in tested] or None,
        "test_labels": [_labels(item) for item in tested] or None,
        "channel_axis": 0,
        # A dictionary, because a plain False would change the package's defaults for good.
        "normalize": {"normalize": False},
        "batch_size": recipe.batch,
        "learning_rate": recipe.rate,
        "weight_decay": recipe.decay,
        "n_epochs": recipe.epochs,
        "nimg_per_epoch": recipe.steps * recipe.batch,
        "min_train_masks": 0,
        "rescale": False,
        "save_every": recipe.epochs,
    }


def _image(item: Item) -> NDArray[np.float32]:
    """Shape (3, Y, X); channels that the item lacks are zero."""
    image = np.zeros((CHANNELS, *item.labels.shape), np.float32)
    image[: len(item.image)] = item.image
    return image


def _labels(item: Item) -> NDArray[np.float32]:
    """Labels, object mask, Y flow, X flow: what the package makes of labels, shape (4, Y, X)."""
    flows_y, flows_x, inside = item.target
    return np.stack([item.labels.astype(np.float32), inside, flows_y, flows_x])


def finetune(
    network: nn.Module,
    training: Sequence[Item],
    held_out: Sequence[Item],
    output: Path,
    recipe: Recipe,
    *,
    report: Callable[[str], None],
    scored: int = SCORED,
) -> list[dict[str, float]]:
    """Train a network of the ``cellpose`` package and write its weights.

    Parameters
    ----------
    network
        With the package's ``BaseModel`` as its base; it is changed.
    training, held_out
        Items to learn from and to validate on; without the latter no scores are made.
    output
        Weight file to write, as the package itself writes it; what an earlier training left beside
        it is removed then.
    recipe
        See :class:`Recipe`.
    report
        Called with the package's lines of progress, and the scores before and after.
    scored
        Number of whole held-out images to score.

    Returns
    -------
    history
        Losses of each epoch, and the scores before the first and after the last.

    Raises
    ------
    InputError
        The training has diverged.
    """
    with some_home():
        from cellpose.train import train_seg

    start = time.perf_counter()
    chosen = sample(held_out, scored)
    history: list[dict[str, float]] = [{"epoch": 0}]
    _score(network, chosen, history[0], report)
    torch.manual_seed(recipe.seed)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder, _Reports(report):
        given = arguments(training, held_out, recipe, scored=scored)
        with saved_by_torch(output.parent):
            file, losses, tested = train_seg(network, **given, save_path=folder, model_name=_NAME)
        if not np.isfinite(losses).all():
            raise diverged(f"epoch {int(np.argmin(np.isfinite(losses))) + 1}", f"loss {losses[-1]}")
        check_weights([network], recipe.epochs * recipe.steps - 1)
        check_held_out(float(np.max(tested)), recipe.epochs)  # zero where it was not computed
        files.put_in_place(Path(file), output)
        remove_beside(output)
    history += _lines(losses, tested)
    _score(network, chosen, history[-1], report)
    history[-1]["seconds"] = time.perf_counter() - start
    return history


def _lines(losses: NDArray[Any], tested: NDArray[Any]) -> Iterator[dict[str, float]]:
    """The losses of each epoch."""
    for epoch, (loss, test) in enumerate(zip(losses.tolist(), tested.tolist(), strict=True), 1):
        line = {"epoch": epoch, "loss": loss}
        if test:  # the package computes it now and then
            line["held_out_loss"] = test
        yield line


def _score(
    network: nn.Module,
    items: Sequence[Item],
    line: dict[str, float],
    report: Callable[[str], None],
) -> None:
    if items:
        line["ap50"], line["ap75"] = average_precision(network, items)
        report("  ".join(f"{key} {value:.4g}" for key, value in line.items()))


class _Reports(logging.Handler):
    """Passes on the lines that the package's training logs, while it is entered."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._report = report
        self._logger = logging.getLogger("cellpose.train")

    def emit(self, record: logging.LogRecord) -> None:
        self._report(record.getMessage())

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
