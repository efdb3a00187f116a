"""Thumbnails of cells, from an image of any size: `cut_cells`.

The result is that of labsyspharm's cellcutter: an array [C, N, W, W] of the image's type, in the
order of the table; cell ``n`` is in the window that starts at ``int(centroid) - W // 2``, and
what is outside of the image is 0. Of a volume the array is [C, N, D, W, W].

1. The table is read and checked. One pass over the label image finds the box of every cell: so it
   is known that each is there, and how large the largest is.
2. The blocks of the image are gone through once, in C order, each channel of a block by itself. A
   block cuts no chunk of the image, so each chunk is decoded once. Every window that touches the
   block gets the part of it that the block has; windows across blocks are complete when the last
   of their blocks has been seen, and no block needs a halo.
3. With ``mask_cells`` the label image is gone through with the image, and each window gets the
   mask of the cell at its centre; what is outside the mask becomes 0.
4. A unit of the output (`terapose.results.thumbnails.files`), full of complete windows, is written.

Memory: ``cache_bytes`` for units that are being filled; for each job two blocks of 4 MiB (2**21
voxels of 16 bits; more only where the image's own chunks are larger) and about 100 MiB to compress
a unit of 32 MiB; and some 300 bytes a cell. Neither image, label image nor output is ever whole in
memory. Where the table does not follow the image, more units are open than find room in
``cache_bytes``: the others wait in a scratch folder beside the destination, which takes at most the
uncompressed size of the output. Image and labels are decoded once all the same.

No part of the result depends on blocks, jobs or cache.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.windows import copy_windows, mark_windows
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, Grid
from terapose.io.images.array_like import Lazy
from terapose.io.images.channels import channel_numbers
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.read_ahead import blocks_of, read_ahead
from terapose.io.images.watch import Watch
from terapose.io.labels.values import check_type
from terapose.results.thumbnails.chosen_cells import (
    Cells,
    check_found,
    find_boxes,
    largest_window,
    read_cells,
)
from terapose.results.thumbnails.files import MEBI, Layout, Units
from terapose.results.thumbnails.output import Destination, cell_bytes

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the number of blocks done and of all."""
Address = str | os.PathLike[str]


@dataclass(frozen=True)
class Thumbnails:
    """What was cut.

    Attributes
    ----------
    path, mask_path
        The array of thumbnails, and that of their masks if it was asked for.
    shape, chunks
        Of the array of thumbnails.
    bytes
        Its uncompressed size.
    in_scratch
        Units of the output that waited on disk.
    """

    path: Path
    mask_path: Path | None
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    bytes: int
    in_scratch: int


