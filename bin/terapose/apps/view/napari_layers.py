"""Results in napari: a folder of results opens as layers of the image, the labels and the table.

napari finds the reader by the manifest ``napari.yaml``, which the installed package names. Nothing
of napari is imported here but to show a window; layers are described by tuples of data, arguments
and kind, and read as needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.view.colors import of_values
from terapose.apps.view.derived import MISSING
from terapose.apps.view.pixels import Pixels
from terapose.apps.view.results import Results, open_results
from terapose.apps.view.table import NUMBER, Cells
from terapose.apps.view.volumes import Level, Volume
from terapose.core.errors import InputError
from terapose.core.geometry import Box, zyx
from terapose.io.images import zarr_nodes as nodes
from terapose.results.earlier import RECORD
from terapose.results.outputs import LABELS

if TYPE_CHECKING:
    import pandas as pd

LayerData = tuple[Any, dict[str, Any], str]
MOST_ROWS = 1_000_000
"""Rows of a table that napari gets; it holds all of them in memory."""


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """The reader of a folder, if it holds results; called by napari for whatever is opened."""
    if not isinstance(path, str) or "://" in path or not (Path(path) / RECORD).is_file():
        return None
    return read_results


def read_results(path: str) -> list[LayerData]:
    """Layers of results: channels of the image, label images with the table.

    Parameters
    ----------
    path
        Folder of the results of one sample.
    """
    return layers_of(open_results(Path(path)))


def layers_of(results: Results) -> list[LayerData]:
    """Layers of opened results."""
    layers: list[LayerData] = []
    colors = ("gray",) if len(results.channels) == 1 else ("magenta", "green", "cyan", "yellow")
    finest = results.images[0]
    others = [n for n in range(1, finest.channels + 1) if n not in results.channels]
    for place, channel in enumerate([*results.channels, *others]):
        volume = Pixels(results.images, channel, results.dimensions)
        about = {
            "name": finest.channel_names[channel - 1],
            "colormap": colors[place % len(colors)],
            "blending": "additive",
            "visible": channel in results.channels,
            **_placed(volume.levels[0], results.dimensions),
        }
        arrays = [Lazily(volume, n) for n in range(len(volume.levels))]
        layers.append(_layer(arrays, about, "image"))
    features = _features(results)
    for number, name in enumerate(results.labels):
        group = results.folder / LABELS / name
        stored = [nodes.open_array(str(group / str(n))) for n in range(len(results.levels))]
        about = {"name": name, **_placed(results.levels[0], results.dimensions)}
        if number:
            about["visible"] = False
        elif features is not None:
            about["features"] = features
        layers.append(_layer(stored, about, "labels"))
    return layers


def _layer(levels: Sequence[Any], about: dict[str, Any], kind: str) -> LayerData:
    """A layer of one level, or of several; a list of one napari takes for planes."""
    several = len(levels) > 1
    return (list(levels) if several else levels[0], about | {"multiscale": several}, kind)


class Lazily:
    """A level of a volume, indexed as an array is, and read when it is.

    Parameters
    ----------
    volume
        What is read.
    level
        Which level of it.
    """

    def __init__(self, volume: Volume, level: int) -> None:
        self._volume, self._level = volume, level
        self._whole = volume.levels[level].shape
        self.shape: tuple[int, ...] = self._whole[-volume.dimensions :]
        self.ndim = volume.dimensions
        self.size = math.prod(self.shape)
        self.dtype = volume.dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a region: whole numbers, slices and an ellipsis, as in NumPy."""
        given = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in given:
            at = given.index(Ellipsis)
            given[at : at + 1] = [slice(None)] * (self.ndim - len(given) + 1)
        given += [slice(None)] * (self.ndim - len(given))
        parts = [_part(part, n) for part, n in zip(given, self.shape, strict=True)]
        lead = 3 - self.ndim
        start = (0,) * lead + tuple(first for first, _, _ in parts)
        stop = (1,) * lead + tuple(end for _, end, _ in parts)
        box = Box(zyx(start), zyx(stop))
        empty = 0 in box.shape
        found = np.zeros(box.shape, self.dtype) if empty else self._volume.read(self._level, box)
        picked: NDArray[Any] = found[(0,) * lead + tuple(inside for _, _, inside in parts)]
        return picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it."""
        return np.asarray(self[...], dtype)


def _part(part: Any, length: int) -> tuple[int, int, int | slice]:
    """Start and stop of an index along an axis, and what it picks of what is between them."""
    if not isinstance(part, slice):
        place = range(length)[int(part)]
        return place, place + 1, 0
    places = range(length)[part]
    if not places:
        return 0, 0, slice(None)
    return min(places), max(places) + 1, slice(None, None, places.step)


def show(folder: Path, address: str = "", color_by: str | None = None) -> None:
    """Show results in a window of napari, until it is closed.

    Parameters
    ----------
    folder
        Of the results of one sample.
    address
        Of the image, if it is not that of the record.
    color_by
        Column of the table; ``CellID`` gives each cell another colour.

    Raises
    ------
    InputError
        If napari is not installed, or as for `terapose.apps.view.opening.open_view`.
    """
    if find_spec("napari") is None:
        raise InputError(
            "napari is not installed",
            where="viewer",
            remedy="install napari[all], or look at the results with --viewer neuroglancer",
        )
    import napari

    results = open_results(folder, address)
    colors = _colors(results, color_by)
    layers = layers_of(results)
    viewer = napari.Viewer(title=f"{folder.name} - Terapose")
    for data, about, kind in layers:
        layer = getattr(viewer, f"add_{kind}")(data, **about)
        if colors and "features" in about:
            layer.colormap = napari.utils.DirectLabelColormap(color_dict=colors)
    napari.run()


def _colors(results: Results, color_by: str | None) -> dict[int | None, Any]:
    """Colours of cells, by their numbers; none if each has another one."""
    if results.table is None:
        return {}
    cells = Cells(results.table, int(results.record["cells"]))
    name = cells.chosen(color_by)
    if name == NUMBER or cells.number > MOST_ROWS:
        return {}
    column = cells.column(name)
    shades = of_values(column.values[1:], column.low, column.high, MISSING)
    return {None: "transparent", 0: "transparent", **dict(enumerate(shades, 1))}


def _features(results: Results) -> pd.DataFrame | None:
    """The table, with the number of the cell as ``index``, which napari matches with labels."""
    number = int(results.record["cells"])
    if results.table is None or not 0 < number <= MOST_ROWS:
        return None
    import pandas as pd

    cells = Cells(results.table, number)
    parts = [pd.DataFrame(rows) for rows in cells.rows(cells.names)]
    features = pd.concat(parts, ignore_index=True)
    features.insert(0, "index", features[NUMBER])
    return features


def _placed(level: Level, dimensions: int) -> dict[str, Any]:
    """Where a layer is."""
    return {"scale": level.scale[-dimensions:], "translate": level.origin[-dimensions:]}
