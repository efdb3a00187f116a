"""Terapose: cell segmentation for images too large for one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terapose.core.version import __version__

if TYPE_CHECKING:
    from terapose.api.measuring import measure
    from terapose.api.result import Result, open_result
    from terapose.api.run import run
    from terapose.api.segment import segment

__all__ = ["Result", "__version__", "measure", "open_result", "run", "segment"]


_PLACES = {
    "Result": "terapose.api.result",
    "measure": "terapose.api.measuring",
    "open_result": "terapose.api.result",
    "run": "terapose.api.run",
    "segment": "terapose.api.segment",
}


def __getattr__(name: str) -> Any:
    # imported on first use: `terapose --help` must not wait for numba
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """Names that an interactive session completes."""
    return [*globals(), *__all__]
