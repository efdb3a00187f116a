"""Which stage runs again first when a parameter is changed: a column of docs/parameters.md.

It follows from the graph: from the parameters that each stage takes, the modes in which it has
work, and what decides whether it runs.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any, ClassVar

from terapose.core.params import Parameters
from terapose.pipeline.graph import EVERY, PARAMETERS, WHOLE
from terapose.pipeline.job import shaping
from terapose.pipeline.stage import MODES, Stage

MCMICRO = ("mask_tiff", "upscale")
"""Parameters that `publish_layout` `mcmicro` sets (`run_parameters` in modules/sources.nf)."""
_FETCHED = ("model", "model_digest")
"""What the command of **fetch** is given; it takes no options of the same names."""
_STAGES = [stage for stage in EVERY if stage is not WHOLE]
"""Those with work of their own."""
_ORDER = [stage.command for stage in _STAGES]


def rerun(name: str) -> str:
    """The first stage that another value of a parameter of a segmentation runs again.

    Parameters
    ----------
    name
        One of `Parameters`.

    Returns
    -------
    str
        The command of the stage, and those of other modes, and of an earlier stage that the
        parameter switches on or off; or "nothing".
    """
    if name in _FETCHED:
        return "fetch"
    if not shaping({name: None}) and name not in PARAMETERS["plan"]:
        return "nothing"
    firsts = Counter(found for mode in MODES if (found := _taken_by(name, mode)))
    (usual, _), *others = firsts.most_common()
    parts = [usual]
    for stage, _ in others:
        modes = " and ".join(mode for mode in MODES if _taken_by(name, mode) == stage)
        parts.append(f"{stage} in mode {modes}")
    switched = next((s.command for s in _STAGES if name in deciding(s)), usual)
    if _ORDER.index(switched) < min(map(_ORDER.index, firsts)):
        parts.append(f"{switched} if it is switched on or off")
    return "; ".join(parts)


def of_layout() -> str:
    """The first stage that another `publish_layout` runs again."""
    return min(map(rerun, MCMICRO), key=_ORDER.index)


def _taken_by(name: str, mode: str) -> str | None:
    """The first stage with work in a mode that takes a parameter."""
    return next(
        (s.command for s in _STAGES if mode in s.modes and name in PARAMETERS.get(s.command, ())),
        None,
    )


class _Watched(Parameters):
    """Parameters that note which of them are read, also by their own properties."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        """The attribute."""
        if name in Parameters.model_fields:
            _Watched.read.add(name)
        return super().__getattribute__(name)


_DEFAULTS = _Watched.model_validate({})
"""They ask for the least, so where any of several parameters asks for a stage, all are read."""


@cache
def deciding(stage: Stage) -> frozenset[str]:
    """Names of the parameters that decide whether a stage runs: those that `Stage.asked` reads."""
    _Watched.read.clear()
    for mode in stage.modes:
        stage.asked(mode, _DEFAULTS)
    return frozenset(_Watched.read)
