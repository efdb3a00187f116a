"""A picture of a segmentation: three orthogonal sections with the outlines of the instances.

Only the three planes are read, so the picture of a volume of any size takes moments; of a large
slide only a window is shown, in which cells can be seen. Without a position to look at, small label
images are read once to find the fullest sections.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.figures import save
from terapose.core.errors import InputError
from terapose.io.images.array_like import Voxels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 1500  # pixels of a section's side; longer ones are shown with every second, third, ...
_SCAN = 1 << 27  # voxels of a label image up to which the fullest sections are looked for
_BAND = 1 << 25  # voxels of a plane read at once
_WIDTH, _DPI = 11.0, 150  # of the picture: inches, dots an inch
_TALLEST = 40.0  # inches of the sections, from the top of the first to the bottom of the last
_NARROWEST, _COLUMN = 4.0, 1.3  # inches of a narrow picture, and of its first column with a title
_GAP, _TITLE = 0.12, 0.24  # inches between panels and for a panel's title
_INK, _PAPER = "#f2f2f2", "#101014"
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class _View:
    """One section: which axis is cut, and which axes run down and to the right."""

    cut: int
    down: int
    right: int

    @property
    def name(self) -> str:
        return "".join("ZYX"[axis] for axis in sorted((self.down, self.right)))


class _Window:
    """A part of an image, as an image."""

    def __init__(self, source: Voxels, start: tuple[int, int, int]) -> None:
        self._source = source
        self._start = start
        self.shape = tuple(min(n - a, LARGEST) for n, a in zip(source.shape, start, strict=True))
        self.dtype = source.dtype

    def __getitem__(self, region: Any) -> Any:
        """Read a region."""
        moved = (slice(r.start + a, r.stop + a) for r, a in zip(region, self._start, strict=True))
        return self._source[tuple(moved)]


_VIEWS = (_View(0, 1, 2), _View(1, 0, 2), _View(2, 1, 0))


def three_views(
    image: Voxels,
    labels: Voxels,
    path: str | os.PathLike[str],
    *,
    voxel_size: tuple[float, float, float] | None = None,
    at: tuple[int, int, int] | None = None,
    reference: Voxels | None = None,
    title: str = "",
    confirm: Callable[[], None] | None = None,
) -> tuple[int, int, int]:
    """Draw sections YX, ZX and ZY with outlines, true to scale, as a PNG.

    Parameters
    ----------
    image
        (Z, Y, X), any numeric dtype; read by slices (NumPy, zarr, `array_like.Lazy`).
        Of a single plane of more than 1500 pixels along Y or X a window is shown.
    labels
        (Z, Y, X) label image of the same shape, 0 the background. Each instance has a colour.
    path
        PNG file to write.
    voxel_size
        (z, y, x) in um; without it voxels are drawn as cubes and the scale bar counts voxels.
    at
        Voxel (z, y, x) through which the sections go; without it the fullest sections of a small
        volume, the middle of a large one.
    reference
        (Z, Y, X) label image to draw beneath, in white.
    title
        Text in the free corner (a single plane: above it); lines after the first are smaller.
    confirm
        Called when all has been read, before the file is written: raises what speaks against it.

    Returns
    -------
    tuple of int
        The voxel (z, y, x) shown.

    Raises
    ------
    InputError
        If shapes differ, `at` is outside or the file cannot be written.
    """
    for name, other in (("labels", labels), ("reference", reference)):
        if other is not None and tuple(other.shape) != tuple(image.shape):
            raise InputError(
                "not the shape of the image", where=name, got=other.shape, allowed=image.shape
            )
    at = _fullest(labels) if at is None else _inside(at, image.shape)
    views = _VIEWS if image.shape[0] > 1 else _VIEWS[:1]
    seen = ""
    if len(views) == 1 and max(image.shape) > LARGEST:
        start, seen = _around(at, image.shape)
        image, labels = _Window(image, start), _Window(labels, start)
        reference = None if reference is None else _Window(reference, start)
    size = voxel_size or (1.0, 1.0, 1.0)
    extent = [n * v for n, v in zip(image.shape, size, strict=True)]
    figure, panels = _lay_out(extent, views, title)
    for view, axes, gray in zip(views, panels, _grays(image, views, at), strict=True):
        _show(axes, gray, view, image.shape, size)
        if reference is not None:
            _outline(axes, reference, view, at, size, "white")
        _outline(axes, labels, view, at, size, None)
        where = f"{'zyx'[view.cut]} = {at[view.cut]}{seen}"
        axes.set_title(f"{view.name}   {where}", color=_INK, fontsize=9, loc="left", pad=4)
        if len(views) > 1:
            _cross(axes, view, at, size)
    _scale_bar(panels[0], extent[2], "µm" if voxel_size else "voxels")
    if confirm is not None:
        confirm()
    save(figure, Path(path), dpi=_DPI, facecolor=_PAPER)
    return at


def _inside(at: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A position that was given, if it is in the image."""
    z, y, x = at
    if not all(0 <= a < n for a, n in zip((z, y, x), shape, strict=True)):
        raise InputError("outside of the image", where="at", got=at, allowed=f"below {shape}")
    return z, y, x


