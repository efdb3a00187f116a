"""Slides and volumes to cut thumbnails from, and the thumbnails by a plain loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import zarr
from numpy.typing import NDArray

from terapose.results.thumbnails.cut import cut_cells


@dataclass(frozen=True)
class Slide:
    """Files of an image (C, Z, Y, X), its labels (Z, Y, X) and their table, and the same here."""

    image: Path
    labels: Path
    table: Path
    pixels: NDArray[Any]
    ids: NDArray[np.uint32]
    frame: pd.DataFrame

    def cut(self, destination: Path, **options: Any) -> NDArray[Any]:
        """Cut with Terapose; the array, whole."""
        made = cut_cells(self.image, self.labels, self.table, destination, **options)
        return np.asarray(zarr.open_array(made.path, mode="r")[:])


def blobs(shape: tuple[int, int, int], count: int, seed: int) -> NDArray[np.uint32]:
    """Labels with gaps in their numbers; boxes at the image's border, cells in two pieces."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    numbers = np.sort(rng.choice(np.arange(1, 5 * count), count, replace=False))
    for number in numbers:
        center = [int(rng.integers(0, n)) for n in shape]
        radius = rng.integers(1, 7, 3)
        grid = np.ogrid[tuple(slice(0, n) for n in shape)]
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radius, strict=True)) <= 1
        labels[inside & (labels == 0)] = number
    return labels


def table_of(labels: NDArray[np.uint32]) -> pd.DataFrame:
    """IDs, centroids and boxes, in a random order of the rows."""
    rows = []
    for number in np.unique(labels[labels > 0]):
        voxels = np.argwhere(labels == number)
        row: dict[str, Any] = {"CellID": number}
        for axis, name in enumerate("zyx"):
            row[f"{name.upper()}_centroid"] = voxels[:, axis].mean()
            row[f"BoundingBox_{name}0"] = voxels[:, axis].min()
            row[f"BoundingBox_{name}1"] = voxels[:, axis].max() + 1
        rows.append(row)
    return pd.DataFrame(rows).sample(frac=1, random_state=1).reset_index(drop=True)


def make(
    folder: Path,
    shape: tuple[int, int, int] = (1, 75, 90),
    *,
    channels: int = 3,
    dtype: str = "uint16",
    count: int = 60,
    form: str = "tiled",
) -> Slide:
    """Write a slide, or a volume."""
    rng = np.random.default_rng(5)
    pixels = (rng.random((channels, *shape)) * 200 + 1).astype(dtype)
    ids = blobs(shape, count, 2)
    flat = shape[0] == 1
    on_disk, planes = (pixels[:, 0], ids[0]) if flat else (pixels, ids)
    if form == "zarr":
        image, labels = folder / "image.zarr", folder / "labels.zarr"
        edge = (1, *(16 for _ in range(on_disk.ndim - 1)))
        names = ["c", "y", "x"] if flat else ["c", "z", "y", "x"]
        zarr.create_array(str(image), data=on_disk, chunks=edge, dimension_names=names)
        zarr.create_array(str(labels), data=planes, chunks=edge[1:])
    else:
        image, labels = folder / "image.ome.tif", folder / "labels.tif"
        options: dict[str, Any] = {"photometric": "minisblack"}
        if form == "tiled":
            options |= {"tile": (16, 32), "compression": "zlib"}
        elif form == "strips":
            options |= {"rowsperstrip": 7, "compression": "zlib"}
        tifffile.imwrite(image, on_disk, metadata={"axes": "CYX" if flat else "CZYX"}, **options)
        tifffile.imwrite(labels, planes, **(options if form == "tiled" else {}))
    frame = table_of(ids)
    frame.to_csv(folder / "cells.csv", index=False)
    return Slide(image, labels, folder / "cells.csv", pixels, ids, frame)


def naive(
    slide: Slide, window: tuple[int, int, int], channels: list[int] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Thumbnails (C, N, D, H, W) and masks, from the padded whole."""
    pad = [(w, w) for w in window]
    pixels = np.pad(slide.pixels, [(0, 0), *pad])
    ids = np.pad(slide.ids, pad)
    images, masks = [], []
    for row in slide.frame.itertuples():
        center = (int(row.Z_centroid), int(row.Y_centroid), int(row.X_centroid))
        place = tuple(
            slice(c - w // 2 + w, c - w // 2 + w + w) for c, w in zip(center, window, strict=True)
        )
        images.append(pixels[(slice(None), *place)])
        masks.append(ids[place] == row.CellID)
    cut = np.stack(images, axis=1)
    return cut if channels is None else cut[channels], np.stack(masks)


def largest(slide: Slide, axes: str) -> int:
    return max(int((slide.frame[f"BoundingBox_{a}1"] - slide.frame[f"BoundingBox_{a}0"]).max())
               for a in axes)  # fmt: skip
