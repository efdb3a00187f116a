"""Percentiles of the whole image, whatever the blocks, against NumPy and Cellpose."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cellpose import transforms
from numpy.typing import NDArray
from tests.fields import prepared, scatter

from terapose.algorithms.normalize.histogram import (
    Histogram,
    WindowMissedError,
    keys,
    normalize,
    values_of,
)
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Grid
from terapose.intermediates.intensities import sampled, stride
from terapose.intermediates.normalizing.histograms import pack, unpack
from terapose.pipeline.job import Job
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State

SHAPE = (18, 20, 22)
INTEGERS = ["uint8", "uint16", "int8", "int16", "uint32", "int32"]
FLOATS = ["float32", "float64", "float16"]


def image_of(dtype: str, seed: int = 0) -> NDArray[Any]:
    """Values over much of what a type can hold, negative ones too, skewed as images are."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(1.5, 1.0, SHAPE) * 40
    if dtype in ("float32", "float64", "float16"):
        return (values / 17 - 3).astype(dtype)
    if dtype == "int8":
        return (values / 4 - 20).clip(-128, 127).astype(dtype)
    if dtype == "uint8":
        return values.clip(0, 255).astype(dtype)
    low = 0 if dtype.startswith("u") else -3000
    wide = 70_000 if dtype.endswith("32") else 120
    return (values * wide + low).clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def scaled(folder: Path, model: Path, image: NDArray[Any], **params: Any) -> State:
    """Run ``intensities`` and ``percentiles``."""
    params.setdefault("block_shape", (7, 11, 22))
    plan, store = prepared(folder, model, image, max_tasks=3, **params)
    receipts = scatter(plan, store, "intensities", {}, State())
    return run_gather(Job(plan, store, "percentiles", 0, {}, State()), receipts)


@pytest.mark.parametrize(
    ("dtype", "ends"),
    [
        *((dtype, (1.0, 99.0)) for dtype in INTEGERS + FLOATS),
        *((dtype, (0.0, 100.0)) for dtype in ("uint8", "int16", "float32")),
        *((dtype, (2.5, 99.97)) for dtype in ("uint16", "float32")),
    ],
)
def test_percentiles_are_exact(
    dtype: str, ends: tuple[float, float], tmp_path: Path, tiny_model: Path
) -> None:
    image = image_of(dtype)
    state = scaled(tmp_path, tiny_model, image, percentiles=list(ends))
    expected = np.percentile(image.astype(np.float32), ends).astype(np.float32)
    np.testing.assert_array_equal([state.low[0], state.high[0]], expected)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_median_of_blocks_would_be_wrong(dtype: str, tmp_path: Path, tiny_model: Path) -> None:
    """All that is bright lies in one block."""
    image = image_of(dtype)
    image[:6, :9, :11] += 400
    blocks = Grid(SHAPE, (6, 10, 11))
    median = np.median([np.percentile(image[b.slices], 99) for b in blocks])
    truth = np.percentile(image.astype(np.float32), 99)
    assert median < truth - 100
    state = scaled(tmp_path, tiny_model, image, block_shape=(6, 10, 11))
    assert state.high == (float(np.float32(truth)),)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float32"])
def test_foreground_alone(dtype: str, tmp_path: Path, tiny_model: Path) -> None:
    image = image_of(dtype)
    least = float(np.percentile(image, 60))
    state = scaled(tmp_path, tiny_model, image, foreground_min=least)
    values = image[image >= least].astype(np.float32)
    expected = np.percentile(values, (1, 99)).astype(np.float32)
    np.testing.assert_array_equal([state.low[0], state.high[0]], expected)
    with pytest.raises(InputError, match="no voxel reaches foreground_min"):
        scaled(tmp_path, tiny_model, image, foreground_min=float(image.max()) * 2 + 1)


