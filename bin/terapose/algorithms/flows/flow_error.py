"""Flow errors: how far the flows of an object's shape are from those the network predicted.

A mask has its own flows: heat is fed into its centre and spread inside it, and the flow is the
normalised gradient of the heat. As `cellpose.dynamics.flow_error` has it, a mask's error is the
mean squared distance between them and the network's flows. For each object

1. the heat is spread for a number of rounds: one is added at the centre, then each voxel becomes
   the mean over itself and its neighbours, of which those outside the object count as zero;
2. the gradient takes the heat at both sides along each axis. In 2D Cellpose lets it see the heat
   of objects that touch, so these are needed too, whole; in 3D each object is by itself;
3. squared distances are averaged over the object's voxels in C order.

Sums are made in Cellpose's order, so the bits are the same wherever it defines them (PyTorch sums
the last few pixels of an image, at most 31, in an order that depends on the processor and on the
number of threads). Rounds end early only where a round changes no bit.

Halos: none beyond objects that are whole. Memory: at most 48 bytes for each voxel of the padded box
of the largest object, next to an int32 for each voxel of the box of labels; in 2D, where planes are
worked on one after another, next to 24 bytes for each pixel of a plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.boxes import box_table, cut_out
from terapose.algorithms.objects.numbered import numbered
from terapose.io.compiled import njit

_GAP = 64
"""Voxels between two stretches of an object below which one loop over both is faster than two."""


@njit
def _mean9(heat, out, inside, a, b, row):  # type: ignore[no-untyped-def]
    """A round of voxels ``a`` to ``b`` in a plane; slices, as these are what LLVM vectorises."""
    nine, zero = heat.dtype.type(9), heat.dtype.type(0)
    to, own, here = out[a:b], inside[a:b], heat[a - 1 : b + 1]
    low, high = heat[a - row - 1 : b - row + 1], heat[a + row - 1 : b + row + 1]
    for i in range(b - a):
        total = here[i + 1] + low[i + 1] + high[i + 1] + here[i] + here[i + 2]
        total = total + low[i] + low[i + 2] + high[i] + high[i + 2]
        to[i] = total / nine if own[i] else zero


@njit
def _mean7(heat, out, inside, a, b, row, plane):  # type: ignore[no-untyped-def]
    """A round of voxels ``a`` to ``b`` in a volume."""
    seven, zero = heat.dtype.type(7), heat.dtype.type(0)
    to, own, here = out[a:b], inside[a:b], heat[a - 1 : b + 1]
    z1, z0 = heat[a + plane : b + plane], heat[a - plane : b - plane]
    y1, y0 = heat[a + row : b + row], heat[a - row : b - row]
    for i in range(b - a):
        total = here[i + 1] + z1[i] + z0[i] + y1[i] + y0[i] + here[i + 2] + here[i]
        to[i] = total / seven if own[i] else zero


@njit
def _equal(one, other, spans):  # type: ignore[no-untyped-def]
    for a, b in spans:
        for i in range(a, b):
            if one[i] != other[i]:
                return False
    return True


@njit
def _position(place, row, plane, solid):  # type: ignore[no-untyped-def]
    """Position in the object's own box. Cellpose counts from 0 in 2D and from 1 in 3D."""
    z, y, x = place // plane, place % plane // row, place % row
    return (z, y, x) if solid else (z, y - 1, x - 1)


@njit
def _centre(places, row, plane, solid):  # type: ignore[no-untyped-def]
    """The place nearest to the mean position (in 2D: rounded, half to even), first of several."""
    mz, my, mx = 0.0, 0.0, 0.0
    for place in places:
        z, y, x = _position(place, row, plane, solid)
        mz, my, mx = mz + z, my + y, mx + x
    count = len(places)
    mz, my, mx = mz / count, my / count, mx / count
    if not solid:
        my, mx = np.rint(my), np.rint(mx)
    centre, nearest = places[0], np.inf
    for place in places:
        z, y, x = _position(place, row, plane, solid)
        # in this order, which decides between places that are as near but for rounding
        distance = (z - mz) ** 2 + (x - mx) ** 2 + (y - my) ** 2
        if distance < nearest:
            centre, nearest = place, distance
    return centre


@njit
def _spread(inside, places, row, plane, solid, rounds, heat, other):  # type: ignore[no-untyped-def]
    """Heat after ``rounds``, in whichever of the two arrays of zeros it ended in."""
    spans = [(places[0], places[0] + 1)]
    for place in places[1:]:
        a, b = spans[-1]
        if place - b < _GAP:
            spans[-1] = (a, place + 1)
        else:
            spans.append((place, place + 1))
    centre = _centre(places, row, plane, solid)
    for _ in range(rounds):
        before = heat[centre]
        heat[centre] += heat.dtype.type(1)
        for a, b in spans:
            if solid:
                _mean7(heat, other, inside, a, b, row, plane)
            else:
                _mean9(heat, other, inside, a, b, row)
        heat[centre] = before
        if _equal(heat, other, spans):
            break  # a round that changes no bit: nor will the others
        heat, other = other, heat
    return heat


