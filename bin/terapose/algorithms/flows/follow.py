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

Flows of three components move points in the volume, flows of two components in the plane: each
plane of a stack by itself. PyTorch samples the two with different code, and so does this kernel:

- volume (scalar code, every operation rounded): index ``i = ((p + 1) * L - 1) / 2``; weights
  ``floor(i) + 1 - i`` and ``i - floor(i)``; sums ``sum + flow * weight``;
- plane (vectorised code, which the compiler contracts): index ``i = fma(p + 1, L / 2, -0.5)``;
  weights ``1 - w`` and ``w = i - floor(i)``; sums ``fma(flow, weight, sum)``.

The contractions are those of PyTorch's AVX2 and AVX-512 code for x86-64. Here they are asked for
by name (`_fma`), so the result is the same on any processor. In planes of more than 2**31 pixels
PyTorch falls back to scalar code; this kernel keeps to its formula.

Limits: every axis that is followed at least 2 voxels long (Cellpose divides by ``L - 1``) and below
2**24, where float32 still tells neighbouring voxels apart.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from terapose.io.compiled import njit

_F = np.float32
# points that are followed in turn, a step of each: enough to keep a processor's pipelines full
GROUP = 64
_ONE, _TWO, _HALF, _ZERO = _F(1), _F(2), _F(0.5), _F(0)