@pytest.mark.parametrize("dtype", ["float32", "uint32"])
def test_a_sample_that_misses_costs_time_not_exactness(
    dtype: str, tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The plan looks at the middle of a few places: here all of them are empty."""
    image = np.zeros((18, 400, 22), dtype)
    image[:, :20] = image_of(dtype)
    with caplog.at_level(logging.WARNING):
        state = scaled(tmp_path, tiny_model, image, percentiles=[1, 97], block_shape=(18, 150, 22))
    assert "the sample missed a percentile" in caplog.text
    expected = np.percentile(image.astype(np.float32), (1, 97)).astype(np.float32)
    np.testing.assert_array_equal([state.low[0], state.high[0]], expected)


def test_a_histogram_does_not_guess() -> None:
    histogram = Histogram.empty(np.dtype("float32"))
    values = np.linspace(0, 1, 10_001, dtype=np.float32)
    histogram.add(values)
    with pytest.raises(WindowMissedError) as missed:
        histogram.percentiles([50])
    again = Histogram.empty(np.dtype("float32"), missed.value.windows)
    again.add(values)
    assert again.percentiles([50]) == [np.float32(0.5)]


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_keys_keep_the_order_of_values(dtype: str) -> None:
    values = np.sort(image_of(dtype).ravel())
    found, wide = keys(values)
    assert wide == (np.dtype(dtype).itemsize > 2 or dtype == "float16")
    assert (np.diff(found.astype(np.int64)) >= 0).all()
    np.testing.assert_array_equal(values_of(found, np.dtype(dtype)), values.astype(np.float32))
    edges = np.array([-np.inf, -1.5, -0.0, 0.0, 1e-42, np.inf], np.float32)
    assert (np.diff(keys(edges)[0].astype(np.int64)) > 0).all()


def test_histograms_add_up() -> None:
    image = image_of("float32")
    windows = {0x3F7F, *range(0xBF80, 0xBF90), *range(0xC000, 0xC020)}
    whole = Histogram.empty(image.dtype, windows)
    whole.add(image)
    total = Histogram.empty(image.dtype)
    for block in Grid(SHAPE, (7, 8, 9)):
        part = Histogram.empty(image.dtype, windows)
        part.add(image[block.slices])
        total.merge(unpack(pack([part]), "float32", 1)[0])
    assert total.count == image.size
    np.testing.assert_array_equal(total.coarse, whole.coarse)
    assert set(total.fine) == windows
    for window in windows:
        np.testing.assert_array_equal(total.fine[window], whole.fine[window])


@pytest.mark.parametrize("shape", [(300, 500, 460), (24, 900, 1000), (1000, 224, 225)])
def test_the_strided_grid_belongs_to_the_whole_image(shape: ZYX) -> None:
    """Cellpose's slices of the whole array, block by block."""
    steps = stride(shape, "cellpose")
    assert stride(shape, "exact") == (1, 1, 1)
    taken = [np.arange(0, n, s) for n, s in zip(shape, steps, strict=True)]
    expected = (max(1, shape[0] // 50), max(1, shape[1] // 224), max(1, shape[2] // 224))
    assert steps == expected
    for axis in range(3):
        line = [1, 1, 1]
        line[axis] = shape[axis]
        index = np.arange(shape[axis]).reshape(line)
        blocks = Grid((line[0], line[1], line[2]), (97, 97, 97))
        own = tuple(steps[a] if a == axis else 1 for a in range(3))
        found = [sampled(index[b.slices], b, (own[0], own[1], own[2])).ravel() for b in blocks]
        np.testing.assert_array_equal(np.concatenate(found), taken[axis])


def test_sampling_as_cellpose_above_its_limit(tmp_path: Path, tiny_model: Path) -> None:
    image = np.random.default_rng(0).gamma(2, 20, (110, 320, 330)).clip(0, 255).astype(np.uint8)
    assert image.size > 224**3
    state = scaled(
        tmp_path, tiny_model, image, percentile_sampling="cellpose", block_shape=(47, 150, 330)
    )
    found = normalize(image[:3], state.low[0], state.high[0])
    expected = transforms.normalize99(image, downsample=True)[:3]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_normalised_as_cellpose(dtype: str) -> None:
    image = image_of(dtype)
    low, high = np.percentile(image.astype(np.float32), (1, 99))
    np.testing.assert_array_equal(normalize(image, low, high), transforms.normalize99(image))
    inverted = normalize(image, low, high, invert=True)
    np.testing.assert_array_equal(inverted, 1 - transforms.normalize99(image))
    flat = np.full(SHAPE, 7.0, np.float32)
    assert not normalize(flat, 7.0, 7.0005).any()
    assert normalize(flat + 1, 7.0, 7.0005, given=True).min() > 1000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_named(
    value: float, tmp_path: Path, tiny_model: Path
) -> None:
    image = image_of("float32")
    image[9, 15, 3] = image[9, 16, 4] = value
    with pytest.raises(InputError, match="not finite numbers") as caught:
        scaled(tmp_path, tiny_model, image)
    text = str(caught.value)
    assert "channel 1" in text
    assert f"got {value} at z, y, x = (9, 15, 3) and 1 more in its block" in text
    assert "\n" not in text


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_constant_image_is_refused(dtype: str, tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"the image is constant; got 5 in every voxel"):
        scaled(tmp_path, tiny_model, np.full(SHAPE, 5, dtype))


@pytest.mark.parametrize(
    ("params", "ends"),
    [({"normalize": "none"}, (0.0, 1.0)), ({"normalize": "lowhigh", "lowhigh": [3, 90]}, (3, 90))],
)
def test_given_intensities_are_taken_as_they_are(
    params: dict[str, Any], ends: tuple[float, float], tmp_path: Path, tiny_model: Path
) -> None:
    state = scaled(tmp_path, tiny_model, image_of("uint16"), **params)
    assert (state.low, state.high) == ((ends[0],), (ends[1],))