def _show(
    axes: Axes,
    gray: NDArray[Any],
    view: _View,
    shape: tuple[int, ...],
    size: tuple[float, float, float],
) -> None:
    """Show a section, in um: the last pixel of one that is thinned may go beyond the image."""
    pixel, samples = _pixel(view, shape, size), gray.shape
    box = (0, samples[1] * pixel[1], samples[0] * pixel[0], 0)
    axes.imshow(gray, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="bilinear")
    axes.set_xlim(0, shape[view.right] * size[view.right])
    axes.set_ylim(shape[view.down] * size[view.down], 0)


def _grays(image: Voxels, views: tuple[_View, ...], at: tuple[int, int, int]) -> list[NDArray[Any]]:
    """The sections of an image, from 0 to 1, all to one scale of brightness.

    Voxels without a value (NaN) are black.
    """
    planes = [_plane(image, view, at) for view in views]
    values = np.concatenate([plane.ravel() for plane in planes])
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99.7]) if finite.size else (0.0, 1.0)
    scaled = [(plane - low) / max(high - low, 1e-9) for plane in planes]
    return [np.clip(np.nan_to_num(plane), 0, 1) ** 0.8 for plane in scaled]


def _fullest(labels: Voxels) -> tuple[int, int, int]:
    """Voxel whose three sections hold most labelled voxels; the middle of a large volume."""
    middle = [n // 2 for n in labels.shape]
    if math.prod(labels.shape) <= _SCAN:
        filled = np.asarray(labels[_everything(labels.shape)]) != 0
        if filled.any():
            for axis in range(3):
                others = tuple(a for a in range(3) if a != axis)
                area = filled.sum(axis=others)
                best = np.flatnonzero(area == area.max())
                middle[axis] = int(best[np.argmin(np.abs(best - middle[axis]))])
    return middle[0], middle[1], middle[2]


def _around(at: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[tuple[int, int, int], str]:
    """First voxel of a window around a position of a slide, and the window in words."""
    y, x = (
        min(max(a - LARGEST // 2, 0), max(n - LARGEST, 0))
        for a, n in zip(at[1:], shape[1:], strict=True)
    )
    bottom, right = (min(a + LARGEST, n) for a, n in zip((y, x), shape[1:], strict=True))
    return (0, y, x), f", y = {y} to {bottom}, x = {x} to {right}"


def _everything(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


def _steps(view: _View, shape: tuple[int, ...]) -> tuple[int, int]:
    """Every how manieth voxel (down, right) is shown: each side has at most `LARGEST` pixels."""
    return -(-shape[view.down] // LARGEST), -(-shape[view.right] // LARGEST)


def _pixel(
    view: _View, shape: tuple[int, ...], size: tuple[float, float, float]
) -> tuple[float, float]:
    """Size (down, right) of a pixel of a section, in um."""
    down, right = _steps(view, shape)
    return down * size[view.down], right * size[view.right]


def _plane(source: Voxels, view: _View, at: tuple[int, int, int]) -> NDArray[Any]:
    """Read a section, (down, right), thinned by `_steps`."""
    down, right = source.shape[view.down], source.shape[view.right]
    below, beside = _steps(view, source.shape)
    band = max(below, _BAND // right // below * below)
    parts = []
    for start in range(0, down, band):
        region = [slice(0, 1)] * 3
        region[view.cut] = slice(at[view.cut], at[view.cut] + 1)
        region[view.down] = slice(start, min(start + band, down))
        region[view.right] = slice(0, right)
        part = np.asarray(source[tuple(region)]).squeeze(view.cut)
        # a copy, or all of each band would stay in memory
        parts.append((part if view.down < view.right else part.T)[::below, ::beside].copy())
    return np.concatenate(parts)


def _outline(
    axes: Axes,
    labels: Voxels,
    view: _View,
    at: tuple[int, int, int],
    size: tuple[float, float, float],
    colour: str | None,
) -> None:
    """Draw the outline of every instance in a section; without a colour, each has its own."""
    from matplotlib.collections import LineCollection

    plane, pixel = _plane(labels, view, at), _pixel(view, labels.shape, size)
    lines, colours = [], []
    for label, outline in _contours(plane, pixel):
        lines.append(outline[:, ::-1])
        colours.append(colour or _colour(label))
    style = {"linewidths": 0.8, "alpha": 0.8} if colour else {"linewidths": 1.2}
    axes.add_collection(LineCollection(lines, colors=colours, **style), autolim=False)


def _contours(
    plane: NDArray[Any], pixel: tuple[float, float]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Labels and smooth outlines, (N, 2) points (down, right) in um, of a section's instances."""
    from scipy.ndimage import find_objects
    from skimage.measure import find_contours

    found, dense = np.unique(plane, return_inverse=True)
    dense = dense.reshape(plane.shape) + (0 if found[0] == 0 else 1)
    found = found[found != 0]
    for number, box in enumerate(find_objects(dense), 1):
        mask = np.pad(dense[box] == number, 1).astype(np.float32)
        corner = [part.start - 0.5 for part in box]
        for points in find_contours(mask, 0.5):
            yield int(found[number - 1]), _smooth((points + corner) * pixel, max(pixel))


def _smooth(points: NDArray[np.float64], coarsest: float) -> NDArray[np.float64]:
    """Round off a closed polygon's steps: a Gaussian along it, half a coarse voxel wide."""
    from scipy.ndimage import gaussian_filter1d

    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    spacing = coarsest / 8
    number = max(24, int(along[-1] / spacing))
    at = np.linspace(0.0, along[-1], number, endpoint=False)
    even = np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)
    width = 0.5 * coarsest * number / along[-1]
    even = gaussian_filter1d(even, min(width, number / 20), axis=0, mode="wrap")
    return np.concatenate([even, even[:1]])


def _colour(label: int) -> tuple[float, float, float]:
    """Bright colour of a label: the golden ratio keeps the hues of following labels apart."""
    from colorsys import hsv_to_rgb

    return hsv_to_rgb((label * _GOLDEN) % 1.0, 0.55 + 0.4 * ((label * _GOLDEN * 7) % 1.0), 1.0)


def _lay_out(
    extent: list[float], views: tuple[_View, ...], title: str
) -> tuple[Figure, list[Axes]]:
    """Make the figure: YX, below it ZX, to its right ZY, all to one scale.

    It is as wide as ever, but for an image that would be too tall: that gets a narrower one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z, y, x = extent if len(views) > 1 else (0.0, extent[1], extent[2])
    gaps = 3 if z else 2
    fitting = (_WIDTH - gaps * _GAP) / (x + z)  # inches a um
    scale = min(fitting, _TALLEST / (y + z))
    width, column = _WIDTH, scale * x
    if scale < fitting:
        column = max(column, _COLUMN)
        width = max(column + scale * z + gaps * _GAP, _NARROWEST)
    bands = (1 + bool(z)) * (_TITLE + _GAP)
    top = 0.0 if z or not title else 0.06 + 0.22 * len(title.splitlines())
    height = top + scale * (y + z) + bands + _GAP
    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    left, upper = _GAP, height - top - _TITLE - _GAP
    corners = {
        "YX": (left, upper - scale * y, scale * x, scale * y),
        "ZX": (left, upper - scale * (y + z) - _TITLE - _GAP, scale * x, scale * z),
        "ZY": (left + column + _GAP, upper - scale * y, scale * z, scale * y),
    }
    panels = []
    for view in views:
        a, b, w, h = corners[view.name]
        axes = figure.add_axes((a / width, b / height, w / width, h / height))
        axes.set_axis_off()
        panels.append(axes)
    corner = (left + column + 2 * _GAP, upper - scale * y - _TITLE - 2 * _GAP)
    _write(figure, title, corner if z else (left, height - _GAP))
    return figure, panels


def _write(figure: Figure, text: str, corner: tuple[float, float]) -> None:
    """Write lines of text downwards from a corner (inches); the first is the title."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(text.splitlines()):
        style: dict[str, Any] = {"fontsize": 9} if number else {"fontsize": 12, "weight": "bold"}
        y = corner[1] - 0.22 * number - (0.06 if number else 0.0)
        figure.text(
            corner[0] / width, y / height, line, color=_INK, va="top", parse_math=False, **style
        )


def _cross(
    axes: Axes, view: _View, at: tuple[int, int, int], size: tuple[float, float, float]
) -> None:
    """Mark where the other two sections cut this one."""
    style: dict[str, Any] = {"color": "white", "linewidth": 0.5, "alpha": 0.35, "dashes": (6, 5)}
    axes.axhline((at[view.down] + 0.5) * size[view.down], **style)
    axes.axvline((at[view.right] + 0.5) * size[view.right], **style)


def _scale_bar(axes: Axes, width: float, unit: str) -> None:
    """Draw a bar of a round length, about a sixth of the panel, with its length."""
    wanted = width / 6
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    bottom, top = axes.get_ylim()
    y, x = top + 0.965 * (bottom - top), 0.975 * width
    axes.plot([x - length, x], [y, y], color="white", linewidth=3, solid_capstyle="butt")
    text = f"{length:g} {unit}"
    axes.annotate(
        text,
        (x - length / 2, y),
        xytext=(0, 5),
        textcoords="offset points",
        color="white",
        ha="center",
        fontsize=9,
    )