def _fused(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """``a * b + c`` rounded once, in float32."""

    def generate(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), generate


_fma: Any = intrinsic(_fused)


@njit(inline="always")
def _source(p, size, planar):  # type: ignore[no-untyped-def]
    """Position in [-1, 1] as an index, as ``grid_sample(align_corners=False)`` has it."""
    if planar:
        return _fma(p + _ONE, size * _HALF, -_HALF)
    return ((p + _ONE) * size - _ONE) / _TWO


@njit(inline="always")
def _clamp(p):  # type: ignore[no-untyped-def]
    return min(max(p, -_ONE), _ONE)


@njit(inline="always")
def _step2(flows, origin, shape, gz, y, x):  # type: ignore[no-untyped-def]
    """Sample flows in plane ``gz``: whether all that is needed was read, and the flow (ZYX)."""
    y0, x0 = np.floor(y), np.floor(x)
    iy, ix = np.int64(y0), np.int64(x0)
    n, w = y - y0, x - x0
    wy, wx = (_ONE - n, n), (_ONE - w, w)
    _, nz, ny, nx = flows.shape
    lz, ly0, lx0 = gz - origin[0], iy - origin[1], ix - origin[2]
    b, c = _ZERO, _ZERO
    if lz < 0 or lz >= nz:
        return False, _ZERO, b, c
    inner = 0 <= ly0 < ny - 1 and 0 <= lx0 < nx - 1
    for dy in range(2):
        for dx in range(2):
            ly, lx = ly0 + dy, lx0 + dx
            if not inner:
                gy, gx = iy + dy, ix + dx
                if gy < 0 or gy >= shape[1] or gx < 0 or gx >= shape[2]:
                    continue
                if ly < 0 or ly >= ny or lx < 0 or lx >= nx:
                    return False, _ZERO, b, c
            weight = wx[dx] * wy[dy]
            b = _fma(flows[0, lz, ly, lx], weight, b)
            c = _fma(flows[1, lz, ly, lx], weight, c)
    return True, _ZERO, b, c


@njit
def _step3(flows, origin, shape, z, y, x):  # type: ignore[no-untyped-def]
    """Sample flows in the volume: whether all that is needed was read, and the flow (ZYX)."""
    z0, y0, x0 = np.floor(z), np.floor(y), np.floor(x)
    iz, iy, ix = np.int64(z0), np.int64(y0), np.int64(x0)
    wz, wy, wx = (z0 + _ONE - z, z - z0), (y0 + _ONE - y, y - y0), (x0 + _ONE - x, x - x0)
    _, nz, ny, nx = flows.shape
    lz0, ly0, lx0 = iz - origin[0], iy - origin[1], ix - origin[2]
    inner = 0 <= lz0 < nz - 1 and 0 <= ly0 < ny - 1 and 0 <= lx0 < nx - 1
    a, b, c = _ZERO, _ZERO, _ZERO
    for dz in range(2):
        for dy in range(2):
            for dx in range(2):
                lz, ly, lx = lz0 + dz, ly0 + dy, lx0 + dx
                if not inner:
                    gz, gy, gx = iz + dz, iy + dy, ix + dx
                    if gz < 0 or gz >= shape[0] or gy < 0 or gy >= shape[1]:
                        continue
                    if gx < 0 or gx >= shape[2]:
                        continue
                    if lz < 0 or lz >= nz or ly < 0 or ly >= ny or lx < 0 or lx >= nx:
                        return False, a, b, c
                weight = wx[dx] * wy[dy] * wz[dz]
                a += flows[0, lz, ly, lx] * weight
                b += flows[1, lz, ly, lx] * weight
                c += flows[2, lz, ly, lx] * weight
    return True, a, b, c


@njit
def _walk(  # type: ignore[no-untyped-def]
    flows, origin, shape, starts, niter, planar, places, far, lost
):
    """Follow a few points in turn, a step of each: no point waits for its own last step."""
    fz, fy, fx = _F(shape[0]), _F(shape[1]), _F(shape[2])
    hz, hy, hx = _F(shape[0] - 1), _F(shape[1] - 1), _F(shape[2] - 1)
    moving = len(starts)
    for i in range(moving):
        # in a plane z is not followed: it stays 0 here
        places[i, 0] = _ZERO if planar else _F(starts[i, 0]) / hz * _TWO - _ONE
        places[i, 1] = _F(starts[i, 1]) / hy * _TWO - _ONE
        places[i, 2] = _F(starts[i, 2]) / hx * _TWO - _ONE
    # of the points that move: which they are, where they are and were a step before
    who, now, before = np.arange(moving), places.copy(), np.full((moving, 3), _F(9))
    for t in range(1, niter + 1):
        j = 0
        while j < moving:
            i = who[j]
            z, y, x = now[j, 0], now[j, 1], now[j, 2]
            sz, sy, sx = _F(starts[i, 0]), _F(starts[i, 1]), _F(starts[i, 2])
            iz = sz if planar else _source(z, fz, planar)
            iy, ix = _source(y, fy, planar), _source(x, fx, planar)
            far[i] = max(far[i], abs(iz - sz), abs(iy - sy), abs(ix - sx))
            if planar:
                read, a, b, c = _step2(flows, origin, shape, starts[i, 0], iy, ix)
            else:
                read, a, b, c = _step3(flows, origin, shape, iz, iy, ix)
            nz, ny, nx = _clamp(z + a), _clamp(y + b), _clamp(x + c)
            fixed = nz == z and ny == y and nx == x
            cycle = nz == before[j, 0] and ny == before[j, 1] and nx == before[j, 2]
            if read and not (cycle and (niter - t) % 2 == 1):
                now[j, 0], now[j, 1], now[j, 2] = nz, ny, nx
            if read and not fixed and not cycle and t < niter:
                before[j, 0], before[j, 1], before[j, 2] = z, y, x
                j += 1
                continue
            lost[i] = not read
            moving -= 1
            who[j] = who[moving]
            for k in range(3):
                places[i, k] = now[j, k]
                now[j, k], before[j, k] = now[moving, k], before[moving, k]
    for i in range(len(starts)):
        places[i, 0] = _F(starts[i, 0]) if planar else (places[i, 0] + _ONE) * _HALF * hz
        places[i, 1] = (places[i, 1] + _ONE) * _HALF * hy
        places[i, 2] = (places[i, 2] + _ONE) * _HALF * hx


@njit(parallel=True)
def _follow(  # type: ignore[no-untyped-def]
    flows, origin, shape, starts, niter, planar, places, far, lost
):
    for group in numba.prange((len(starts) + GROUP - 1) // GROUP):
        at = slice(group * GROUP, (group + 1) * GROUP)
        _walk(flows, origin, shape, starts[at], niter, planar, places[at], far[at], lost[at])


def is_planar(flows: NDArray[np.float32], shape: tuple[int, int, int]) -> bool:
    """Whether flows (C, Z, Y, X) move points in the plane (C = 2) or in the volume (C = 3).

    Raises
    ------
    ValueError
        When there are neither two nor three components, or an axis that is followed has length 1.
    """
    if len(flows) not in (2, 3):
        raise ValueError(f"flows have 2 or 3 components, not {len(flows)}")
    if min(shape[-len(flows) :]) < 2:
        raise ValueError(f"every axis that is followed is at least 2 long, not as in {shape}")
    return len(flows) == 2


def find_places(
    flows: NDArray[np.float32],
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    starts: NDArray[np.int32],
    niter: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Do as `follow` does, but give (N, 3) float32 positions in voxels instead of end voxels."""
    n = len(starts)
    places = np.empty((n, 3), np.float32)
    far = np.zeros(n, np.float32)
    lost = np.zeros(n, np.bool_)
    _follow(flows, origin, shape, starts, niter, is_planar(flows, shape), places, far, lost)
    return places, far, lost


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
        ``2 / (L - 1)`` of each axis as `scale_flows` makes them. (2, Z, Y, X): flows along Y and X
        of planes that have nothing to do with one another.
    origin
        Where the box starts in the image (ZYX); no part of it lies outside.
    shape
        Shape of the whole image (ZYX).
    starts
        (N, 3) int32 ZYX: voxels of the image to start from.
    niter
        Number of Euler steps.

    Returns
    -------
    ends : (N, 3) int32
        Voxels of the image in which the points end, truncated as Cellpose does. With two
        components the z of an end is that of its start.
    far : (N,) float32
        Largest excursion of each trajectory from its start (voxels, max norm).
    lost : (N,) bool
        Trajectories that left the box; their ``ends`` mean nothing.

    Raises
    ------
    ValueError
        As `is_planar`.
    """
    places, far, lost = find_places(flows, origin, shape, starts, niter)
    return places.astype(np.int32), far, lost


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
        (3, Z, Y, X) or, along Y and X, (2, Z, Y, X) float32 network flows; changed in place.
    inside
        (Z, Y, X) bool: voxels above the cell probability threshold.
    shape
        Shape of the whole image (ZYX).

    Raises
    ------
    ValueError
        As `is_planar`.
    """
    lengths = shape[1:] if is_planar(flows, shape) else shape
    flows *= inside
    flows /= _F(5)
    for component, length in zip(flows, lengths, strict=True):
        component *= _F(2.0 / (length - 1))
    return flows
