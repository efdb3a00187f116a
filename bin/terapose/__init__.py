"""Terapose: cell segmentation for images that fit on no single machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terapose.runner import segment

__version__ = "0.1.0"

__all__ = ["__version__", "segment"]


def __getattr__(name: str) -> Any:
    # imported on first use: `terapose --help` must not wait for numba
    if name == "segment":
        from terapose.runner import segment as function

        return function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
