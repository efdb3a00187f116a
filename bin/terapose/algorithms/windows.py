"""Windows of cells, cut from one block of an image at a time, and the boxes of labels.

A window may cross blocks. Each block adds the voxels that it has, so that a block is decoded once
and no block needs a halo; what is outside the image stays as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit


@njit
def _copy(block, starts, slots, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = block.shape
    _, depth, height, width = out.shape
    for i in range(len(slots)):
        z0, y0, x0 = starts[i]
        window = out[slots[i]]
        for z in range(max(0, z0), min(nz, z0 + depth)):
            for y in range(max(0, y0), min(ny, y0 + height)):
                for x in range(max(0, x0), min(nx, x0 + width)):
                    window[z - z0, y - y0, x - x0] = block[z, y, x]


@njit
def _mark(block, starts, slots, ids, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = block.shape
    _, depth, height, width = out.shape
    for i in range(len(slots)):
        z0, y0, x0 = starts[i]
        window = out[slots[i]]
        for z in range(max(0, z0), min(nz, z0 + depth)):
            for y in range(max(0, y0), min(ny, y0 + height)):
                for x in range(max(0, x0), min(nx, x0 + width)):
                    window[z - z0, y - y0, x - x0] = np.int64(block[z, y, x]) == ids[i]


@njit
def _grow_boxes(block, origin, ids, boxes):  # type: ignore[no-untyped-def]
    nz, ny, nx = block.shape
    last, row = np.int64(0), -1
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                label = np.int64(block[z, y, x])
                if label != last:
                    last, row = label, int(np.searchsorted(ids, label))
                    if row == len(ids) or ids[row] != label:
                        row = -1
                if row < 0:
                    continue
                box = boxes[row]
                gz, gy, gx = z + origin[0], y + origin[1], x + origin[2]
                if box[3] == 0:
                    box[0], box[1], box[2] = gz, gy, gx
                box[0], box[1], box[2] = min(box[0], gz), min(box[1], gy), min(box[2], gx)
                box[3], box[4] = max(box[3], gz + 1), max(box[4], gy + 1)
                box[5] = max(box[5], gx + 1)


def copy_windows(
    block: NDArray[Any],
    starts: NDArray[np.int64],
    slots: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    """Copy the part of each window that is in a block.

    Parameters
    ----------
    block
        (Z, Y, X) voxels of any type of 1, 2, 4 or 8 bytes.
    starts
        (N, 3) first voxel of each window, counted from the block's first (ZYX).
    slots
        (N,) which window of ``out`` each one is.
    out
        (windows, D, H, W), of the block's type; changed in place.
    """
    # bits are copied, whatever they mean: four types to compile, half precision among them
    bits = f"u{block.dtype.itemsize}"
    _copy(block.view(bits), starts, slots, out.view(bits))


def mark_windows(
    block: NDArray[np.integer[Any]],
    starts: NDArray[np.int64],
    slots: NDArray[np.int64],
    ids: NDArray[np.int64],
    out: NDArray[np.bool_],
) -> None:
    """Mark the voxels of a block of labels that are the window's own cell; see `copy_windows`.

    Parameters
    ----------
    ids
        (N,) label of each window's cell.
    """
    _mark(block, starts, slots, ids, out)


def grow_boxes(
    block: NDArray[np.integer[Any]],
    origin: tuple[int, int, int],
    ids: NDArray[np.int64],
    boxes: NDArray[np.int64],
) -> None:
    """Widen the boxes of labels by their voxels in a block.

    Parameters
    ----------
    block
        (Z, Y, X) labels.
    origin
        Where the block starts in the image (ZYX).
    ids
        (N,) labels that are looked for, from 1, sorted.
    boxes
        (N, 6) first voxel and first voxel after the box (ZYX, ZYX); zeros where there is none
        yet. Changed in place.
    """
    _grow_boxes(block, origin, ids, boxes)
