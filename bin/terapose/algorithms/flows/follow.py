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
   or in a cycle. Now and then the positions of all points are remembered; a point that comes back
   to its own is in a cycle, and of the steps that are left only the remainder by the cycle's length
   is made. With a tolerance (off by default) also where a step is shorter than that: then bits
   differ from PyTorch's, but still do not depend on the box;
4. reads the flow of a voxel as one vector: fields are interleaved, in a rim of zeros
   for what is beyond the image. Components do not mix, so the bits stay the same.

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
2**24, where float32 still distinguishes neighbouring voxels.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic
from numpy.typing import NDArray

from terapose.io.compiled import njit

_F = np.float32
# points that are followed in turn, a step of each: enough to keep a processor's pipelines full
GROUP = 64
# planes, rows and columns of zeros around a field: one before; one after for the last voxel's
# neighbour, and one more for positions that are rounded up in very long axes
RIM = 3
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


def _vector(builder: Any, base: Any, index: Any, width: int) -> Any:
    """The vector of ``width`` float32 at an index of an interleaved field."""
    kind = ir.VectorType(ir.FloatType(), width)
    place = builder.add(base, builder.mul(index, ir.Constant(index.type, 4 * width)))
    vector = builder.load(builder.inttoptr(place, kind.as_pointer()))
    vector.align = 4
    return vector


def _spread(builder: Any, number: Any, width: int) -> Any:
    """A vector with one number in all places."""
    kind = ir.VectorType(ir.FloatType(), width)
    none = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(none, number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, none, zeros)


def _sampled2(
    _context: Any, _base: Any, _index: Any, _row: Any, _wx0: Any, _wx1: Any, _wy0: Any, _wy1: Any
) -> Any:
    """Flow (YX) between four pixels, with contractions: base, index, row, weights of X and Y."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, index, row, wx0, wx1, wy0, wy1 = args
        pair = ir.VectorType(ir.FloatType(), 2)
        fused = get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(pair, [pair] * 3), "llvm.fma.v2f32"
        )
        total = ir.Constant(pair, [0.0] * 2)
        for wy, line in ((wy0, index), (wy1, builder.add(index, row))):
            for dx, wx in enumerate((wx0, wx1)):
                place = builder.add(line, ir.Constant(line.type, dx))
                weight = _spread(builder, builder.fmul(wx, wy), 2)
                total = builder.call(fused, [_vector(builder, base, place, 2), weight, total])
        parts = [builder.extract_element(total, ir.IntType(32)(n)) for n in range(2)]
        return context.make_tuple(builder, signature.return_type, parts)

    given = (types.uintp, types.int64, types.int64, *[types.float32] * 4)
    return types.UniTuple(types.float32, 2)(*given), generate  # type: ignore[no-untyped-call]


def _sampled3(
    _context: Any,
    _base: Any,
    _index: Any,
    _row: Any,
    _plane: Any,
    _wx0: Any,
    _wx1: Any,
    _wy0: Any,
    _wy1: Any,
    _wz0: Any,
    _wz1: Any,
) -> Any:
    """Flow (ZYX) between eight voxels: base, index, row, plane, weights of X, Y and Z."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, index, row, plane, wx0, wx1, wy0, wy1, wz0, wz1 = args
        total = ir.Constant(ir.VectorType(ir.FloatType(), 4), [0.0] * 4)
        for wz, level in ((wz0, index), (wz1, builder.add(index, plane))):
            for wy, line in ((wy0, level), (wy1, builder.add(level, row))):
                for dx, wx in enumerate((wx0, wx1)):
                    place = builder.add(line, ir.Constant(line.type, dx))
                    number = builder.fmul(builder.fmul(wx, wy), wz)
                    flow = _vector(builder, base, place, 4)
                    total = builder.fadd(total, builder.fmul(flow, _spread(builder, number, 4)))
        parts = [builder.extract_element(total, ir.IntType(32)(n)) for n in range(3)]
        return context.make_tuple(builder, signature.return_type, parts)

    given = (types.uintp, types.int64, types.int64, types.int64, *[types.float32] * 6)
    return types.UniTuple(types.float32, 3)(*given), generate  # type: ignore[no-untyped-call]