@njit
def _squares(heat, places, steps, flows, length):  # type: ignore[no-untyped-def]
    """Squared distance at each place; ``steps`` is how far apart neighbours are on each axis."""
    squares = np.zeros(len(places))
    gradient = np.empty(len(steps))
    for i in range(len(places)):
        norm = 0.0
        for axis in range(len(steps)):
            step = steps[axis]
            gradient[axis] = heat[places[i] + step] - heat[places[i] - step]
            norm += gradient[axis] * gradient[axis]
        # 1e-60 defines the division at a symmetric centre and touches no real gradient
        norm = 1e-60 + np.sqrt(norm)
        for axis in range(len(steps)):
            # float32 divided by float32, as Cellpose rounds it
            difference = gradient[axis] / norm - flows[axis, i] / length
            squares[i] += difference * difference
    return squares


@njit
def _add_heat(local, boxes, rounds, heat):  # type: ignore[no-untyped-def]
    """Heat of all objects of a plane, each spread inside itself, into the padded plane."""
    for n in range(len(boxes)):
        if boxes[n, 3] == 0:
            continue
        inside, places, row, size = cut_out(local, n + 1, boxes[n], 0)
        one, other = np.zeros(size, heat.dtype), np.zeros(size, heat.dtype)
        own = _spread(inside, places, row, size, False, rounds, one, other)
        for place in places:
            heat[boxes[n, 1] + place // row, boxes[n, 2] + place % row] = own[place]


@njit
def _squares_2d(heat, local, number, box, flows, plane, length):  # type: ignore[no-untyped-def]
    """Squared distance at each pixel of an object of a plane, in C order."""
    _, places, row, _ = cut_out(local, number, box, 0)
    own = np.empty((2, len(places)), flows.dtype)
    for i in range(len(places)):
        y, x = box[1] + places[i] // row, box[2] + places[i] % row
        own[0, i], own[1, i] = flows[0, plane, y - 1, x - 1], flows[1, plane, y - 1, x - 1]
        places[i] = y * heat.shape[1] + x
    return _squares(heat.reshape(-1), places, np.array([heat.shape[1], 1]), own, length)


@njit
def _squares_3d(local, number, box, flows, length):  # type: ignore[no-untyped-def]
    """Squared distance at each voxel of an object of a volume, in C order."""
    inside, places, row, plane = cut_out(local, number, box, 1)
    rounds = 6 * (box[3] - box[0] + box[4] - box[1] + box[5] - box[2] + 3)
    one, other = np.zeros(len(inside)), np.zeros(len(inside))
    heat = _spread(inside, places, row, plane, True, rounds, one, other)
    own = np.empty((3, len(places)), flows.dtype)
    for i in range(len(places)):
        z, y, x = places[i] // plane, places[i] % plane // row, places[i] % row
        for axis in range(3):
            own[axis, i] = flows[axis, box[0] + z - 1, box[1] + y - 1, box[2] + x - 1]
    return _squares(heat, places, np.array([plane, row, 1]), own, length)


@njit
def _sum(values, first, stop):  # type: ignore[no-untyped-def]
    """Sum of 128 numbers or fewer, eight at a time."""
    total, last = 0.0, first
    if stop - first >= 8:
        last = stop - (stop - first) % 8
        a, b, c, d, e, f, g, h = values[first : first + 8]
        for i in range(first + 8, last, 8):
            a, b, c, d = a + values[i], b + values[i + 1], c + values[i + 2], d + values[i + 3]
            e, f, g, h = e + values[i + 4], f + values[i + 5], g + values[i + 6], h + values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(last, stop):
        total += values[i]
    return total


@njit
def mean(values):  # type: ignore[no-untyped-def]
    """Mean of (N,) float64, with the bits of ``values.mean()``: NumPy adds up by halves.

    Calls of itself, with which that is shorter, numba does not find again in its cache.
    """
    # first, stop and how many halves are added up; the sum of the first
    parts, sums = np.zeros((64, 3), np.int64), np.zeros(64)
    top, total, parts[0, 1] = 0, 0.0, len(values)
    while top >= 0:
        first, stop, done = parts[top]
        half = (stop - first) // 2
        middle = first + half - half % 8
        if stop - first <= 128:
            total, top = _sum(values, first, stop), top - 1
        elif done == 2:
            total, top = sums[top] + total, top - 1
        else:
            parts[top, 2], sums[top] = done + 1, total
            top += 1
            parts[top, 0] = middle if done else first
            parts[top, 1], parts[top, 2] = stop if done else middle, 0
    return total / len(values)


@njit
def _errors_2d(heat, local, numbers, boxes, flows, plane, length):  # type: ignore[no-untyped-def]
    """Mean squared distances of objects of a plane."""
    errors = np.empty(len(numbers))
    for i in range(len(numbers)):
        box = boxes[numbers[i] - 1]
        errors[i] = mean(_squares_2d(heat, local, numbers[i], box, flows, plane, length))
    return errors


@njit
def _errors_3d(local, boxes, flows, length):  # type: ignore[no-untyped-def]
    """The same of all objects of a volume."""
    errors = np.empty(len(boxes))
    for i in range(len(boxes)):
        errors[i] = mean(_squares_3d(local, i + 1, boxes[i], flows, length))
    return errors


def heat_2d(local: NDArray[np.int32], rounds: int, *, single: bool = False) -> NDArray[np.floating]:
    """Heat of all objects of a plane, each spread inside itself.

    Parameters
    ----------
    local
        (Y, X) int32: objects, numbered from 1 with few gaps; 0 is background.
    rounds
        Number of rounds; Cellpose takes twice the largest height + width + 2 of any object.
    single
        Float32, as Cellpose has it in planes of more than 4e7 pixels (after padding by one).

    Returns
    -------
    (Y + 2, X + 2) float64 or float32
        The plane padded by one pixel.
    """
    return _heat_of_plane(local, box_table(local), rounds, single=single)


def _heat_of_plane(
    local: NDArray[np.int32], boxes: NDArray[np.int64], rounds: int, *, single: bool
) -> NDArray[np.floating]:
    heat = np.zeros((local.shape[0] + 2, local.shape[1] + 2), np.float32 if single else np.float64)
    _add_heat(local[np.newaxis], boxes, rounds, heat)
    return heat


def flow_errors_2d(
    labels: NDArray[np.integer],
    flows: NDArray[np.float32],
    wanted: NDArray[np.integer],
    rounds: NDArray[np.int64],
    single: bool,
) -> NDArray[np.float64]:
    """Flow errors of objects of a single plane each, as `cellpose.dynamics.flow_error`.

    Parameters
    ----------
    labels
        (Z, Y, X) of any integer type, 0 is background. All objects in ``wanted``, and all that
        touch them across an edge of a pixel, are whole in this box.
    flows
        (2, Z, Y, X) float32 Y and X flows of the network, 5 times unit vectors, in the same box.
    wanted
        (N,) labels, sorted.
    rounds
        (Z,) int64: for each plane twice the largest height + width + 2 of *all* its objects, also
        of those outside of the box.
    single
        Whether heat is float32: in planes of the image of more than 4e7 pixels after padding.

    Returns
    -------
    (N,) float64
        Mean squared distance between unit vectors: 0 to 4 or so.

    Raises
    ------
    ValueError
        When one of these labels is not in the box.
    """
    wanted = wanted.astype(labels.dtype)
    errors = np.zeros(len(wanted))
    found = np.zeros(len(wanted), np.bool_)
    for z, (plane, turns) in enumerate(zip(labels, rounds, strict=True)):
        local = numbered(plane, wanted)
        rows = np.flatnonzero(np.bincount(local.ravel())[1:])
        if not len(rows):
            continue
        ids = np.union1d(wanted[rows], _touching(plane, local))
        local = numbered(plane, ids)
        boxes, own = box_table(local), local[np.newaxis]
        heat = _heat_of_plane(local, boxes, int(turns), single=single)
        numbers = np.searchsorted(ids, wanted[rows]) + 1
        errors[rows] = _errors_2d(heat, own, numbers, boxes, flows, z, np.float32(5))
        found[rows] = True
    _check_found(found, wanted)
    return errors


def flow_errors_3d(
    labels: NDArray[np.integer], flows: NDArray[np.float32], wanted: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Flow errors of objects of a volume, each by itself.

    Cellpose defines no flow error in 3D. This is its definition in 2D with the flows of
    `cellpose.dynamics.masks_to_flows_gpu_3d` of the object alone: heat from the voxel nearest to
    the mean position, spread over the six neighbours that share a face and the voxel itself for
    ``6 * (dz + dy + dx + 3)`` rounds, where these are the sides of the object's own box.

    Parameters
    ----------
    labels
        (Z, Y, X) of any integer type, 0 is background; the objects are whole in this box.
    flows
        (3, Z, Y, X) float32 Z, Y and X flows in the same box. Each is the *sum* of the predictions
        on two orientations of planes, so its mean is compared: unit vectors are ``flows / 10``.
    wanted
        (N,) labels, sorted.

    Returns
    -------
    (N,) float64
        Mean squared distance between unit vectors: 0 to 4 or so.

    Raises
    ------
    ValueError
        When one of these labels is not in the box.
    """
    local = numbered(labels, wanted)
    boxes = box_table(local, len(wanted))
    _check_found(boxes[:, 3] > 0, wanted)
    errors: NDArray[np.float64] = _errors_3d(local, boxes, flows, np.float32(10))
    return errors


def _touching(plane: NDArray[np.integer], local: NDArray[np.int32]) -> NDArray[np.integer]:
    """Labels other than background that share an edge of a pixel with a numbered object."""
    found = []
    for axis in range(2):
        turned, own = np.moveaxis(plane, axis, 0), np.moveaxis(local, axis, 0) > 0
        for here, there in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            found.append(turned[there][own[here] & (turned[there] != 0) & ~own[there]])
    return np.unique(np.concatenate(found))


def _check_found(found: NDArray[np.bool_], wanted: NDArray[np.integer]) -> None:
    if not found.all():
        missing = wanted[~found]
        raise ValueError(f"{len(missing)} wanted labels are not in the box, first {missing[0]}.")