def cut_cells(
    image: Address | Image,
    labels: Address | Lazy | None,
    table: Any,
    destination: Address,
    *,
    window: int | tuple[int, int] | None = None,
    channels: Sequence[int | str] = (),
    mask_cells: bool = False,
    layout: Layout | None = None,
    overwrite: bool = False,
    cache_bytes: int = 1024 * MEBI,
    jobs: int = 1,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Thumbnails:
    """Cut a window around each cell of a table and write all of them as one Zarr array.

    Parameters
    ----------
    image
        Whatever `terapose.io.images.opening.open_image` opens, or an opened image; of a region the
        label image is as large as that, and the table has positions in the whole image.
    labels
        Label image of the same shape: an address that `array_like.open_labels` opens,
        or what it returns. None takes the window from `window` or from the table's columns
        BoundingBox_*, and does not check that the cells are there.
    table
        CSV or Parquet file, or data frame: see `chosen_cells.read_cells`.
    destination
        Local path of the array. With `mask_cells` the masks, bool [N, W, W], are beside it:
        `cells_mask.zarr` for `cells.zarr`. Both are there whole or not at all.
    window
        Edge of the window in pixels, of a volume, of the cube; or (D, W). None takes the largest
        box of the cells in the table.
    channels
        Numbers from 1, or names, in the order of the output; none takes all.
    mask_cells
        Set voxels that are not of the window's own cell to 0, and write the masks.
    layout
        How the array is laid out on disk.
    overwrite
        Replace thumbnails that are there.
    cache_bytes
        Memory for thumbnails that are not yet written; see above.
    jobs
        Threads that read and compress.
    progress
        Called as the work goes on.
    watch
        Has opened image and labels, where both are given as opened; otherwise what was opened
        before is watched from now on.

    Returns
    -------
    Thumbnails

    Raises
    ------
    InputError
        If an input cannot be read, does not fit the others or changes while it is read, a cell of
        the table is not in the label image, or the destination exists or cannot be written.
    """
    layout = layout or Layout()
    watch = watch or Watch()
    opened, mask = _opened(image, labels, watch)
    _check(opened, mask, window, mask_cells=mask_cells)
    numbers, names = channel_numbers(opened, channels)
    numbers = numbers or tuple(range(1, opened.channels + 1))
    cells = read_cells(table, opened.shape, opened.region.start)
    inputs = [opened.address, *([mask.image.address] if mask else [])]
    if isinstance(table, str | os.PathLike):
        inputs.append(os.fspath(table))
    target = Destination(destination, layout, with_masks=mask_cells)
    target.check(inputs, overwrite=overwrite)
    try:
        with ThreadPoolExecutor(jobs) as pool:
            boxes = _boxes(cells, mask, pool, jobs, progress)
            size = _window(window, opened.shape, cells, boxes)
            images, masks = target.create(opened, [names[n - 1] for n in numbers], len(cells), size)
            units = Units(
                images,
                masks,
                size,
                layout.unit(cell_bytes(images)),
                scratch=target.scratch,
                most_bytes=cache_bytes,
                pool=pool,
                ahead=jobs,
            )
            source = _Source(opened, numbers, mask if mask_cells else None)
            _sweep(source, cells, size, units, pool, jobs, progress)
        watch.confirm()
        target.publish()
    except OSError as error:
        raise target.unwritable(error) from error
    finally:
        target.clean()
    return Thumbnails(
        target.path,
        target.mask_path,
        images.shape,
        images.chunks,
        math.prod(images.shape) * images.dtype.itemsize,
        units.in_scratch,
    )


def _opened(
    image: Address | Image, labels: Address | Lazy | None, watch: Watch
) -> tuple[Image, Lazy | None]:
    """Image and labels, watched from now on."""
    opened = image if isinstance(image, Image) else watch.open(partial(open_image, image))
    mask = labels if labels is None or isinstance(labels, Lazy) else watch.labels(labels)
    for one in [opened, *([mask.image] if mask else [])]:
        watch.add(one)
    return opened, mask


@dataclass(frozen=True)
class _Source:
    """What is read of a block: the labels, if they are needed, and then each channel."""

    image: Image
    channels: tuple[int, ...]
    mask: Lazy | None

    def grid(self) -> Grid:
        """Blocks of the image that cut no chunk."""
        chunks = [self.image.chunks, *([self.mask.image.chunks] if self.mask else [])]
        return blocks_of(self.image.shape, *chunks)

    def requests(
        self, visits: Iterable[_Visit]
    ) -> Iterator[tuple[tuple[_Visit, int], Callable[[], NDArray[Any]]]]:
        """What is read, in order: a visit and the place of the channel, -1 for labels."""
        for visit in visits:
            if self.mask is not None:
                yield (visit, -1), partial(self.mask.__getitem__, visit.block.slices)
            for place, channel in enumerate(self.channels):
                yield (visit, place), partial(self.image.read, visit.block.slices, channel)


@dataclass(frozen=True)
class _Visit:
    """A block, and for each unit that it has parts of: the unit, and the cells there.

    Cells are numbered as in the table.
    """

    block: Box
    units: tuple[tuple[int, NDArray[np.int64]], ...]


class _Visits:
    """Blocks that hold a part of any window, in order.

    Parameters
    ----------
    grid
        The blocks.
    starts
        (N, 3) first voxel of each window.
    window
        (D, H, W).
    size
        Cells of a unit.
    """

    def __init__(self, grid: Grid, starts: NDArray[np.int64], window: ZYX, size: int) -> None:
        self._grid = grid
        shape, edge = np.array(grid.shape), np.array(grid.block)
        first = np.maximum(starts, 0) // edge
        count = (np.minimum(starts + window, shape) - 1) // edge - first + 1
        each = count.prod(1)
        rows = np.repeat(np.arange(len(starts)), each)
        # the how-manieth of its window's blocks each one is
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(each) - each, each)
        _, ny, nx = count[rows].T
        index = first[rows] + np.stack([rank // (ny * nx), rank // nx % ny, rank % nx], axis=1)
        number = np.ravel_multi_index(tuple(index.T), grid.counts)
        order = np.argsort(number, kind="stable")
        self._rows, number = rows[order], number[order]
        units = self._rows // size
        # runs of cells of one block and one unit
        self._begins = np.flatnonzero(np.diff(number, prepend=-1) | np.diff(units, prepend=-1))
        self._units = units[self._begins]
        self._blocks, self._at = np.unique(number[self._begins], return_index=True)
        self.of_unit = np.bincount(self._units, minlength=-(-len(starts) // size))
        """How many visits fill each unit."""

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[_Visit]:
        stops = np.append(self._begins[1:], len(self._rows))
        for block, a, b in zip(
            self._blocks, self._at, np.append(self._at[1:], len(self._begins)), strict=False
        ):
            units = tuple(
                (int(self._units[n]), self._rows[self._begins[n] : stops[n]]) for n in range(a, b)
            )
            yield _Visit(self._grid[int(block)], units)


def _sweep(
    source: _Source,
    cells: Cells,
    window: ZYX,
    units: Units,
    pool: Executor,
    jobs: int,
    progress: Progress | None,
) -> None:
    """Go through the image once, and fill and write every unit."""
    starts = cells.starts(window)
    visits = _Visits(source.grid(), starts, window, units.size)
    missing = visits.of_unit.copy()
    last, done = len(source.channels) - 1, 0
    for (visit, place), voxels in read_ahead(source.requests(visits), pool, jobs):
        for unit, rows in visit.units:
            pixels, own = units.parts(unit)
            inside, slots = starts[rows] - visit.block.start, rows - unit * units.size
            if place >= 0:
                copy_windows(voxels, inside, slots, pixels[place])
            elif own is not None:
                mark_windows(voxels, inside, slots, cells.ids[rows], own)
            del pixels, own
            if place == last:
                missing[unit] -= 1
                if not missing[unit]:
                    units.finish(unit)
        if place == last:
            done += 1
            if progress is not None:
                progress("cut", done, len(visits))
    units.close()


def _boxes(
    cells: Cells, mask: Lazy | None, pool: Executor, jobs: int, progress: Progress | None
) -> NDArray[np.int64] | None:
    """Boxes of the cells: measured, or those of the table where there is no label image."""
    if mask is None:
        return cells.boxes
    show = None if progress is None else partial(progress, "boxes")
    boxes = find_boxes(mask, mask.image.chunks, cells.ids, pool, jobs, show)
    check_found(cells, boxes, mask.image.address)
    return boxes


def _window(
    window: int | tuple[int, int] | None,
    shape: ZYX,
    cells: Cells,
    boxes: NDArray[np.int64] | None,
) -> ZYX:
    """(D, W, W), as given or as large as the largest box."""
    if not len(cells):
        log.warning("the table has no cells, so the array of thumbnails is empty")
        window = window or 1
    if window is not None:
        depth, width = (window, window) if isinstance(window, int) else window
        return (depth if shape[0] > 1 else 1, width, width)
    if boxes is None:
        raise InputError(
            "the size of the thumbnails is not known",
            where="window-size",
            remedy="give --window-size, a label image, or a table with columns BoundingBox_x0 ...",
        )
    return largest_window(cells, boxes)


def _check(
    image: Image, mask: Lazy | None, window: int | tuple[int, int] | None, *, mask_cells: bool
) -> None:
    edges = (1,) if window is None else (window,) if isinstance(window, int) else window
    if min(edges) < 1 or (len(edges) > 1 and image.shape[0] == 1):
        raise InputError(
            "not a valid window size",
            where="window-size",
            got=window,
            allowed="pixels from 1; for volumes also depth,width",
        )
    if mask is None:
        if mask_cells:
            raise InputError(
                "masks are cut from a label image", where="labels", remedy="give a label image"
            )
        return
    if mask.shape != image.shape:
        raise InputError(
            "the label image does not have the shape of the image",
            where=mask.image.address,
            got=" x ".join(map(str, mask.shape)),
            allowed=" x ".join(map(str, image.shape)),
            remedy="write the image with axes that mark its planes as channels, as OME-TIFF does"
            if image.shape[0] > 1 and mask.shape[0] == 1
            else "give the label image of this image, at full resolution",
        )
    check_type(mask.dtype, mask.image.address)
