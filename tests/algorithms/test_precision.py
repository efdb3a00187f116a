"""An image in another unit has the same labels, or is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.algorithms.test_merging import inputs
from tests.synthetic import nuclei, write_ome_zarr

from terapose.algorithms.normalize.precision import (
    EXACT,
    ROUNDED,
    VANISHED,
    check_contrast,
    check_held,
    loss_of,
)
from terapose.core.errors import InputError
from terapose.io.images.opening import open_image
from terapose.pipeline.constant import refuse_constant

SHAPE = (2, 40, 44)


def image() -> NDArray[np.float64]:
    """Nuclei of which no value is a whole number, 0.1 to about 3,000."""
    volume, _ = nuclei(SHAPE, seed=2)
    return volume + np.random.default_rng(1).random(SHAPE) + 0.1


def seen(folder: Path, model: Path, values: NDArray[Any], **params: Any) -> Any:
    """What the network sees, as bytes; or what was said."""
    folder.mkdir()
    try:
        return inputs(folder, model, values[None], mode="2d", **params).tobytes()
    except InputError as error:
        return str(error).split(", channel 1: ")[1].split(";")[0]


BEYOND = "the image has intensities that are too large for 32-bit numbers"
LOST = "the differences between intensities are lost in 32-bit numbers"
FLAT = "the image has so little contrast that Cellpose would treat it as empty"


@pytest.mark.parametrize("normalize", ["global", "plane", "tile"])
def test_powers_of_two(tmp_path: Path, tiny_model: Path, normalize: str) -> None:
    exponents = (0, -1060, -1030, -160, -140, -120, -40, -23, -20, -10, 3, 90, 110, 117, 900, 1000)
    said = {
        k: seen(tmp_path / f"{k}", tiny_model, np.ldexp(image(), k), normalize=normalize)
        for k in exponents
    }
    same = {k for k, found in said.items() if found == said[0]}
    assert isinstance(said[0], bytes)
    assert {said[k] for k in said.keys() - same} == {BEYOND, LOST, FLAT}
    assert same == {0, -20, -10, 3, 90, 110, 117}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "float32", "float64"])
def test_types(tmp_path: Path, tiny_model: Path, dtype: str) -> None:
    volume, _ = nuclei(SHAPE, seed=2)
    volume = (volume // 16).clip(0, 255)
    first = seen(tmp_path / "first", tiny_model, volume.astype(np.uint8))
    assert isinstance(first, bytes)
    assert seen(tmp_path / "same", tiny_model, volume.astype(dtype)) == first
    if np.dtype(dtype).itemsize < 4:
        return
    assert seen(tmp_path / "times", tiny_model, volume.astype(dtype) * 2**22) == first


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float64"])
def test_offsets(tmp_path: Path, tiny_model: Path, dtype: str) -> None:
    volume = (nuclei(SHAPE, seed=2)[0] // 16).clip(0, 255).astype(np.int64)
    for normalize in ("global", "plane", "tile", "none"):
        values = (volume + 10**9).astype(dtype)
        assert seen(tmp_path / normalize, tiny_model, values, normalize=normalize) == LOST
    given = {"normalize": "lowhigh", "lowhigh": [10**9, 10**9 + 255]}
    assert seen(tmp_path / "given", tiny_model, values, **given) == LOST


def test_an_outlier_hides_nothing(tmp_path: Path, tiny_model: Path) -> None:
    values = image() / 10_000 + 1e9
    values[0, 0, 0] = 0
    assert seen(tmp_path / "a", tiny_model, values) == LOST
    values = image()
    values[0, 0, 0] = 1e38
    values /= values[0, 1, 1] * 4000
    assert seen(tmp_path / "b", tiny_model, np.where(values > 1e30, 3e38, values * 4e-3)) == FLAT


def test_ends_that_are_given(tmp_path: Path, tiny_model: Path) -> None:
    values = image()
    first = seen(tmp_path / "0", tiny_model, values, normalize="lowhigh", lowhigh=[0, 4096])
    for k in (-140, -20, 60, 1000):
        ends = [0.0, float(np.ldexp(4096.0, k))]
        found = seen(
            tmp_path / f"{k}", tiny_model, np.ldexp(values, k), normalize="lowhigh", lowhigh=ends
        )
        assert found == {-140: LOST, 1000: BEYOND}.get(k, first)


def test_far_beyond_the_ends(tmp_path: Path, tiny_model: Path) -> None:
    values = (image() / 1e3).astype(np.float32)
    values[1, 3, 4] = 3e38
    with pytest.raises(InputError, match="scaled intensities are too large for 32-bit numbers"):
        inputs(
            tmp_path, tiny_model, values[None], mode="2d", normalize="lowhigh", lowhigh=[0, 0.01]
        )


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_sparse_images_are_none_of_these(
    tmp_path: Path, tiny_model: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.zeros(SHAPE, dtype)
    values[0, 3:5, 4:6] = 1000 if dtype == "uint16" else 0.1
    found = seen(tmp_path / "a", tiny_model, values)
    assert isinstance(found, bytes)
    assert not any(found)
    assert "channel 1: the percentiles are equal" in caplog.text
    caplog.clear()
    assert any(seen(tmp_path / "b", tiny_model, values, normalize="lowhigh", lowhigh=[0, 0.1]))
    assert not caplog.text


def test_check_tells_it_of_the_beginning(tmp_path: Path) -> None:
    values = image()
    values[0, 0, 0] = -1e300
    write_ome_zarr(tmp_path / "a.zarr", values, axes="zyx")
    with pytest.raises(InputError, match=re.escape(f"a.zarr, channel 1: {BEYOND}; got 1e+300;")):
        refuse_constant(open_image(tmp_path / "a.zarr"), [1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1, 2**24], np.uint32), EXACT),
        (np.array([2**24 + 1], np.uint32), ROUNDED),
        (np.array([2**30, 0], np.int32), EXACT),
        (np.array([-(2**31), 3], np.int32), EXACT),
        (np.array([65535], np.uint16), EXACT),
        (np.array([0.5, 3e38]), ROUNDED),
        (np.array([0.5, 2.0**-149, 0.0]), EXACT),
        (np.array([0.5, 1e-46]), VANISHED),
        (np.array([0.1], np.float32), EXACT),
        (np.zeros(0), EXACT),
    ],
)
def test_loss(values: NDArray[Any], expected: int) -> None:
    assert loss_of(values) == expected


def test_held() -> None:
    check_held(np.array([3.4e38, -3.4e38, 0]), "a", 1)
    with pytest.raises(InputError, match="too large"):
        check_held(np.array([0, -3.5e38]), "a", 1)


def test_contrast_of_the_best_plane_counts() -> None:
    told: dict[str, Any] = {"whole": False, "given": False, "address": "a", "channel": 1}
    check_contrast([0, np.nan, 1], [1e-4, np.nan, 2], EXACT, **told)
    check_contrast([np.nan], [np.nan], ROUNDED, **told)
    check_contrast(5.0, 5.0, EXACT, **told)
    with pytest.raises(InputError, match=r"got 0 to 0\.001; allowed: more than 0\.001 between"):
        check_contrast([0, 0], [1e-4, 1e-3], EXACT, **told)
    with pytest.raises(InputError, match="lost in 32-bit numbers; got 1e"):
        check_contrast([1e9, 2e9], [1e9 + 64, 2e9], ROUNDED, **told)
