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
   is made. Before that it stops in a sink (`terapose.algorithms.flows.sinks`), where it is proved
   in which voxel it ends. With a tolerance (off by default) it stops where a step is shorter than
   that instead: then bits differ from PyTorch's, but still do not depend on the box;
4. moves many points at a time (`terapose.algorithms.flows.walk`), and reads the flow of a voxel as
   one vector: fields are interleaved, in a rim of zeros for what is beyond the image. Neither
   points nor components mix, so the bits stay the same.

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

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.flows.sampling import RIM, F, known
from terapose.algorithms.flows.sinks import NONE, Sinks, decays, find_sinks
from terapose.algorithms.flows.walk import walk_all
from terapose.core.geometry import ZYX
from terapose.io.compiled import njit

# of so many points one walks all steps, to see where points end; of fewer samples than that none
SAMPLE, LEAST_SAMPLE = 64, 20


@njit
def _interleave(flows, field):  # type: ignore[no-untyped-def]
    for z in range(flows.shape[1]):
        for y in range(flows.shape[2]):
            for x in range(flows.shape[3]):
                for c in range(flows.shape[0]):
                    field[z + 1, y + 1, x + 1, c] = flows[c, z, y, x]


def _interleaved(flows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flows (C, Z, Y, X) as vectors (Z + 3, Y + 3, X + 3, 2 or 4), in a rim of zeros."""
    field = np.zeros((*(n + RIM for n in flows.shape[1:]), 2 if len(flows) == 2 else 4), np.float32)
    _interleave(flows, field)
    return field


def is_planar(flows: NDArray[np.float32], shape: ZYX) -> bool:
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


@dataclass(frozen=True)
class _Walks:
    """Walks through a field: what `follow` is given, but for where they start."""

    field: NDArray[np.float32]
    origin: ZYX
    shape: ZYX
    niter: int
    planar: bool
    tolerance: np.float32

    def run(self, starts: NDArray[np.int32], sinks: Sinks = NONE) -> tuple[NDArray[Any], ...]:
        """Positions in voxels, excursions, who is lost, and how far each can get at most."""
        n = len(starts)
        places, far, most = np.empty((n, 3), np.float32), *np.zeros((2, n), np.float32)
        lost = np.zeros(n, np.bool_)
        given = (self.field, self.origin, self.shape, starts, self.niter, self.planar)
        walk_all(*given, self.tolerance, *sinks, decays(self.niter), places, far, lost, most)
        return places, far, lost, most

    def sinks(self, starts: NDArray[np.int32]) -> Sinks:
        """Sinks where some of the points end; none if there are few points.

        None with a tolerance, either: a point that stops early may do so in another voxel.
        """
        some = starts[::SAMPLE]
        if len(some) < LEAST_SAMPLE or self.tolerance > 0:
            return NONE
        places, _, lost, _ = self.run(some)
        sizes = [n - RIM for n in self.field.shape[:3]]
        within = np.array([known(*n) for n in zip(self.origin, sizes, self.shape, strict=True)])
        if self.planar:
            within[0] = 0, sizes[0] - 1
        ends = places[~lost]
        return find_sinks(self.field, self.shape, self.origin, within, ends, planar=self.planar)


def _walks(
    flows: NDArray[np.float32], origin: ZYX, shape: ZYX, niter: int, tolerance: float
) -> _Walks:
    planar = is_planar(flows, shape)
    return _Walks(_interleaved(flows), origin, shape, niter, planar, np.float32(tolerance))


def find_places(
    flows: NDArray[np.float32],
    origin: ZYX,
    shape: ZYX,
    starts: NDArray[np.int32],
    niter: int,
    tolerance: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Do as `follow` does, step by step, but give (N, 3) float32 positions in voxels.

    All excursions are those of the whole walk.
    """
    places, far, lost, _ = _walks(flows, origin, shape, niter, tolerance).run(starts)
    return places, far, lost


def follow(
    flows: NDArray[np.float32],
    origin: ZYX,
    shape: ZYX,
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
        Excursion of each trajectory from its start (voxels, max norm), at least that until it was
        certain where it ends; the largest of those that are not lost is that of whole walks.
    lost : (N,) bool
        Trajectories that left the box; their ``ends`` mean nothing.

    Raises
    ------
    ValueError
        As `is_planar`.
    """
    walks = _walks(flows, origin, shape, niter, tolerance)
    places, far, lost, most = walks.run(starts, walks.sinks(starts))
    # of some the excursion could have been larger than any that is known: these walk to the end
    unsure = (most > far[~lost].max(initial=0)) & (most > far) & ~lost
    if unsure.any():
        far[unsure] = walks.run(starts[unsure])[1]
    return places.astype(np.int32), far, lost


def scale_flows(
    flows: NDArray[np.float32],
    inside: NDArray[np.bool_],
    shape: ZYX,
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
    flows /= F(5)
    for component, length in zip(flows, lengths, strict=True):
        component *= F(2.0 / (length - 1))
    return flows
