"""Several channels as one input: the naive computation on the whole array, whatever the cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cellpose import transforms
from numpy.typing import NDArray
from scipy.optimize import minimize
from tests.command import Terapose
from tests.fields import prepared, scatter
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.launch import results

from terapose.algorithms.normalize.histogram import Histogram
from terapose.algorithms.normalize.merge_channels import fit, mixture_ends
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.pipeline.job import Job
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State
from terapose.stages import gradients

Floats = NDArray[np.float64]


def stains(shape: tuple[int, int, int]) -> NDArray[np.uint16]:
    """Three stains of nuclei, CZYX: other gains, other noise, and each misses some nuclei."""
    rng = np.random.default_rng(3)
    volume, labels = nuclei(shape, seed=2)
    several = []
    for gain in (1, 3, 9):
        missed = rng.random(int(labels.max()) + 1) < 0.3
        seen = np.where(missed[labels], 100, volume)
        several.append((seen * gain + rng.integers(0, 40 * gain, shape)).astype(np.uint16))
    return np.stack(several)


def histogram_of(values: NDArray[Any]) -> Histogram:
    histogram = Histogram.empty(values.dtype)
    histogram.add(values)
    return histogram


def naive(image: NDArray[Any], how: str) -> NDArray[np.float32]:
    """The whole image's merged channels, ZYX."""
    if how == "gmm":
        total = np.zeros(image.shape[1:])
        for channel in image:
            low, high = mixture_ends(histogram_of(channel))
            total += ((channel - low) / (high - low)).clip(0, 1)
        return total.astype(np.float32)
    scaled = [transforms.normalize99(c.astype(np.float32)) for c in image]
    together = np.max if how == "max" else np.mean
    return np.asarray(together(np.stack(scaled), axis=0), np.float32)


def inputs(folder: Path, model: Path, image: NDArray[Any], **params: Any) -> NDArray[np.float32]:
    """What the network sees of the whole image, read box by box."""
    plan, store = prepared(folder, model, image, **params)
    receipts = scatter(plan, store, "intensities", {}, State())
    before = run_gather(Job(plan, store, "percentiles", 0, {}, State()), receipts)
    job = Job(plan, store, "gradients-yx", 0, {}, before)
    result = np.full((plan.model.channels, *plan.network_shape), np.nan, np.float32)
    for axis in range(len(plan.axes)):
        for box in plan.pass_grid(axis):
            seen = gradients.read_input(job, box)
            assert axis == 0 or np.array_equal(result[:, *box.slices], seen)
            result[:, *box.slices] = seen
    return result


