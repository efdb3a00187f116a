"""How the work is divided by default: chunks, slabs, rectangles and blocks.

None of it affects the result. It decides how much memory a task takes, how many files the store
has, and how often a tile at a cut is run twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from terapose.core.geometry import ZYX, even, zyx
from terapose.pipeline.sizes import FLAT_CHUNK

MOST_VOXELS = 2**25
MOST_PIXELS = 2**23
"""Voxels (of planes by themselves: pixels) that a task gives to the network between two writes: at
40 and 80 bytes each, 1.4 and 0.7 GB beside the network (a plane alone is also padded, added up and
divided as a whole)."""
TASK_VOXELS = 2**23
"""Voxels of blocks that a task does at least."""
LEAST_SLAB = 16
"""Slabs of planes that fit uncut only by being thinner than this are cut into rectangles instead:
thin slabs make many small files."""


def network_shape(shape: ZYX, rescale: float, anisotropy: float, *, flat: bool = False) -> ZYX:
    """Shape of the grid on which the network works (`CellposeModel._run_net`)."""
    z, y, x = shape
    if rescale == 1.0 and (flat or anisotropy == 1.0):
        return shape
    depth = z if flat else _whole(z * anisotropy * rescale)
    return (depth, _whole(y * rescale), _whole(x * rescale))


def _whole(length: float) -> int:
    """A length in whole voxels; one beyond all measure is for the plan to refuse."""
    return int(length) if length < _ENDLESS else _ENDLESS


_ENDLESS = 2**62


def choose_slabs(shape: ZYX, planes: int | None, rectangle: int | None = None) -> ZYX:
    """Planes of a slab along each axis of a volume; no more than a rectangle is wide.

    A slab is at once the edge of the chunks that two passes share. Thin slabs keep little in
    flight (a pass writes a new sum while the old one is still there: about an eleventh of it here,
    more in small volumes), thick ones make fewer files, of which each takes time. Chunks are 32 to
    64 wide, and 32 deep along Z, of which there is often little.
    """
    most = rectangle or max(shape)
    if planes is not None:
        return zyx(min(planes, most, n) for n in shape)
    chosen = []
    for axis, length in enumerate(shape):
        wanted = 32 if axis == 0 else min(max(math.ceil(length / 11), 32), 64)
        thick = min(wanted, most, length)
        uncut = MOST_VOXELS // (math.prod(shape) // length)
        chosen.append(min(thick, uncut) if uncut >= LEAST_SLAB else thick)
    return zyx(chosen)


def choose_flat_slabs(shape: ZYX, planes: int | None, rectangle: int | None = None) -> ZYX:
    """Chunks of the network's result on planes by themselves: some planes, in squares."""
    z, y, x = shape
    fits = max(1, MOST_PIXELS // (y * x))
    edge = min(FLAT_CHUNK, rectangle or FLAT_CHUNK)
    return (min(planes or min(32, fits), z), min(edge, y), min(edge, x))


def choose_passes(
    shape: ZYX, slabs: ZYX, count: int, rectangle: int | None, most: int | None = None
) -> tuple[ZYX, ...]:
    """Shape of the boxes of each pass: a slab of planes, whole or cut into rectangles of chunks.

    Parameters
    ----------
    shape
        The network's grid.
    slabs
        Edges of the chunks.
    count
        Number of passes: 3, or 1 where planes are independent.
    rectangle
        Edge of the rectangles; None cuts planes only where a slab of them is too large.
    most
        Voxels of a slab above which it is; None: what a task does by default.
    """
    passes = []
    most = most or (MOST_VOXELS if count > 1 else MOST_PIXELS)
    for axis in range(count):
        pixels = most // slabs[axis]
        fits = math.prod(shape) // shape[axis] <= pixels
        edge = rectangle or (max(shape) if fits else math.isqrt(pixels))
        passes.append(
            zyx(
                c if i == axis else n if n <= edge else _edge(n, c, edge, given=bool(rectangle))
                for i, (n, c) in enumerate(zip(shape, slabs, strict=True))
            )
        )
    return tuple(passes)


def _edge(length: int, chunk: int, most: int, *, given: bool) -> int:
    """Edge of rectangles: whole chunks, so that no two boxes read the same ones.

    Unless it is given, rectangles are about as long as one another.
    """
    fit = max(1, most // chunk)
    return min(length, chunk * (fit if given else even(math.ceil(length / chunk), fit)))


def choose_block(
    shape: ZYX, block: Sequence[int] | None, *, flat: bool = False, grid: ZYX | None = None
) -> ZYX:
    """Shape of a block: as given, else at most 256 voxels wide, and as many blocks as make sense.

    Blocks of planes are 1024 pixels wide or less, and as many planes as make 8 million pixels. What
    is large gives two or more along each axis. A volume that one or two tasks do anyway is not cut
    for them: margins would be read, and worked on, several times. How large it is, its voxels say,
    or those of the network's grid if they are more: flows are resized from there block by block.
    """
    if block is not None:
        return zyx(min(b, n) for b, n in zip(block, shape, strict=True))
    if flat:
        y, x = (n if n <= 1024 else min(1024, math.ceil(n / 2)) for n in shape[1:])
        return (min(shape[0], max(1, TASK_VOXELS // (y * x))), y, x)
    finer = max(1.0, math.prod(grid or shape) / math.prod(shape))
    if math.prod(shape) * finer > 2 * TASK_VOXELS:
        return zyx(min(256, max(64, math.ceil(n / 2)), n) for n in shape)
    whole = list(shape)
    while math.prod(whole) * finer > TASK_VOXELS:
        axis = whole.index(max(whole))
        whole[axis] = math.ceil(whole[axis] / 2)
    return zyx(whole)
