"""Flow errors, bit by bit against Cellpose's own.

PyTorch sums the last few pixels of an image (at most 31) in another order than all others, one
that depends on the processor and on the number of threads. Each oracle therefore gets a *ballast*:
an object after all others, of which nothing is compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cellpose import dynamics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from tests.fields import Labels, balls, to_centres
from tests.memory import alone, traced_again

from terapose.algorithms.flows.flow_error import flow_errors_2d, flow_errors_3d, mean

Errors = NDArray[np.float64]
CPU = torch.device("cpu")
EDGE = 6
"""The ballast's edge: a square or a cube of more than 31 pixels."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Where threads cut an image into parts, each part has last pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def blobs(seed: int, shape: tuple[int, int], count: int = 12) -> Labels:
    """Touching ellipses in any number of pieces, then single pixels; dense, then the ballast."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int64)
    for number in range(1, count + 1):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(1, 14)
        stretch = rng.uniform(0.3, 3)
        labels[(y - cy) ** 2 * stretch + (x - cx) ** 2 / stretch < r * r] = number
    for number in range(count + 1, count + 5):
        labels[rng.integers(shape[0]), rng.integers(shape[1])] = number
    dense = np.unique(labels, return_inverse=True)[1].reshape(shape)
    return ballast(dense + int(labels.all()))


def ballast(labels: Labels) -> Labels:
    """The same with an object after all others in C order; at least as wide as it."""
    shape = (labels.shape[0] + EDGE + 1, *(max(n, EDGE) for n in labels.shape[1:]))
    result = np.zeros(shape, np.int64)
    result[tuple(slice(n) for n in labels.shape)] = labels
    result[(slice(-EDGE, None), *[slice(EDGE)] * (labels.ndim - 1))] = labels.max() + 1
    return result


def noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (min(len(shape), 3), *shape)).astype(np.float32)


def rounds_of(plane: Labels) -> NDArray[np.int64]:
    sides = [sum(s.stop - s.start for s in box) for box in ndimage.find_objects(plane)]
    return np.array([2 * (max(sides) + 2)])


def extent(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    return tuple(ndimage.find_objects(inside.astype(np.uint8))[0])


def cellpose_errors(plane: Labels, flows: NDArray[np.float32]) -> Errors:
    """Of all objects but the ballast."""
    return np.asarray(dynamics.flow_error(plane, flows, CPU)[0])[:-1]


def of_plane(plane: Labels, flows: NDArray[np.float32]) -> Errors:
    wanted = np.arange(1, plane.max())
    return flow_errors_2d(plane[None], flows[:, None], wanted, rounds_of(plane), False)


@pytest.mark.parametrize("seed", range(5))
def test_planes_as_cellpose(seed: int) -> None:
    plane = blobs(seed, (61, 83))
    flows = noise(seed, plane.shape)
    np.testing.assert_array_equal(of_plane(plane, flows), cellpose_errors(plane, flows))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_crops_as_cellpose_on_the_plane(seed: int, data: st.DataObject) -> None:
    plane = blobs(seed, (45, 52), count=9)
    flows = noise(seed, plane.shape)
    expected = cellpose_errors(plane, flows)
    some = data.draw(st.sets(st.integers(1, len(expected)), min_size=1, max_size=4))
    wanted = np.array(sorted(some))
    near = ndimage.binary_dilation(np.isin(plane, wanted))  # across edges of pixels
    needed = extent(np.isin(plane, np.unique(plane[near & (plane > 0)])))
    margin = data.draw(st.integers(0, 3))
    box = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in needed)
    labels = (plane[box][None] * 1000).astype(np.uint32)
    errors = flow_errors_2d(
        labels, flows[:, None][:, :, *box], wanted * 1000, rounds_of(plane), False
    )
    np.testing.assert_array_equal(errors, expected[wanted - 1])


def test_each_plane_by_itself() -> None:
    planes = [blobs(seed, (40, 50)) for seed in (7, 8, 9)]
    first = np.cumsum([0, *(p.max() for p in planes)])[:-1]
    labels = np.stack([np.where(p > 0, p + n, 0) for p, n in zip(planes, first, strict=True)])
    flows = noise(3, labels.shape)[:2]
    rounds = np.concatenate([rounds_of(p) for p in planes])
    wanted = np.concatenate([np.arange(1, p.max()) + n for p, n in zip(planes, first, strict=True)])
    expected = [cellpose_errors(p, flows[:, z]) for z, p in enumerate(planes)]
    errors = flow_errors_2d(labels.astype(np.uint64), flows, wanted, rounds, False)
    np.testing.assert_array_equal(errors, np.concatenate(expected))


def test_rounds_that_change_nothing_any_more() -> None:
    plane = np.zeros((30, 700), np.int64)
    plane[2, 1:690] = 1  # 1384 rounds, which small objects do not need
    plane[5, 3], plane[8:11, 3:7], plane[8:20, 7:20] = 2, 3, 4
    plane = ballast(plane)
    flows = noise(1, plane.shape)
    np.testing.assert_array_equal(of_plane(plane, flows), cellpose_errors(plane, flows))


def test_pieces_far_apart() -> None:
    plane = np.zeros((90, 300), np.int64)
    plane[2:9, 3:11] = plane[80:88, 270:290] = plane[40, 100] = 1
    plane[9:20, 5:9] = plane[60:70, 30:33] = 2
    plane = ballast(plane)
    flows = noise(2, plane.shape)
    np.testing.assert_array_equal(of_plane(plane, flows), cellpose_errors(plane, flows))


def single_errors(plane: Labels, flows: NDArray[np.float32], rounds: int) -> Errors:
    """Cellpose's diffusion as if the plane were part of one of more than 4e7 pixels."""
    large = (6400, 6400)
    y, x = np.nonzero(plane)
    dy, dx = [0, -1, 1, 0, 0, -1, -1, 1, 1], [0, 0, 0, -1, 1, -1, 1, -1, 1]
    places = np.stack([[y + a + 1 for a in dy], [x + a + 1 for a in dx]])
    padded = np.pad(plane, 1)
    same = padded[places[0], places[1]] == plane[y, x]
    centres = dynamics.get_centers(plane, ndimage.find_objects(plane))[0] + 1
    mu = dynamics._extend_centers_gpu(
        torch.from_numpy(places),
        torch.from_numpy(centres),
        torch.from_numpy(same),
        large,
        n_iter=rounds,
        device=CPU,
    )
    assert mu.dtype == np.float32
    mu = mu.astype("float64")
    mu /= 1e-60 + (mu**2).sum(axis=0) ** 0.5
    squares = ((mu - flows[:, y, x] / 5.0) ** 2).sum(axis=0)
    return np.array([squares[plane[y, x] == n].mean() for n in range(1, plane.max())])