@pytest.mark.parametrize("how", ["max", "mean", "gmm"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_it_is_the_naive_computation_on_the_whole_array(
    how: str, dtype: str, tmp_path: Path, tiny_model: Path
) -> None:
    image = stains((8, 40, 44)).astype(dtype)
    options = {"channels": [1, 2, 3], "channel_merge": how, "block_shape": (5, 17, 23)}
    seen = inputs(tmp_path, tiny_model, image, slab_planes=3, **options)
    assert seen.shape == (1, *image.shape[1:])
    expected = naive(image, how)
    if how == "gmm":
        np.testing.assert_allclose(seen[0], expected, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(seen[0], expected)
    assert np.ptp(seen) > 0.9


def test_channels_become_one_before_they_are_resized(tmp_path: Path, tiny_model: Path) -> None:
    image = stains((4, 50, 60))[:2]
    options = {"diameter": 20, "mode": "2d", "channels": [1, 2], "channel_merge": "max"}
    seen = inputs(tmp_path, tiny_model, image, **options)
    diameter = 30 * image.shape[2] / seen.shape[2]
    assert diameter == pytest.approx(20, abs=0.1)
    whole = transforms.resize_image(
        naive(image, "max"), Ly=seen.shape[2], Lx=seen.shape[3], no_channels=True
    )
    np.testing.assert_array_equal(seen[0], whole)


CUTS: tuple[dict[str, Any], ...] = (
    {"block_shape": (1, 99, 99)},
    {"block_shape": (1, 31, 29), "rectangle": 24, "max_tasks": 3},
)


def test_same_bytes_in_any_cut(tmp_path: Path) -> None:
    plane = stains((9, 60, 70))[:, 6]
    image = write_ome_zarr(tmp_path / "stains.zarr", plane, axes="cyx")
    found = []
    for number, cut in enumerate(CUTS):
        rules = {"channels": "1 2 3", "channel_merge": "gmm", "diameter": 11}
        out = tmp_path / str(number)
        assert segment_file(str(image), out, check(rules | cut))["cells"] > 9
        found.append(results(out))
    assert found[0] == found[1]


def test_the_mixture_is_the_most_likely_one() -> None:
    rng = np.random.default_rng(0)
    dark, bright = rng.normal(5, 0.2, 9000), rng.normal(6.8, 0.5, 1500)
    values = np.exp(np.concatenate([dark, bright])).round().astype(np.uint16)
    low, high = mixture_ends(histogram_of(values))
    points = np.log(values.astype(np.float64))

    def unlikely(at: Floats) -> float:
        share = 1 / (1 + np.exp(-at[0]))
        parts = [
            np.log(weight) - log_sd - 0.5 * ((points - mean) / np.exp(log_sd)) ** 2
            for weight, mean, log_sd in ((1 - share, at[1], at[2]), (share, at[3], at[4]))
        ]
        return -float(np.logaddexp(*parts).mean())

    best = minimize(
        unlikely, [0.0, 4.5, -1.0, 7.5, -1.0], method="Nelder-Mead",
        options={"maxiter": 5000, "xatol": 1e-7, "fatol": 1e-13},
    ).x  # fmt: skip
    assert low == pytest.approx(np.exp(best[1]), rel=1e-3)
    assert high == pytest.approx(np.exp(best[3] + 2 * np.exp(best[4])), rel=1e-3)
    # bins of float32 are 1/128 of their value wide
    wide = mixture_ends(histogram_of(values.astype(np.float32)))
    assert wide == pytest.approx((low, high), rel=1 / 128)


def test_a_mixture_of_two_values() -> None:
    means, variances = fit(np.array([1.0, 3.0]), np.array([5.0, 2.0]))
    np.testing.assert_allclose(means, [1, 3])
    assert (variances > 0).all()
    values = np.array([0, 0, 10, 10, 10, 500], np.uint16)
    assert mixture_ends(histogram_of(values)) == pytest.approx((10, 500), rel=1e-5)


def test_no_two_intensities_above_zero(tmp_path: Path, tiny_model: Path) -> None:
    image = stains((4, 30, 30))
    image[1] = np.where(image[1] > 500, 7, 0)
    with pytest.raises(InputError, match=r"channel 2: two Gaussians cannot .* two .* above"):
        inputs(tmp_path, tiny_model, image, channels=[1, 2], channel_merge="gmm")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--channels", "1", "--channel-merge", "max"),
            "channels: got [1], allowed: two or more different ones with channel_merge",
        ),
        (
            ("--channels", "1,2,1", "--channel-merge", "mean"),
            "channels: got [1, 2, 1], allowed: two or more different ones with channel_merge",
        ),
        (
            ("--channels", "1,2,3,1"),
            "channels: got [1, 2, 3, 1], allowed: at most 3 without channel_merge",
        ),
        (
            ("--channels", "1,2", "--channel-merge", "gmm", "--normalize", "tile"),
            "channel_merge: got 'gmm', allowed: only with normalize 'global', no invert",
        ),
        (
            ("--channels", "1,2", "--channel-merge", "sum"),
            "channel_merge: got 'sum', allowed: 'none', 'max', 'mean' or 'gmm'",
        ),
    ],
)
def test_what_does_not_go_together(
    words: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    image = write_ome_zarr(tmp_path / "stains.zarr", stains((4, 24, 28)), axes="czyx")
    command = Terapose(monkeypatch, capsys)
    expected = f"parameters: {sentence}; docs/parameters.md lists them all"
    assert command.refuses("check", image, *words) == expected
    assert command.refuses("segment", image, tmp_path / "out", *words) == expected


def test_a_name_and_a_number_of_one_channel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = write_ome_zarr(
        tmp_path / "stains.zarr", stains((4, 24, 28)), axes="czyx", channel_names=("a", "b", "c")
    )
    said = Terapose(monkeypatch, capsys).refuses(
        "check", image, "--channels", "a,1", "--channel-merge", "max"
    )
    assert said == (
        "channels: a channel cannot be merged with itself; got 1, 1; "
        "allowed: each channel once with channel_merge"
    )
