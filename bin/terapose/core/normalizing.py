"""The modes of ``normalize``: what each measures, and which parameters go with it.

What they do is in `terapose.intermediates.normalizing`, a module for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Measured = Literal["", "image", "planes", "tiles"]


@dataclass(frozen=True)
class Normalization:
    """One mode.

    Attributes
    ----------
    measures
        What it finds low and high intensities of: the whole image, each plane, or tiles of planes;
        "": nothing, they are known.
    takes
        Parameters that matter with it.
    """

    measures: Measured
    takes: tuple[str, ...] = ()


_COUNTING = ("percentiles", "percentile_sampling", "foreground_min", "invert")
NORMALIZATIONS = {
    "global": Normalization("image", _COUNTING),
    "plane": Normalization("planes", _COUNTING),
    "tile": Normalization("tiles", ("percentiles", "normalize_tile", "invert")),
    "none": Normalization(""),
    "lowhigh": Normalization("", ("lowhigh", "invert")),
}


def with_parameter(name: str) -> str:
    """The modes with which a parameter matters, for a sentence."""
    modes = [repr(mode) for mode, described in NORMALIZATIONS.items() if name in described.takes]
    *first, last = modes
    return f"{', '.join(first)} or {last}" if first else last


def limits_of(lowhigh: Sequence[float], n: int) -> tuple[float, float]:
    """The low and high that were given for the ``n``-th channel: one pair for all, or a pair each.

    Parameters
    ----------
    lowhigh
        The value of the parameter.
    n
        From 0, among the channels in use.
    """
    first = 2 * n % len(lowhigh)
    return lowhigh[first], lowhigh[first + 1]
