"""Lengths in the units that image files use, as micrometres."""

from __future__ import annotations

import math

VoxelSize = tuple[float, float, float]

# Symbols are told apart by case ("mm", "Mm"); long names are compared in lower case.
_SYMBOLS = {
    "pm": 1e-6,
    "Å": 1e-4,
    "\u212b": 1e-4,  # the Angstrom sign, another character than the letter above
    "nm": 1e-3,
    "um": 1.0,
    "\u00b5m": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "\\u00B5m": 1.0,  # as ImageJ writes it
    # micro sign and Greek mu in bytes of another encoding: UTF-8, Shift JIS and GBK read as Latin
    "\u00c2\u00b5m": 1.0,
    "\u00ce\u00bcm": 1.0,
    "\u0192\u00cam": 1.0,
    "\u00a6\u00ccm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "in": 25400.0,
}
_STEMS = {
    "picomet": 1e-6,
    "nanomet": 1e-3,
    "micromet": 1.0,
    "millimet": 1e3,
    "centimet": 1e4,
    "decimet": 1e5,
    "met": 1e6,
}
_NAMES = {
    **{stem + end: value for stem, value in _STEMS.items() for end in ("er", "re", "ers", "res")},
    **{name: 1e-4 for name in ("angstrom", "angstroms", "ångström")},
    **{name: 1.0 for name in ("micron", "microns")},
    **{name: 25400.0 for name in ("inch", "inches")},
}


def micrometres(value: float, unit: str | None) -> float | None:
    """Convert a length to micrometres.

    Parameters
    ----------
    value
        The length.
    unit
        A symbol or an English name of a unit of length, as OME-XML, OME-Zarr or ImageJ write it.

    Returns
    -------
    float or None
        Micrometres; None where the unit is unknown ("pixel") or the length not a positive number.
    """
    if unit is None or not math.isfinite(value) or value <= 0:
        return None
    text = unit.strip()
    factor = _SYMBOLS.get(text, _NAMES.get(text.lower()))
    # A division keeps round numbers round: 230 nm is 0.23, not 0.23000000000000004.
    if factor is not None and factor < 1:
        return value / round(1 / factor)
    return None if factor is None else value * factor


def signed_micrometres(value: float, unit: str | None) -> float:
    """Convert a position; 0 where the unit is unknown."""
    return math.copysign(micrometres(abs(value), unit) or 0.0, value)


def voxel_size_of(
    z: float | None, y: float | None, x: float | None, planes: int
) -> VoxelSize | None:
    """Put three lengths together, or give None where one is missing.

    Parameters
    ----------
    z, y, x
        Micrometres or None.
    planes
        Number of planes; a single plane needs no z and takes that of y, so that it is isotropic.

    Returns
    -------
    tuple of float or None
        (z, y, x) in micrometres.
    """
    if z is None and planes == 1:
        z = y
    if z is None or y is None or x is None:
        return None
    return z, y, x
