"""What Neuroglancer shows: its state, with `BASE` for the address of the site.

Layers, from below: a layer for each channel, added up; the cells, coloured by a column; outlines.
Up to `MOST_COLORS` cells have their colours in the state, so that cells which are filtered keep
them. Of more cells the colours are a volume of values, made chunk by chunk and coloured by a
shader, so that neither the state nor the browser grows with the number of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from terapose.apps.view import colors
from terapose.apps.view.derived import MISSING, OPACITY, OPAQUE, SECTIONS
from terapose.apps.view.results import Results
from terapose.apps.view.table import Column
from terapose.io.images.model import Image

BASE = "{base}"
"""In the addresses of a state: that of the site, with a slash at its end."""
MOST_COLORS = 2000
"""A state is part of an address, which browsers cut off somewhere beyond a million characters."""
_WINDOW = (8, 384, 384)
"""(Z, Y, X) around the first position, of which the contrast is taken."""
_CONTRAST = (1, 99.8)
_VIEW = 700
"""Pixels of the screen that an image is shown in at first, about."""

_OUTLINES = f"""#uicontrol vec3 color color(default="#ffffff")
void main() {{
  // the section that is looked at is across the axis along which no step to a neighbour leads
  highp vec3 across = abs(cross(dFdx(vChunkPosition), dFdy(vChunkPosition)));
  uint section = {SECTIONS[0]}u;
  if (across.y > max(across.x, across.z)) section = {SECTIONS[1]}u;
  if (across.x > max(across.y, across.z)) section = {SECTIONS[2]}u;
  uint value = toRaw(getDataValue());
  float opacity = float(value >> {OPACITY}u) / {float(OPAQUE)};
  emitRGBA(vec4(color, (value & section) == 0u ? 0.0 : opacity));
}}
"""
"""Draws the outlines of `terapose.apps.view.derived.Outlines`, in each section its own."""


@dataclass(frozen=True)
class Channel:
    """A channel of the image as a layer.

    Attributes
    ----------
    number
        From 1.
    source
        Path of the data in the site.
    version
        Of Zarr.
    index
        Its index along the channel axis of the source; None if that has none.
    """

    number: int
    source: str
    version: int
    index: int | None


def state_of(
    results: Results,
    channels: Sequence[Channel],
    center: tuple[float, float, float],
    column: Column | None,
    properties: bool,
    version: int,
) -> dict[str, Any]:
    """Neuroglancer's state.

    Parameters
    ----------
    results
        What is looked at.
    channels
        Of the image.
    center
        (z, y, x) voxel of the label image to begin with.
    column
        Values to colour by; None: each cell has another colour.
    properties
        Whether the site has the table as segment properties.
    version
        Of Zarr, of the label images.
    """
    level, names = results.levels[0], "zyx"[-results.dimensions :]
    length = 1e-6 if results.unit else 1.0
    unit = "m" if results.unit else ""
    places = zip("zyx", center, level.origin, level.scale, strict=True)
    position = {axis: place + origin / scale for axis, place, origin, scale in places}
    steps = dict(zip("zyx", level.scale, strict=True))
    first, *others = results.labels
    finest = min(steps[name] for name in names)
    widest = max(n * steps[a] for a, n in zip("zyx", results.shape, strict=True) if a in names)
    return {
        "dimensions": {name: [steps[name] * length, unit] for name in reversed(names)},
        "position": [position[name] for name in reversed(names)],
        "crossSectionScale": max(0.25, min(widest / finest / _VIEW, 1.0)),
        "projectionScale": widest / finest * 1.5,
        "layers": [
            *_channels(results, channels, center),
            *_cells(first, column, properties, version),
            *(_labels(name, version) | {"visible": False} for name in others),
            _outlines(),
        ],
        "layout": "4panel" if results.shape[0] > 1 else "xy",
    }


def _channels(
    results: Results, channels: Sequence[Channel], center: tuple[float, float, float]
) -> list[dict[str, Any]]:
    given = [results.images[0].channel_names[one.number - 1] for one in channels]
    names = _unique(given, {*results.labels, "outlines", "values"})
    palette = colors.CHANNELS if len(results.channels) > 1 else colors.CHANNELS[:1]
    layers = []
    for place, (name, channel) in enumerate(zip(names, channels, strict=True)):
        layer: dict[str, Any] = {
            "type": "image",
            "name": name,
            "source": _zarr(channel.source, channel.version),
            "blend": "additive",
            "opacity": 1,
            "shader": "#uicontrol invlerp contrast\n"
            '#uicontrol vec3 color color(default="#ffffff")\n'
            "void main() { emitRGB(color * contrast()); }\n",
            "shaderControls": {"color": palette[place % len(palette)]},
            "visible": channel.number in results.channels,
        }
        if channel.number in results.channels:
            layer["shaderControls"]["contrast"] = {
                "range": _contrast(results, channel.number, center)
            }
        if channel.index is not None:
            layer |= {"localDimensions": {"c'": [1, ""]}, "localPosition": [channel.index]}
        layers.append(layer)
    return layers


def _unique(names: Sequence[str], taken: set[str]) -> list[str]:
    """Names of layers: no two are the same, and none is that of another layer."""
    found: list[str] = []
    for name in names:
        shown, number = name, 1
        while shown in taken:
            number += 1
            shown = f"{name} {number}"
        taken = {*taken, shown}
        found.append(shown)
    return found


def _contrast(results: Results, channel: int, center: tuple[float, float, float]) -> list[float]:
    """Ends of the contrast, of the voxels around a place."""
    image = next(i for i in results.images if i.level == results.own.level)
    at = _in_image(results, image, center)
    region = []
    for place, size, length in zip(at, _WINDOW, image.shape, strict=True):
        start = min(max(place - size // 2, 0), max(length - size, 0))
        region.append(slice(start, min(start + size, length)))
    z, y, x = region
    voxels = image.read((z, y, x), channel).astype(np.float32)
    real = voxels[np.isfinite(voxels)]
    low, high = np.percentile(real, _CONTRAST) if real.size else (0.0, 1.0)
    return [float(low), float(high) if high > low else float(low) + 1.0]


def _in_image(
    results: Results, image: Image, center: tuple[float, float, float]
) -> tuple[int, ...]:
    """The voxel of the finest level that a voxel of the labels is at."""
    labels = results.levels[0]
    size = image.voxel_size if results.unit else image.factors
    scales = size or image.factors
    parts = zip(center, labels.scale, labels.origin, scales, image.origin, strict=True)
    return tuple(round((c * s + o - p) / t) for c, s, o, t, p in parts)


def _labels(name: str, version: int) -> dict[str, Any]:
    return {"type": "segmentation", "name": name, "source": [_zarr(f"data/{name}", version)]}


def _cells(
    name: str, column: Column | None, properties: bool, version: int
) -> list[dict[str, Any]]:
    """The layer of cells, and that of values if there are more than a state has colours for."""
    layer = _labels(name, version) | {"selectedAlpha": 0.5, "notSelectedAlpha": 0.1}
    if properties:
        layer["source"].append(f"precomputed://{BASE}data/table/")
    if column is None:
        return [layer]
    number = len(column.values) - 1
    if number <= MOST_COLORS:
        shades = colors.of_values(column.values[1:], column.low, column.high, MISSING)
        return [layer | {"segmentColors": {str(n): c for n, c in enumerate(shades, 1)}}]
    values = {
        "type": "image",
        "name": "values",
        "source": _zarr("data/values", 3),
        "shader": colors.shader(MISSING, column.low, column.high),
        "opacity": 0.6,
    }
    return [layer | {"visible": False}, values]


def _outlines() -> dict[str, Any]:
    return {
        "type": "image",
        "name": "outlines",
        "source": _zarr("data/outlines", 3),
        "shader": _OUTLINES,
        "opacity": 1,
    }


def _zarr(path: str, version: int) -> str:
    return f"zarr{version}://{BASE}{path}/"


def resolved(state: Mapping[str, Any], base: str) -> dict[str, Any]:
    """A state with the address of the site."""

    def put(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: put(value) for key, value in part.items()}
        if isinstance(part, list):
            return [put(value) for value in part]
        return part.replace(BASE, base) if isinstance(part, str) else part

    found: dict[str, Any] = put(dict(state))
    return found
