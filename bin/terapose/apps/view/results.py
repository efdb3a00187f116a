"""What is looked at: the record, the label images, the table and the image of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from terapose.apps.view.volumes import Level
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, zyx
from terapose.core.selection import Selection
from terapose.io.images import zarr_nodes as nodes
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.results.outputs import LABELS
from terapose.results.records import complete_record


@dataclass(frozen=True)
class Results:
    """Results of one sample, opened.

    Attributes
    ----------
    folder
        Where they are.
    record
        Of the run.
    labels
        Levels of each label image, by its name.
    levels
        Where the levels of all of them are.
    unit
        Whether that is in micrometres; else in voxels of the image.
    dimensions
        Of the label images: 3, or 2 for a single plane.
    images
        Levels of the image, without a region.
    own
        The finest of them as it opens by itself, without the voxel size of the run.
    """

    folder: Path
    record: Mapping[str, Any]
    labels: Mapping[str, tuple[Image, ...]]
    levels: tuple[Level, ...]
    unit: bool
    dimensions: int
    images: tuple[Image, ...]
    own: Image

    @property
    def shape(self) -> ZYX:
        """(Z, Y, X) of the label images."""
        return self.levels[0].shape

    @property
    def offset(self) -> ZYX:
        """(Z, Y, X) where the label images begin, in the positions of the table."""
        return zyx(self.record["output"]["offset"])

    @property
    def channels(self) -> list[int]:
        """Channels that were segmented, from 1."""
        return [int(n) for n in self.record["image"]["channels"]]

    @property
    def table(self) -> Path | None:
        """The table of cells; None if there is none of rows and columns."""
        names = [name for name in ("cells.parquet", "cells.csv") if name in self.record["tables"]]
        return self.folder / names[0] if names else None


def open_results(folder: Path, address: str = "") -> Results:
    """Open results and the image that they are of.

    Parameters
    ----------
    folder
        Of one sample.
    address
        Of the image, if it is not that of the record.

    Raises
    ------
    InputError
        If the folder holds no complete results, or one of the images cannot be opened or is
        another one.
    """
    record = complete_record(folder)
    output, about = record["output"], record["image"]
    selection, size = Selection(**output["selection"]), output["voxel_size"]
    names = record["compartments"]
    labels = {name: _levels_of_labels(folder, name) for name in names}
    try:
        levels, unit, dimensions = _placed(folder, labels[names[0]])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(
            "its metadata are not those of label images of a run",
            where=folder / LABELS / names[0],
            got=f"{type(error).__name__}: {error}",
            remedy="terapose verify lists what has changed since the run",
        ) from error
    shown = address or str(about["address"])
    for name, found in labels.items():
        _compare(folder / LABELS / name, found[0].shape, output["shape"])
    images, own = _open_image(shown, selection, size, moved=bool(address))
    (level,) = (image for image in images if image.level == selection.level)
    _compare(shown, replace(level, selection=selection).shape, output["shape"])
    return Results(folder, record, labels, levels, unit, dimensions, images, own)


def _levels_of_labels(folder: Path, name: str) -> tuple[Image, ...]:
    address = str(folder / LABELS / name)
    first = open_image(address)
    return (first, *(open_image(address, level=n) for n in range(1, first.levels)))


def _placed(folder: Path, labels: tuple[Image, ...]) -> tuple[tuple[Level, ...], bool, int]:
    """Where label images are, as their own metadata say; all have the same."""
    multiscale = nodes.metadata(labels[0].address)["multiscales"][0]
    axes = multiscale["axes"]
    levels = []
    for image, dataset in zip(labels, multiscale["datasets"], strict=True):
        found = {one["type"]: one[one["type"]] for one in dataset["coordinateTransformations"]}
        scale, origin = found["scale"], found.get("translation", [0.0] * len(axes))
        lead = 3 - len(axes)
        s, o = [1.0] * lead + scale, [0.0] * lead + origin
        levels.append(Level(image.shape, (s[0], s[1], s[2]), (o[0], o[1], o[2])))
    return tuple(levels), axes[-1].get("unit") is not None, len(axes)


def _open_image(
    address: str, selection: Selection, size: list[float] | None, *, moved: bool
) -> tuple[tuple[Image, ...], Image]:
    """The levels of the image, and the finest as it opens by itself."""
    whole = {**selection.options, "region": ""}
    try:
        own = open_image(address, **{**whole, "level": 0})
        chosen = open_image(address, **whole)
        # an address may name one level, and a stack of files has one
        single = own.level > 0 or selection.stack
        numbers = [chosen.level] if single else range(own.levels)
        images = []
        for level in numbers:
            image = open_image(address, **{**whole, "level": level})
            if size:
                z, y, x = (
                    s * f / g for s, f, g in zip(size, image.factors, chosen.factors, strict=True)
                )
                image = open_image(address, **{**whole, "level": level}, voxel_size=(z, y, x))
            images.append(image)
    except InputError as error:
        if moved:
            raise
        raise InputError(
            "the image of these results cannot be opened",
            where=address,
            got=error,
            remedy="if it was moved, give its address: terapose view RESULTS IMAGE",
        ) from error
    return tuple(images), own


def _compare(where: object, found: ZYX, expected: list[int]) -> None:
    if list(found) != expected:
        raise InputError(
            "does not have the shape of these results",
            where=where,
            got=found,
            allowed=tuple(expected),
            remedy="give the image that was segmented, and its results",
        )
