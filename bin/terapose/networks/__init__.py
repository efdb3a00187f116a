"""Networks: load a weight file, run tiles.

``load`` and ``identify`` take a local file, ``load_all`` and ``identify_all`` several whose outputs
are averaged; :mod:`terapose.networks.ensemble` turns what a user calls a model into files. What
needs torch is imported when it is first asked for, so that stages that only look a file up do
without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terapose.networks.base import Network
    from terapose.networks.ensemble import identify_all
    from terapose.networks.files import ModelInfo, identify
    from terapose.networks.loading import load, load_all

__all__ = ["ModelInfo", "Network", "identify", "identify_all", "load", "load_all"]

_HOMES = {
    "Network": "base",
    "ModelInfo": "files",
    "identify": "files",
    "identify_all": "ensemble",
    "load": "loading",
    "load_all": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
