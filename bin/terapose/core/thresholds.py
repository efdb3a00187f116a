"""Thresholds whose default depends on the mode."""

from __future__ import annotations


def flow_threshold(mode: str, given: float | None) -> float:
    """Largest error of flows: as given, else Cellpose's 0.4 for planes; 0 is off."""
    return given if given is not None else 0.0 if mode == "3d" else 0.4
