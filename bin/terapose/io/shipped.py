"""Files that come with Terapose."""

from __future__ import annotations

from pathlib import Path

SHIPPED = ("nuclei-large", "nuclei-small")
"""Networks that come with Terapose; the first of them is what ``auto`` means."""


def shipped_file(name: str) -> Path:
    """Path of a file in `assets`, beside the package in a checkout, inside it where installed."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parents[1] / "assets" / name
    return beside if beside.is_file() else package / "assets" / name