def test_single_precision_of_large_planes() -> None:
    plane = ballast(blobs(4, (61, 83)))  # float32 has twice as many last pixels: two ballasts
    flows = noise(4, plane.shape)
    rounds = rounds_of(plane)
    wanted = np.arange(1, plane.max())
    errors = flow_errors_2d(plane[None], flows[:, None], wanted, rounds, True)
    expected = single_errors(plane, flows, int(rounds[0]))
    np.testing.assert_array_equal(errors[:-1], expected[:-1])
    assert (errors != of_plane(plane, flows)).any()


def cellpose_error_3d(inside: NDArray[np.bool_], flows: NDArray[np.float32], exact: bool) -> float:
    """Of one object alone; with the ballast behind it if bits matter."""
    labels = inside.astype(np.int64)
    if exact:
        rounds = 6 * sum(s.stop - s.start + 1 for s in extent(inside))
        mu = dynamics.masks_to_flows_gpu_3d(ballast(labels), device=CPU, niter=rounds)
        mu = mu[:, *(slice(n) for n in labels.shape)]
    else:
        mu = dynamics.masks_to_flows_gpu_3d(labels, device=CPU)
    return float(((mu - flows / 10.0) ** 2).sum(axis=0)[inside].mean())


def volume(seed: int) -> Labels:
    """Touching balls, some cut by the border; one in two pieces, one of a single voxel."""
    labels = balls((17, 22, 25), seed=seed, count=7, radius=6)
    labels[0, 0, :5] = labels[16, 20:, 20:] = 8
    labels[8, 11, 12] = 9
    return labels