_sample2: Any = intrinsic(_sampled2)
_sample3: Any = intrinsic(_sampled3)


@njit(inline="always")
def _known(origin, size, length):  # type: ignore[no-untyped-def]
    """First and last index in the box from which on two voxels are known.

    Beyond the image flows are zero, as the rim of the field is; beyond the box they are not known.
    """
    return (-1 if origin == 0 else 0), (size if origin + size == length else size - 2)


@njit(inline="always")
def _within(index, known):  # type: ignore[no-untyped-def]
    return known[0] <= index <= known[1]


@njit(inline="always")
def _sample(field, planar, lz, ly, lx, iz, iy, ix):  # type: ignore[no-untyped-def]
    """Flow (ZYX) at a position, whose voxel in the box is (lz, ly, lx)."""
    base, row = np.uintp(field.ctypes.data), np.int64(field.shape[2])
    plane = row * field.shape[1]
    at = (lz + 1) * plane + (ly + 1) * row + lx + 1
    z0, y0, x0 = np.floor(iz), np.floor(iy), np.floor(ix)
    if planar:
        n, w = iy - y0, ix - x0
        b, c = _sample2(base, at, row, _ONE - w, w, _ONE - n, n)
        return _ZERO, b, c
    wz, wy, wx = (z0 + _ONE - iz, iz - z0), (y0 + _ONE - iy, iy - y0), (x0 + _ONE - ix, ix - x0)
    return _sample3(base, at, row, plane, wx[0], wx[1], wy[0], wy[1], wz[0], wz[1])


@njit
def _walk(  # type: ignore[no-untyped-def]
    field, origin, shape, starts, niter, planar, tolerance, places, far, lost
):
    """Follow a few points in turn, a step of each: no point waits for its own last step."""
    fz, fy, fx = _F(shape[0]), _F(shape[1]), _F(shape[2])
    hz, hy, hx = _F(shape[0] - 1), _F(shape[1] - 1), _F(shape[2] - 1)
    # in units of positions; an axis that is not followed may have a single voxel
    tz = _ZERO if planar else tolerance * _TWO / hz
    ty, tx = tolerance * _TWO / hy, tolerance * _TWO / hx
    nz, ny, nx = field.shape[0] - RIM, field.shape[1] - RIM, field.shape[2] - RIM
    known_z = (0, nz - 1) if planar else _known(origin[0], nz, shape[0])
    known_y, known_x = _known(origin[1], ny, shape[1]), _known(origin[2], nx, shape[2])
    moving = len(starts)
    for i in range(moving):
        # in a plane z is not followed: it stays 0 here
        places[i, 0] = _ZERO if planar else _F(starts[i, 0]) / hz * _TWO - _ONE
        places[i, 1] = _F(starts[i, 1]) / hy * _TWO - _ONE
        places[i, 2] = _F(starts[i, 2]) / hx * _TWO - _ONE
    # of the points that move: which they are, where they are and where they were at the step that
    # is remembered, and after which step they stop
    who, now, past = np.arange(moving), places.copy(), np.full((moving, 3), _F(9))
    last = np.full(moving, niter)
    remembered, next_time = 0, 1
    for t in range(1, niter + 1):
        j = 0
        while j < moving:
            i = who[j]
            z, y, x = now[j, 0], now[j, 1], now[j, 2]
            sz, sy, sx = _F(starts[i, 0]), _F(starts[i, 1]), _F(starts[i, 2])
            iz = sz if planar else _source(z, fz, planar)
            iy, ix = _source(y, fy, planar), _source(x, fx, planar)
            far[i] = max(far[i], abs(iz - sz), abs(iy - sy), abs(ix - sx))
            lz, ly = np.int64(np.floor(iz)) - origin[0], np.int64(np.floor(iy)) - origin[1]
            lx = np.int64(np.floor(ix)) - origin[2]
            stop = not (_within(lz, known_z) and _within(ly, known_y) and _within(lx, known_x))
            # where flows are no numbers a position is none either: it stays so, and is not lost
            lost[i] = stop and iz == iz and iy == iy and ix == ix
            if not stop:
                a, b, c = _sample(field, planar, lz, ly, lx, iz, iy, ix)
                mz, my, mx = _clamp(z + a), _clamp(y + b), _clamp(x + c)
                now[j, 0], now[j, 1], now[j, 2] = mz, my, mx
                if last[j] == niter and mz == past[j, 0] and my == past[j, 1] and mx == past[j, 2]:
                    last[j] = t + (niter - t) % (t - remembered)
                still = abs(mz - z) <= tz and abs(my - y) <= ty and abs(mx - x) <= tx
                stop = still or t >= last[j]
            if not stop:
                j += 1
                continue
            moving -= 1
            who[j], last[j] = who[moving], last[moving]
            for k in range(3):
                places[i, k] = now[j, k]
                now[j, k], past[j, k] = now[moving, k], past[moving, k]
        if t == next_time:
            past[:moving] = now[:moving]
            remembered, next_time = t, t + (8 if t < 32 else 24)
    for i in range(len(starts)):
        places[i, 0] = _F(starts[i, 0]) if planar else (places[i, 0] + _ONE) * _HALF * hz
        places[i, 1] = (places[i, 1] + _ONE) * _HALF * hy
        places[i, 2] = (places[i, 2] + _ONE) * _HALF * hx


