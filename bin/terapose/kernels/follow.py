"""Follow flows to their end points, in the frame of the whole image.

Cellpose moves a point through the flow field for ``niter`` Euler steps with PyTorch's
``grid_sample`` (`cellpose.dynamics.steps_interp`). It scales positions by ``L - 1`` but samples
with ``align_corners=False``, that is at ``i * L / (L - 1) - 0.5``: where a point goes depends on
the size ``L`` of the whole image. So this kernel

1. keeps positions as Cellpose does, normalised to [-1, 1] over the *whole* image, in float32, and
   repeats PyTorch's operations in PyTorch's order: the bits are the same;
2. reads flows from a box of the image. A point that needs a flow from outside the box (but inside
   the image) is reported as *lost*, never clipped: the caller reads more and follows it again;
3. stops early only where nothing can change any more: at a position that a step leaves as it is,
   or in a cycle of two positions, of which the parity of the remaining steps picks the last.

Limits: every axis at least 2 voxels long (Cellpose divides by ``L - 1``) and below 2**24, where
float32 still tells neighbouring voxels apart.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_F = np.float32
_ONE, _TWO, _HALF, _ZERO = _F(1), _F(2), _F(0.5), _F(0)


@numba.njit(nogil=True, cache=True, inline="always")
def _source(p: np.float32, size: np.float32) -> np.float32:
    """Position in [-1, 1] as an index, as ``grid_sample(align_corners=False)`` has it."""
    return ((p + _ONE) * size - _ONE) / _TWO


@numba.njit(nogil=True, cache=True, inline="always")
def _clamp(p: np.float32) -> np.float32:
    return min(max(p, -_ONE), _ONE)


@numba.njit(nogil=True, cache=True)
def _step3(flows, origin, shape, z, y, x, out):  # type: ignore[no-untyped-def]
    """Sample three flow components at one point; False when a needed voxel was not read."""
    z0, y0, x0 = np.floor(z), np.floor(y), np.floor(x)
    iz, iy, ix = np.int64(z0), np.int64(y0), np.int64(x0)
    z1, y1, x1 = z0 + _ONE, y0 + _ONE, x0 + _ONE
    wz, wy, wx = (z1 - z, z - z0), (y1 - y, y - y0), (x1 - x, x - x0)
    _, nz, ny, nx = flows.shape
    a, b, c = _ZERO, _ZERO, _ZERO
    for dz in range(2):
        gz = iz + dz
        if gz < 0 or gz >= shape[0]:
            continue
        for dy in range(2):
            gy = iy + dy
            if gy < 0 or gy >= shape[1]:
                continue
            for dx in range(2):
                gx = ix + dx
                if gx < 0 or gx >= shape[2]:
                    continue
                lz, ly, lx = gz - origin[0], gy - origin[1], gx - origin[2]
                if lz < 0 or lz >= nz or ly < 0 or ly >= ny or lx < 0 or lx >= nx:
                    return False
                weight = wx[dx] * wy[dy] * wz[dz]
                a += flows[0, lz, ly, lx] * weight
                b += flows[1, lz, ly, lx] * weight
                c += flows[2, lz, ly, lx] * weight
    out[0], out[1], out[2] = a, b, c
    return True


@numba.njit(nogil=True, cache=True, parallel=True)
def _follow3(flows, origin, shape, starts, niter, ends, far, lost):  # type: ignore[no-untyped-def]
    fz, fy, fx = _F(shape[0]), _F(shape[1]), _F(shape[2])
    hz, hy, hx = _F(shape[0] - 1), _F(shape[1] - 1), _F(shape[2] - 1)
    for i in numba.prange(starts.shape[0]):
        sz, sy, sx = _F(starts[i, 0]), _F(starts[i, 1]), _F(starts[i, 2])
        z = sz / hz * _TWO - _ONE
        y = sy / hy * _TWO - _ONE
        x = sx / hx * _TWO - _ONE
        # the two positions before, to notice a fixed point or a cycle of two
        bz, by, bx = _F(9), _F(9), _F(9)
        step = np.empty(3, np.float32)
        reach = _ZERO
        t = 0
        while t < niter:
            iz, iy, ix = _source(z, fz), _source(y, fy), _source(x, fx)
            reach = max(reach, abs(iz - sz), abs(iy - sy), abs(ix - sx))
            if not _step3(flows, origin, shape, iz, iy, ix, step):
                lost[i] = True
                break
            nz, ny, nx = _clamp(z + step[0]), _clamp(y + step[1]), _clamp(x + step[2])
            t += 1
            if nz == z and ny == y and nx == x:
                break
            if nz == bz and ny == by and nx == bx:
                if (niter - t) % 2 == 0:
                    z, y, x = nz, ny, nx
                break
            bz, by, bx = z, y, x
            z, y, x = nz, ny, nx
        far[i] = reach
        ends[i, 0] = np.int32((z + _ONE) * _HALF * hz)
        ends[i, 1] = np.int32((y + _ONE) * _HALF * hy)
        ends[i, 2] = np.int32((x + _ONE) * _HALF * hx)


def follow(
    flows: NDArray[np.float32],
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    starts: NDArray[np.int32],
    niter: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Move points through a flow field that was read from a box of the image.

    Parameters
    ----------
    flows
        (3, Z, Y, X) float32: flows in the box in voxels a step, zero outside of cells, times
        ``2 / (L - 1)`` of each axis as `scale_flows` makes them.
    origin
        Where the box starts in the image (ZYX).
    shape
        Shape of the whole image (ZYX).
    starts
        (N, 3) int32 ZYX: voxels of the image to start from.
    niter
        Number of Euler steps.

    Returns
    -------
    ends : (N, 3) int32
        Voxels of the image in which the points end, truncated as Cellpose does.
    far : (N,) float32
        Largest excursion of each trajectory from its start (voxels, max norm).
    lost : (N,) bool
        Trajectories that left the box; their ``ends`` mean nothing.
    """
    n = len(starts)
    ends = np.empty((n, 3), np.int32)
    far = np.empty(n, np.float32)
    lost = np.zeros(n, np.bool_)
    _follow3(flows, origin, shape, starts, niter, ends, far, lost)
    return ends, far, lost


def scale_flows(
    flows: NDArray[np.float32],
    inside: NDArray[np.bool_],
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Make network flows ready for `follow`: ``flows * inside / 5 * 2 / (L - 1)``.

    The products are rounded to float32 one after another, as in `cellpose.dynamics`.

    Parameters
    ----------
    flows
        (3, Z, Y, X) float32 network flows; changed in place.
    inside
        (Z, Y, X) bool: voxels above the cell probability threshold.
    shape
        Shape of the whole image (ZYX).
    """
    flows *= inside
    flows /= _F(5)
    for component, length in zip(flows, shape, strict=True):
        component *= _F(2.0 / (length - 1))
    return flows
