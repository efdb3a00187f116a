"""Follow flows to their end points on a GPU, with the bits of `terapose.kernels.follow`.

1. Points are taken in chunks (`CHUNK`); the flows of the box stay on the device. A step works on
   all points of a chunk that still move.
2. Each operation is a tensor operation by itself: nothing can be contracted or put in another
   order, so a GPU gives what a CPU gives. Where the formula for planes has a fused multiply-add,
   it is worked out in float64 (`_fma`).
3. Every `SWEEP` steps the points that are lost, or that stand where they stood two steps ago, are
   taken out: such a point stays or goes on in a cycle of two positions, of which the parity of the
   remaining steps picks the last. What is left is the same as from stopping at once.

Memory on the device: the flows of the box, and at most 320 bytes for each point of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terapose.kernels.follow import is_planar

CHUNK = 2**21
SWEEP = 8


@dataclass(frozen=True)
class _Field:
    """Flows of a box on the device, in the frame of the whole image."""

    flows: Tensor  # (C, voxels of the box) float32
    box: tuple[int, ...]  # shape of the box, ZYX
    origin: tuple[int, int, int]
    shape: tuple[int, int, int]
    planar: bool

    @property
    def sizes(self) -> Tensor:
        """Lengths of the axes that are followed, (C, 1) float32."""
        lengths = self.shape[1:] if self.planar else self.shape
        return torch.tensor(lengths, dtype=torch.float32, device=self.flows.device)[:, None]


def _fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``a * b + c`` of float32 tensors, rounded once.

    The product is exact in float64. The sum is not: it is rounded to odd there, after which
    rounding to float32 gives what one rounding would have given (Boldo and Melquiond 2008,
    "Emulation of FMA and correctly rounded sums").
    """
    exact, c = a.double() * b.double(), c.double()
    total = exact + c
    part = total - exact
    error = (exact - (total - part)) + (c - part)
    even = (total.view(torch.int64) & 1) == 0
    odd = torch.nextafter(total, error * torch.inf)
    return torch.where(even & (error != 0), odd, total).float()


def _source(p: Tensor, field: _Field) -> Tensor:
    """Positions in [-1, 1] as indices."""
    if field.planar:
        # fewer than 53 bits: exact until it is rounded to float32
        return ((p + 1).double() * (field.sizes.double() / 2) - 0.5).float()
    return ((p + 1) * field.sizes - 1) / 2


def _read(field: _Field, voxel: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Flows (C, N) at voxels (Z, Y, X), zero outside of the image; and which were not read."""
    inside = torch.ones_like(voxel[0], dtype=torch.bool)
    here = inside.clone()
    flat = torch.zeros_like(voxel[0])
    for at, start, length, size in zip(voxel, field.origin, field.box, field.shape, strict=True):
        local = at - start
        inside &= (at >= 0) & (at < size)
        here &= (local >= 0) & (local < length)
        flat = flat * length + local
    here &= inside
    values = field.flows.index_select(1, torch.where(here, flat, 0))
    return torch.where(here, values, 0), inside & ~here


def _sample(field: _Field, index: Tensor, plane: Tensor) -> tuple[Tensor, Tensor]:
    """Flows (C, N) at indices (C, N); and which points needed a voxel that was not read."""
    floor = torch.floor(index)
    upper = index - floor
    weights = (1 - upper if field.planar else floor + 1 - index, upper)
    low = floor.long()
    total = torch.zeros_like(index)
    missed = torch.zeros_like(plane, dtype=torch.bool)
    for corner in product((0, 1), repeat=len(index)):
        weight = weights[corner[-1]][-1]
        for axis in reversed(range(len(index) - 1)):
            weight = weight * weights[corner[axis]][axis]
        voxel = [row + d for row, d in zip(low, corner, strict=True)]
        values, unread = _read(field, [plane, *voxel] if field.planar else voxel)
        total = _fma(values, weight, total) if field.planar else total + values * weight
        missed |= unread
    return total, missed


def _chunk(
    field: _Field, starts: NDArray[np.int32], niter: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Follow the points of one chunk."""
    first = 1 if field.planar else 0
    voxels = torch.from_numpy(starts.T.copy()).to(field.flows.device)
    plane, start = voxels[0].long(), voxels[first:].float()
    # a tensor, not a number: divided by a number, a GPU would multiply by its inverse
    last = field.sizes - 1
    p = start / last * 2 - 1
    # what is found
    final = p.clone()
    far, lost = torch.zeros_like(p[0]), torch.zeros_like(plane, dtype=torch.bool)
    # what belongs to the points that still move
    moving = torch.arange(len(starts), device=p.device)
    old, older = torch.full_like(p, 9), torch.full_like(p, 9)
    reach, gone = far.clone(), lost.clone()
    for done in range(1, niter + 1):
        index = _source(p, field)
        reach = torch.where(gone, reach, torch.maximum(reach, (index - start).abs().amax(0)))
        step, missed = _sample(field, index, plane)
        gone |= missed
        older, old, p = old, p, torch.where(gone, p, (p + step).clamp(-1, 1))
        if done % SWEEP and done < niter:
            continue
        out = (p == older).all(0) | gone | (done == niter)
        at = moving[out]
        final[:, at] = (p if (niter - done) % 2 == 0 else old)[:, out]
        far[at], lost[at] = reach[out], gone[out]
        keep = ~out
        moving, plane, reach, gone = moving[keep], plane[keep], reach[keep], gone[keep]
        start, p, old, older = start[:, keep], p[:, keep], old[:, keep], older[:, keep]
        if not len(moving):
            break
    ends = starts.copy()
    ends[:, first:] = ((final + 1) * 0.5 * last).cpu().numpy().T.astype(np.int32)
    return ends, far.cpu().numpy(), lost.cpu().numpy()


def follow(
    flows: NDArray[np.float32],
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    starts: NDArray[np.int32],
    niter: int,
    device: str | torch.device,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Do as `terapose.kernels.follow.follow` does, on a device of PyTorch.

    Parameters
    ----------
    flows, origin, shape, starts, niter
        As there.
    device
        Where to work, such as ``"cuda"``.

    Returns
    -------
    ends, far, lost
        As there, with the same bits.

    Raises
    ------
    ValueError
        As `terapose.kernels.follow.is_planar`.
    """
    planar = is_planar(flows, shape)
    flat = torch.from_numpy(np.ascontiguousarray(flows)).to(device).reshape(len(flows), -1)
    field = _Field(flat, flows.shape[1:], origin, shape, planar)
    ends = np.empty_like(starts)
    far = np.empty(len(starts), np.float32)
    lost = np.empty(len(starts), np.bool_)
    for begin in range(0, len(starts), CHUNK):
        part = slice(begin, begin + CHUNK)
        ends[part], far[part], lost[part] = _chunk(field, starts[part], niter)
    return ends, far, lost