@njit(parallel=True)
def _follow(  # type: ignore[no-untyped-def]
    field, origin, shape, starts, niter, planar, tolerance, places, far, lost
):
    for group in numba.prange((len(starts) + GROUP - 1) // GROUP):
        at = slice(group * GROUP, (group + 1) * GROUP)
        _walk(
            field,
            origin,
            shape,
            starts[at],
            niter,
            planar,
            tolerance,
            places[at],
            far[at],
            lost[at],
        )


def _interleaved(flows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flows (C, Z, Y, X) as vectors (Z + 3, Y + 3, X + 3, 2 or 4), in a rim of zeros."""
    field = np.zeros((*(n + RIM for n in flows.shape[1:]), 2 if len(flows) == 2 else 4), np.float32)
    field[1:-2, 1:-2, 1:-2, : len(flows)] = np.moveaxis(flows, 0, -1)
    return field


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
    tolerance: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Do as `follow` does, but give (N, 3) float32 positions in voxels instead of end voxels."""
    n = len(starts)
    places = np.empty((n, 3), np.float32)
    far = np.zeros(n, np.float32)
    lost = np.zeros(n, np.bool_)
    planar = is_planar(flows, shape)
    field, short = _interleaved(flows), np.float32(tolerance)
    _follow(field, origin, shape, starts, niter, planar, short, places, far, lost)
    return places, far, lost


def follow(
    flows: NDArray[np.float32],
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    starts: NDArray[np.int32],
    niter: int,
    tolerance: float = 0.0,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Move points through a flow field that was read from a box of the image.

    Parameters
    ----------
    flows
        (3, Z, Y, X) float32: flows in the box in voxels a step, zero outside of cells, times
        ``2 / (L - 1)`` of each axis as `scale_flows` makes them. (2, Z, Y, X): flows along Y and X
        of planes that have nothing to do with one another.
    origin
        Where the box starts in the image (ZYX); no part of it is outside.
    shape
        Shape of the whole image (ZYX).
    starts
        (N, 3) int32 ZYX: voxels of the image to start from.
    niter
        Number of Euler steps.
    tolerance
        A point stops at a step that is shorter along each axis, in voxels.

    Returns
    -------
    ends : (N, 3) int32
        Voxels of the image in which the points end, truncated as Cellpose does. With two
        components the z of an end equals the z where it started.
    far : (N,) float32
        Largest excursion of each trajectory from its start (voxels, max norm).
    lost : (N,) bool
        Trajectories that left the box; their ``ends`` mean nothing.

    Raises
    ------
    ValueError
        As `is_planar`.
    """
    places, far, lost = find_places(flows, origin, shape, starts, niter, tolerance)
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
