"""Sample a flow field between voxels, with the bits of PyTorch's ``grid_sample``.

The field of a voxel is read as one vector: fields are interleaved, in a rim of zeros for what is
beyond the image. Components do not mix, so the bits stay the same. What is rounded where is said in
`terapose.algorithms.flows.follow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from terapose.io.compiled import njit

F = np.float32
# planes, rows and columns of zeros around a field: one before; one after for the last voxel's
# neighbour, and one more for positions that are rounded up in very long axes
RIM = 3
ONE, TWO, HALF, ZERO = F(1), F(2), F(0.5), F(0)


def _fused(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """``a * b + c`` rounded once, in float32."""

    def generate(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), generate


_fma: Any = intrinsic(_fused)


@njit(inline="always")
def source(p, size, planar):  # type: ignore[no-untyped-def]
    """Position in [-1, 1] as an index, as ``grid_sample(align_corners=False)`` has it."""
    if planar:
        return _fma(p + ONE, size * HALF, -HALF)
    return ((p + ONE) * size - ONE) / TWO


@njit(inline="always")
def clamp(p):  # type: ignore[no-untyped-def]
    return min(max(p, -ONE), ONE)


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
    _context: Any, _base: Any, _index: Any, _row: Any, _w0: Any, _w1: Any, _w2: Any, _w3: Any
) -> Any:
    """Flow (YX) between four pixels, with contractions: base, index, row, weights of the pixels."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, index, row, *weights = args
        pair = ir.VectorType(ir.FloatType(), 2)
        fused = get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(pair, [pair] * 3), "llvm.fma.v2f32"
        )
        total = ir.Constant(pair, [0.0] * 2)
        for n, weight in enumerate(weights):
            line = builder.add(index, row) if n & 2 else index
            flow = _vector(builder, base, builder.add(line, ir.Constant(line.type, n & 1)), 2)
            total = builder.call(fused, [flow, _spread(builder, weight, 2), total])
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
    _w0: Any,
    _w1: Any,
    _w2: Any,
    _w3: Any,
    _w4: Any,
    _w5: Any,
    _w6: Any,
    _w7: Any,
) -> Any:
    """Flow (ZYX) between eight voxels: base, index, row, plane, weights of the voxels."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, index, row, plane, *weights = args
        total = ir.Constant(ir.VectorType(ir.FloatType(), 4), [0.0] * 4)
        for n, weight in enumerate(weights):
            level = builder.add(index, plane) if n & 4 else index
            line = builder.add(level, row) if n & 2 else level
            flow = _vector(builder, base, builder.add(line, ir.Constant(line.type, n & 1)), 4)
            total = builder.fadd(total, builder.fmul(flow, _spread(builder, weight, 4)))
        parts = [builder.extract_element(total, ir.IntType(32)(n)) for n in range(3)]
        return context.make_tuple(builder, signature.return_type, parts)

    given = (types.uintp, types.int64, types.int64, types.int64, *[types.float32] * 8)
    return types.UniTuple(types.float32, 3)(*given), generate  # type: ignore[no-untyped-call]


sample_plane: Any = intrinsic(_sampled2)
sample_volume: Any = intrinsic(_sampled3)


@njit(inline="always")
def known(origin, size, length):  # type: ignore[no-untyped-def]
    """First and last index in the box from which on two voxels are known.

    Beyond the image flows are zero, as the rim of the field is; beyond the box they are not known.
    """
    return (-1 if origin == 0 else 0), (size if origin + size == length else size - 2)


@njit(inline="always")
def within(index, known):  # type: ignore[no-untyped-def]
    return known[0] <= index <= known[1]
