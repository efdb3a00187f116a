"""The model card: what a weight file was trained on, how, and how well it does."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from terapose import __version__
from terapose.networks.weights import sha256
from terapose.train.loop import Settings


def write_card(
    weights: Path,
    *,
    settings: Settings,
    sources: Sequence[dict[str, str | int]],
    history: Sequence[dict[str, float]],
    command: str,
    licence: str,
) -> Path:
    """Write the card of a weight file beside it, as Markdown with the licence in its front matter.

    Parameters
    ----------
    weights
        The trained file; the card has its name and ends in ``.md``.
    settings, sources, history
        Of the training.
    command
        The command line that repeats it.
    licence
        Of the weights.

    Returns
    -------
    path
        The card.
    """
    seconds = sum(line["seconds"] for line in history)
    lines = [
        "---",
        f"license: {licence}",
        "---",
        f"# {weights.stem}",
        "",
        "A residual U-Net with a style vector (architecture and weight names of Cellpose 1 to 3), "
        f"one input channel, for objects scaled to {settings.diameter:g} pixels.",
        "",
        f"- SHA-256: `{sha256(weights)}`",
        f"- Trained with Terapose {__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {seconds / 60:.0f} minutes on a CPU",
        f"- Command: `{command}`",
        "- Settings: " + ", ".join(f"{name} {value}" for name, value in asdict(settings).items()),
        "",
        "## Data",
        "",
        *_table(sources),
        "",
        "## Scores on what was held out",
        "",
        *_table([{name: f"{value:.4g}" for name, value in history[-1].items()}]),
        "",
    ]
    card = weights.with_suffix(".md")
    card.write_text("\n".join(lines), encoding="utf-8")
    return card


def _table(rows: Sequence[dict[str, str | int]] | Sequence[dict[str, str]]) -> list[str]:
    """Markdown table of rows with the same keys."""
    names = list(rows[0])
    body = ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *body]
