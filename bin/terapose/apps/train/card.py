"""The model card: what a weight file was trained on, how, and how well it does."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from terapose.apps.train.cellpose4 import Recipe
from terapose.apps.train.curve import curve_of
from terapose.apps.train.settings import Settings
from terapose.apps.train.start import Trained
from terapose.core.version import __version__
from terapose.io.files import write_text
from terapose.networks.files import identify
from terapose.networks.weights import beside

_KINDS = {
    "unet": "A U-Net (architecture and weight names of Cellpose 1 to 3)",
    "cellpose4": "A network of Cellpose 4",
}
"""Families that can be trained (`terapose.apps.train.start`), as the card describes them."""


def write_card(
    weights: Path,
    *,
    settings: Settings | Recipe,
    sources: Sequence[dict[str, str | int]],
    trained: Trained,
    licence: str,
) -> Path:
    """Write the card of a weight file beside it, as Markdown with the licence in its front matter.

    Parameters
    ----------
    weights
        The trained file; the card has its name and ends in ``.md``.
    settings, sources
        Of the training.
    trained
        What came of it.
    licence
        Of the weights.

    Returns
    -------
    path
        The card.
    """
    info = identify(weights)
    lines = [
        "---",
        f"license: {licence}",
        "---",
        f"# {beside(weights, '').name}",
        "",
        f"{_KINDS[info.family]}, {_channels(info.channels)}, for "
        f"objects of {info.diam_mean:g} pixels.",
        "",
        f"- SHA-256: `{info.digest}`",
        _trained(settings, trained.history),
        f"- Command: `{trained.command}`",
        "- Settings: " + ", ".join(f"{name} {value}" for name, value in asdict(settings).items()),
        "",
        "## Data",
        "",
        *_table(sources),
        "",
        "## Scores on held-out images",
        "",
        _about(settings, trained),
        "",
        *_table([_short(line) for line in _shown(trained.history, trained.kept)]),
        "",
        f"![Losses and average precision by epoch]({curve_of(weights).name})",
        "",
    ]
    card = beside(weights, ".md")
    write_text(card, "\n".join(lines), "card")
    return card


def _trained(settings: Settings | Recipe, history: Sequence[dict[str, float]]) -> str:
    """With what it was trained, for how long, and from which weights."""
    minutes = sum(line.get("seconds", 0.0) for line in history) / 60
    start = f", from the weights with SHA-256 `{settings.init}`" if settings.init else ""
    return (
        f"- Trained with Terapose {__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {minutes:.0f} min{start}"
    )


def _about(settings: Settings | Recipe, trained: Trained) -> str:
    """What the scores are, and how they should be read."""
    text = f"The file holds the weights of epoch {trained.kept}."
    if not trained.scored:
        return f"{text} Nothing was held out: there are no scores."
    scaled = isinstance(settings, Settings)
    scale = "scaled by the median diameter of the cells in its labels" if scaled else "as it is"
    text += (
        " Average precision, TP / (TP + FP + FN), at an IoU of 0.5 and 0.75, on "
        f"{trained.scored} of {trained.held_out} held-out images (of volumes: planes), each of "
        f"them whole and {scale}"
    )
    if isinstance(settings, Settings) and settings.patience:
        text += "; the epoch was chosen by the first of them, which makes them slightly optimistic"
    return text + "."


def _channels(count: int) -> str:
    return "one input channel" if count == 1 else f"{count} input channels"


def _shown(history: Sequence[dict[str, float]], kept: int) -> list[dict[str, float]]:
    """What fine-tuning started from, what was kept, and what came last."""
    shown = {0, kept, int(history[-1]["epoch"])}
    return [line for line in history if line["epoch"] in shown]


def _short(line: Mapping[str, float]) -> dict[str, str | int]:
    return {name: f"{value:.4g}" for name, value in line.items()}


def _table(rows: Sequence[Mapping[str, str | int]]) -> list[str]:
    """Markdown table of rows; what a row lacks stays empty."""
    names = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    body = ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *body]
