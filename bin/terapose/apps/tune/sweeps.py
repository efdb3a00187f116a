"""Values of parameters that are tried, one parameter after the other.

1. The order is that of the stages: a parameter comes before those whose stages run later, so what
   was computed for one value is reused for all later parameters.
2. Each parameter is varied alone; the others keep the values of the *start*, or, where a reference
   says which value was best, the best of the parameters before it.
3. The value of the start is always one of those that are tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terapose.core.errors import InputError
from terapose.core.near import did_you_mean
from terapose.core.params import Parameters, check
from terapose.core.thresholds import flow_threshold

SWEPT = ("diameter", "flow3d_smooth", "cellprob_threshold", "flow_threshold", "min_size")
"""Parameters that can be tried, in their order; only the first runs the network again."""
_MOST = 24
"""Values of one parameter: a sheet of more cannot be compared by eye."""


@dataclass(frozen=True)
class Sweep:
    """The values of a parameter that are tried, in rising order."""

    name: str
    values: tuple[float, ...]


def as_given(name: str, value: float) -> object:
    """A value as the parameter has it: smoothing is a list, a size a whole number."""
    if name == "flow3d_smooth":
        return (value,)
    return int(value) if name == "min_size" else value


def starting(params: Parameters, mode: str, own_diameter: float) -> dict[str, float]:
    """The values that parameters have without a sweep, as numbers.

    Parameters
    ----------
    params
        All parameters.
    mode
        Of the image: 2d, 3d or stitch.
    own_diameter
        That of the network, in pixels.

    Raises
    ------
    InputError
        If flows are smoothed differently along the axes, which is no single number.
    """
    smooth = set(params.flow3d_smooth)
    if len(smooth) > 1:
        raise InputError(
            "is varied as one number for all axes",
            where="flow3d_smooth",
            got=list(params.flow3d_smooth),
            allowed="one number",
        )
    return {
        "diameter": params.diameter or own_diameter,
        "flow3d_smooth": smooth.pop(),
        "cellprob_threshold": params.cellprob_threshold,
        "flow_threshold": flow_threshold(mode, params.flow_threshold) or 0.0,
        "min_size": float(max(params.min_size, 0)),
    }


def sweeps_of(
    texts: Sequence[str], start: Mapping[str, float], mode: str, anisotropy: float = 1.0
) -> list[Sweep]:
    """The sweeps that were asked for, or those that suit a mode where none was.

    Parameters
    ----------
    texts
        As ``cellprob_threshold=-1,0,1``, one for each parameter.
    start
        From `starting`.
    mode
        Of the image.
    anisotropy
        Z step over pixel size; only mode 3d asks for it.

    Raises
    ------
    InputError
        If a parameter cannot be tried, or has no such value.
    """
    asked: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, values = _parsed(text)
        if name in asked:
            raise InputError("is given twice", where="sweep", got=name)
        if name == "flow3d_smooth" and mode != "3d":
            raise InputError(
                "flows are smoothed in mode 3d only",
                where="sweep",
                got=text,
                remedy=f"leave it out: the mode of this image is {mode}",
            )
        asked[name] = values
    chosen = asked or _usual(start, mode, anisotropy)
    return [
        Sweep(name, tuple(sorted({*chosen[name], start[name]}))) for name in SWEPT if name in chosen
    ]


def _parsed(text: str) -> tuple[str, tuple[float, ...]]:
    """A sweep as it was given."""
    name, _, rest = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in SWEPT:
        near = did_you_mean(name, SWEPT)
        raise InputError(
            "is not a parameter that can be tried" + (f" ({near})" if near else ""),
            where="sweep",
            got=text,
            allowed=f"NAME=VALUE,VALUE,... with one of {', '.join(SWEPT)}",
        )
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    if not 1 <= len(parts) <= _MOST:
        raise InputError(
            "has too many values" if parts else "has no values",
            where="sweep",
            got=text,
            allowed=f"1 to {_MOST} numbers with commas between them",
        )
    values = [getattr(check({name: part}, "sweep"), name) for part in parts]
    return name, tuple(float(v[0] if isinstance(v, tuple) else v) for v in values)


def _usual(
    start: Mapping[str, float], mode: str, anisotropy: float
) -> dict[str, tuple[float, ...]]:
    """What is tried if nothing was asked for."""
    diameter, threshold = start["diameter"], start["cellprob_threshold"]
    flat = mode != "3d"
    size = math.pi / 4 * diameter**2 if flat else math.pi / 6 * diameter**3 / anisotropy
    sizes = {0.0, start["min_size"], *(float(round(size * share)) for share in (0.02, 0.05, 0.1))}
    usual: dict[str, tuple[float, ...]] = {
        "diameter": tuple(float(f"{diameter * factor:.2g}") for factor in (0.7, 1.4)),
        "cellprob_threshold": tuple(threshold + step for step in (-2.0, -1.0, 1.0, 2.0)),
        "flow_threshold": (0.0, 0.2, 0.4, 0.6, 0.8) if flat else (0.0, 0.4, 0.8),
        "min_size": tuple(sizes),
    }
    return usual if flat else {**usual, "flow3d_smooth": (0.0, 1.0, 2.0)}


def changed(params: Parameters, values: Mapping[str, float], start: Mapping[str, float]) -> Any:
    """Parameters with values that differ from those of the start."""
    update = {n: as_given(n, v) for n, v in values.items() if v != start[n]}
    return params.model_copy(update=update)
