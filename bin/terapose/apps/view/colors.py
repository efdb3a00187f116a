"""Colours of values: viridis, whose steps look equally large, also to people who see two colours.

A browser gets them as a table of so few colours that no one sees the steps between them, which are
mixed; so colours of cells in a state and those that a shader makes are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = 17
_GREY = (0.55, 0.55, 0.55)
"""Of cells without a value."""
CHANNELS = ("#ffffff", "#ff40ff", "#40ff40", "#40c0ff", "#ffc040", "#ff4040")
"""Of channels, in the order in which they are listed."""


def _map() -> NDArray[np.float64]:
    """(steps, 3) colours from 0 to 1."""
    from matplotlib import colormaps

    found: NDArray[np.float64] = colormaps["viridis"](np.linspace(0, 1, _STEPS))[:, :3]
    return found


def of_values(values: NDArray[np.float32], low: float, high: float, none: float) -> list[str]:
    """Colour of each value as ``#rrggbb``; what is not above ``none`` is grey.

    Parameters
    ----------
    values
        (N,).
    low, high
        Ends of the colours; values beyond them have the colours of the ends.
    none
        What is written for no value.
    """
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * (_STEPS - 1)
    table = _map()
    mixed = np.stack([np.interp(share, np.arange(_STEPS), table[:, n]) for n in range(3)], 1)
    mixed[values <= none] = _GREY
    return ["#" + bytes(row).hex() for row in np.rint(mixed * 255).astype(np.uint8)]


def shader(none: float, low: float, high: float) -> str:
    """Shader that gives voxels of values the same colours; below ``none`` there is nothing.

    Parameters
    ----------
    none
        What is written for no value; the background is below it.
    low, high
        Ends of the colours, which the viewer lets people move.
    """
    stops = ", ".join(f"vec3({r:.4f}, {g:.4f}, {b:.4f})" for r, g, b in _map())
    r, g, b = _GREY
    return f"""#uicontrol invlerp colors(range=[{low!r}, {high!r}], clamp=true)
const vec3 viridis[{_STEPS}] = vec3[{_STEPS}]({stops});
void main() {{
  float value = toRaw(getDataValue());
  if (value < {1.5 * none!r}) {{ emitTransparent(); return; }}
  if (value <= {none / 2!r}) {{ emitRGB(vec3({r}, {g}, {b})); return; }}
  float share = colors() * {_STEPS - 1}.0;
  int step = min(int(share), {_STEPS - 2});
  emitRGB(mix(viridis[step], viridis[step + 1], share - float(step)));
}}
"""
