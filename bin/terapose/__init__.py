"""Terapose: cell segmentation for images too large for one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terapose.core.version import __version__

if TYPE_CHECKING:
    from terapose.api.runner import segment

__all__ = ["__version__", "segment"]


def __getattr__(name: str) -> Any:
    # imported on first use: `terapose --help` must not wait for numba
    if name == "segment":
        from terapose.api.runner import segment as function

        return function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