@pytest.mark.parametrize("seed", range(3))
def test_volumes_as_cellpose_of_each_object_alone(seed: int) -> None:
    labels = volume(seed)
    flows = noise(seed, labels.shape)
    wanted = np.unique(labels[labels > 0])
    errors = flow_errors_3d((labels * 7).astype(np.uint32), flows, wanted * 7)
    exact = [cellpose_error_3d(labels == n, flows, True) for n in wanted]
    np.testing.assert_array_equal(errors, exact)
    stock = [cellpose_error_3d(labels == n, flows, False) for n in wanted]
    np.testing.assert_allclose(errors, stock, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_crops_of_volumes(seed: int, data: st.DataObject) -> None:
    labels = volume(seed)
    flows = noise(seed, labels.shape)
    ids = np.unique(labels[labels > 0])
    wanted = np.array(sorted(data.draw(st.sets(st.sampled_from(list(ids)), min_size=1))))
    box = extent(np.isin(labels, wanted))
    whole = flow_errors_3d(labels, flows, ids)
    crop = flow_errors_3d(labels[box], flows[:, *box], wanted)
    np.testing.assert_array_equal(crop, whole[np.searchsorted(ids, wanted)])


def test_tells_merged_objects_from_good_ones() -> None:
    z, y, x = np.indices((22, 22, 42))
    labels = np.zeros(z.shape, np.int64)
    labels[(z - 10.5) ** 2 + (y - 10.5) ** 2 + (x - 10.5) ** 2 < 100] = 1
    labels[(z - 10.5) ** 2 + (y - 10.5) ** 2 + (x - 30.5) ** 2 < 100] = 2
    flows = 2 * to_centres(labels)[:3]
    good = flow_errors_3d(labels, flows, np.array([1, 2]))
    merged = flow_errors_3d((labels > 0).astype(np.uint8), flows, np.array([1]))
    assert good.max() < 0.05
    assert merged[0] > 0.4


def test_memory_is_that_of_the_largest_object() -> None:
    labels = np.ones((64, 64, 64), np.uint8)
    flows = np.zeros((3, *labels.shape), np.float32)
    _, peak = alone(traced_again, flow_errors_3d, labels, flows, np.array([1]))
    assert peak < 48 * 66**3 + 4 * labels.size
    plane, flows = labels.reshape(1, 512, 512), flows[:2].reshape(2, 1, 512, 512)
    arguments = (plane, flows, np.array([1]), np.array([10]), False)
    _, peak = alone(traced_again, flow_errors_2d, *arguments)
    assert peak < (48 + 24) * 514**2


def test_nothing_wanted() -> None:
    labels, none = np.zeros((2, 5, 6), np.uint16), np.zeros(0, np.int64)
    flows = noise(0, labels.shape)
    assert flow_errors_3d(labels, flows, none).shape == (0,)
    assert flow_errors_2d(labels, flows[:2], none, np.zeros(2, np.int64), False).shape == (0,)


def test_a_label_that_is_not_there() -> None:
    labels, wanted = np.zeros((1, 5, 6), np.uint16), np.array([1, 3])
    labels[0, 2, 2:4] = 1
    flows = noise(0, labels.shape)
    message = "1 wanted labels are not in the box, first 3"
    with pytest.raises(ValueError, match=message):
        flow_errors_3d(labels, flows, wanted)
    with pytest.raises(ValueError, match=message):
        flow_errors_2d(labels, flows[:2], wanted, np.array([10]), False)


def test_a_mean_has_the_bits_of_numpys() -> None:
    rng = np.random.default_rng(0)
    for count in (*range(1, 700), 1000, 4097, 70_001):
        values = rng.random(count) * 10.0 ** rng.integers(-3, 4, count)
        assert mean(values) == values.mean(), count
